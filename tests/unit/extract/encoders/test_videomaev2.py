"""VideoMAE V2 against plain functions of its checkpoint, on small networks of the same layout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from scfae.extract import Encoder, load_encoder
from scfae.extract.encoders import videomaev2
from scfae.store.errors import ConfigError, WeightsMismatch

from . import official
from . import videomaev2_reference as reference

NAME = "videomaev2-s"
TINY = videomaev2.Size(dim=24, depth=2, heads=3, patch=56, mlp=40)
SHAPE = (1, 3, 16, 224, 224)


PUBLISHED = dict(videomaev2.SIZES)


@pytest.fixture(autouse=True)
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "slow" not in request.keywords:
        monkeypatch.setitem(videomaev2.SIZES, NAME, TINY)


def tiny(seed: int = 5, *, pretraining: bool = False) -> official.State:
    return reference.layout(seed, dim=24, depth=2, mlp=40, patch=56, pretraining=pretraining)


@pytest.fixture(scope="module")
def state() -> official.State:
    return tiny()


@pytest.fixture
def encoder(state: official.State, tmp_path: Path) -> Encoder:
    return load_encoder(NAME, weights=official.save(tmp_path / "v.pth", state))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def run(encoder: Encoder, x: Tensor) -> tuple[Tensor, Tensor]:
    with torch.inference_mode():
        tokens = encoder.forward(x)
        return tokens, encoder.pool(tokens)


def test_numbers_are_those_of_the_second_implementation(
    state: official.State, encoder: Encoder
) -> None:
    x = noise(2, *SHAPE[1:])
    tokens, pooled = run(encoder, x)
    wanted = reference.tokens(state, x, TINY.heads)
    assert tokens.shape == (2, 8 * 4 * 4, 24)
    assert official.largest(tokens - wanted) <= 2e-5
    assert official.largest(pooled - reference.feature(state, wanted)) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "seed"), [("videomaev2-s", 1), ("videomaev2-b", 2), ("videomaev2-g", 3)]
)
def test_full_size_numbers_are_the_same(name: str, seed: int, tmp_path: Path) -> None:
    size = videomaev2.SIZES[name]
    whole = reference.layout(seed, dim=size.dim, depth=size.depth, mlp=size.mlp, patch=size.patch)
    encoder = load_encoder(name, weights=official.save(tmp_path / "v.pth", {"module": whole}))
    x = noise(*SHAPE)
    tokens, pooled = run(encoder, x)
    with torch.inference_mode():
        wanted = reference.tokens(whole, x, size.heads)
    scale = max(1.0, official.largest(wanted))
    assert tokens.shape == (1, 2048 if name.endswith("g") else 1568, encoder.spec.dim)
    assert official.largest(tokens - wanted) <= 2e-5 * scale
    assert official.largest(pooled - reference.feature(whole, wanted)) <= 1e-5


def test_the_sizes_are_the_published_ones() -> None:
    assert {
        "videomaev2-s": videomaev2.Size(dim=384, depth=12, heads=6, patch=16, mlp=1536),
        "videomaev2-b": videomaev2.Size(dim=768, depth=12, heads=12, patch=16, mlp=3072),
        "videomaev2-g": videomaev2.Size(dim=1408, depth=40, heads=16, patch=14, mlp=6144),
    } == PUBLISHED


@pytest.mark.parametrize("prefix", ["", "backbone.", "encoder."])
@pytest.mark.parametrize("wrapper", ["bare", "model", "module", "data parallel in model"])
def test_every_wrapper_and_prefix_gives_the_same_network(
    state: official.State, encoder: Encoder, wrapper: str, prefix: str, tmp_path: Path
) -> None:
    named = {prefix + key: value for key, value in state.items()}
    path = official.save(tmp_path / "w.pth", official.WRAPPERS[wrapper](named))
    other = load_encoder(NAME, weights=path).module.state_dict()
    mine = encoder.module.state_dict()
    assert mine.keys() == other.keys()
    assert all(torch.equal(mine[key], other[key]) for key in mine)


@pytest.mark.parametrize("wrapper", ["bare", "model", "module"])
def test_the_self_supervised_layout_has_normalised_tokens_and_their_mean(
    wrapper: str, tmp_path: Path
) -> None:
    upstream = tiny(6, pretraining=True)
    path = official.save(tmp_path / "w.pth", official.WRAPPERS[wrapper](upstream))
    encoder = load_encoder(NAME, weights=path)
    x = noise(*SHAPE)
    tokens, pooled = run(encoder, x)
    inside = {
        k.removeprefix("encoder."): v for k, v in upstream.items() if k.startswith("encoder.")
    }
    raw = reference.tokens(inside, x, TINY.heads)
    wanted = reference.final_norm(inside, raw)
    assert official.largest(tokens - wanted) <= 2e-5
    assert official.largest(pooled - wanted.mean(dim=1)) <= 1e-5
    assert official.largest(pooled - raw.mean(dim=1)) > 0.05  # the norm left out
    assert "after the final norm" in encoder.spec.recipe["feature"]


def test_the_clips_feature_keeps_its_own_eps(state: official.State, encoder: Encoder) -> None:
    tokens = 0.002 * noise(1, 1, 24).expand(1, 128, 24)  # hardly any variance over the features
    pooled = encoder.pool(tokens)
    assert official.largest(pooled - reference.feature(state, tokens)) <= 1e-5
    assert official.largest(pooled - reference.feature(state, tokens, eps=1e-5)) > 0.1


Wrong = Callable[[official.State, Tensor], Tensor]
WRONG: dict[str, Wrong] = {
    "lost query and value biases": lambda s, x: reference.tokens(s, x, 3, biases=False),
    "lost position table": lambda s, x: reference.tokens(s, x, 3, positions=False),
    "query and key exchanged": lambda s, x: reference.tokens(_exchanged(s), x, 3),
    "biases exchanged": lambda s, x: reference.tokens(_exchanged(s, biases=True), x, 3),
    "time and colour exchanged": lambda s, x: reference.tokens(s, x.flip(1), 3),
}


def _exchanged(state: official.State, *, biases: bool = False) -> official.State:
    changed = dict(state)
    for i in range(2):
        name = f"blocks.{i}.attn."
        if biases:
            changed[f"{name}q_bias"] = state[f"{name}v_bias"]
            changed[f"{name}v_bias"] = state[f"{name}q_bias"]
        else:
            q, k, v = state[f"{name}qkv.weight"].chunk(3)
            changed[f"{name}qkv.weight"] = torch.cat([v, k, q])
    return changed


@pytest.mark.parametrize("mistake", WRONG)
def test_what_would_go_wrong_unseen_shows(
    state: official.State, encoder: Encoder, mistake: str
) -> None:
    x = noise(*SHAPE)
    tokens, _ = run(encoder, x)
    assert official.largest(tokens - WRONG[mistake](state, x)) > 1e-2


def test_the_position_table_is_the_sine_of_the_flattened_index(encoder: Encoder) -> None:
    table: Any = encoder.module.model.embeddings.position_embeddings  # type: ignore[union-attr]
    assert torch.equal(table, reference.sines(128, 24))


def test_clips_of_a_batch_do_not_mix(encoder: Encoder) -> None:
    x = noise(3, *SHAPE[1:])
    _, together = run(encoder, x)
    alone = torch.cat([run(encoder, x[i : i + 1])[1] for i in range(3)])
    assert official.largest(together - alone) <= 1e-5


def lose(key: str) -> Callable[[official.State], official.State]:
    return lambda state: {name: value for name, value in state.items() if name != key}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lose("blocks.1.attn.q_bias"), "1 keys missing"),
        (lose("blocks.0.attn.v_bias"), "1 keys missing"),
        (lose("fc_norm.bias"), "1 keys missing"),
        (lambda s: s | {"blocks.0.attn.k_bias": torch.zeros(24)}, "1 unknown keys"),
        (lambda s: s | {"pos_embed": torch.zeros(1, 128, 24)}, "1 unknown keys (pos_embed)"),
        (lambda s: s | {"encoder.head.bias": torch.zeros(710)}, "two networks"),
        (lambda s: s | {"norm.weight": torch.zeros(24)}, "1 unknown keys"),
        (lambda s: reference.layout(0, dim=32, depth=2, mlp=40, patch=56), "shapes differ"),
        (lambda s: reference.layout(0, dim=24, depth=3, mlp=40, patch=56), "unknown keys"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    state: official.State,
    change: Callable[[official.State], official.State],
    says: str,
    tmp_path: Path,
) -> None:
    path = official.save(tmp_path / "w.pth", change(state))
    with pytest.raises(WeightsMismatch) as caught:
        load_encoder(NAME, weights=path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_file_without_classifier_is_read(
    state: official.State, encoder: Encoder, tmp_path: Path
) -> None:
    bare = {key: value for key, value in state.items() if not key.startswith("head.")}
    other = load_encoder(NAME, weights=official.save(tmp_path / "w.pth", bare)).module.state_dict()
    assert all(torch.equal(v, other[k]) for k, v in encoder.module.state_dict().items())


def test_every_tensor_changes_the_feature(encoder: Encoder) -> None:
    x = noise(*SHAPE)
    before = run(encoder, x)[1]
    with torch.inference_mode():
        for key, value in encoder.module.state_dict().items():
            kept = value.clone()
            value.mul_(1.0 + 0.3 * torch.rand_like(value))
            assert official.largest(run(encoder, x)[1] - before) > 1e-5, key
            value.copy_(kept)
    assert torch.equal(run(encoder, x)[1], before)


@pytest.mark.parametrize(("option", "least"), [("imagenet", 1.7), ("none", 0.0)])
def test_bytes_become_the_networks_scale(option: str, least: float) -> None:
    encoder = load_encoder(f"{NAME}@random:0:normalise={option}")
    bytes_ = torch.tensor([0, 51, 255], dtype=torch.uint8).view(1, 3, 1, 1, 1)
    mean, std = (
        ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)) if least else ((0.0,) * 3, (1.0,) * 3)
    )
    wanted = [(v - m) / s for v, m, s in zip((0.0, 0.2, 1.0), mean, std, strict=True)]
    np.testing.assert_allclose(encoder.prepare(bytes_).flatten(), wanted, atol=1e-6)
    halves = [(v - 0.5) / 0.5 for v in (0.0, 0.2, 1.0)]
    assert np.abs(encoder.prepare(bytes_).flatten().numpy() - halves).max() > 0.1
    assert encoder.spec.recipe["mean"] == (list(mean) if least else None)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("stride=16,stride_s=1", "not both"),
        ("fps=5", "fps and window_s go with stride or stride_s"),
        ("window_s=5", "fps and window_s go with stride or stride_s"),
        ("fps=5,window_s=2,stride=8", "give fps or window_s, not both"),
        ("rate=0", "rate must be at least 1"),
        ("normalise=half", "normalise must be one of imagenet, none"),
        ("resize=fit", "resize must be one of crop, squash"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_encoder(f"{NAME}@random:0:{options}")


def test_rows_a_second_follow_from_the_options() -> None:
    rates = {"": None, ":stride=16": None, ":stride_s=2": 0.5, ":stride=8,fps=16": 2.0}
    rates[":window_s=4,stride=8"] = 2.0  # 64 frames in 4 s are 16 a second
    for options, rate in rates.items():
        assert load_encoder(f"{NAME}@random:0{options}").spec.rows_per_second == rate
