"""WavLM against torchaudio's network, on small networks in the layout of microsoft/unilm."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from scfae.extract import Encoder, extract, load_encoder, load_encoders, registry
from scfae.extract.encoders import wavlm
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError, WeightsMismatch

from .. import media_kit as kit
from . import official
from . import wavlm_reference as reference

BASE, LARGE = "wavlm-base", "wavlm-large"
CONV, DIM, DEPTH = 32, 32, 3
PUBLISHED = dict(wavlm.SIZES)


@pytest.fixture(autouse=True)
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "slow" not in request.keywords:
        for name, size in PUBLISHED.items():
            tiny = replace(size, dim=DIM, depth=DEPTH, heads=4, mlp=48, conv=CONV)
            monkeypatch.setitem(wavlm.SIZES, name, tiny)
        find = registry.find_entry
        monkeypatch.setattr(registry, "find_entry", lambda name: replace(find(name), dim=DIM))


def tiny(name: str, seed: int = 5) -> official.State:
    is_large = name == LARGE
    return reference.layout(
        seed, dim=DIM, depth=DEPTH, heads=4, mlp=48, conv=CONV, is_large=is_large
    )


def file(path: Path, name: str, state: official.State | None = None, **cfg: Any) -> Path:
    """Write an official file; keys of `cfg` that are None are left out of its cfg."""
    document = reference.cfg(conv=CONV, is_large=name == LARGE) | cfg
    kept = {key: value for key, value in document.items() if value is not None}
    return official.save(path, {"cfg": kept, "model": state or tiny(name)})


def load(path: Path, name: str, **options: Any) -> Encoder:
    return load_encoder(name, weights=path, **options)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def run(encoder: Encoder, x: Tensor) -> Tensor:
    with torch.inference_mode():
        return encoder.forward(x)


@pytest.mark.parametrize("name", [BASE, "wavlm-base-plus", LARGE])
@pytest.mark.parametrize("samples", [400, 16_000, 80_321])  # the last goes beyond the last bucket
def test_numbers_are_torchaudios(name: str, samples: int, tmp_path: Path) -> None:
    encoder = load(file(tmp_path / "w.pt", name), name)
    x = noise(2, samples)
    rows = run(encoder, x)
    wanted = reference.output(reference.network(tiny(name), is_large=name == LARGE), x)
    assert rows.shape == (2, (samples - 400) // 320 + 1, DIM)
    assert official.largest(rows - wanted) <= 2e-5
    assert official.largest(encoder.pool(rows) - wanted.mean(dim=1)) <= 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", [BASE, LARGE])
def test_full_size_numbers_are_torchaudios(name: str, tmp_path: Path) -> None:
    size = PUBLISHED[name]
    is_large = name == LARGE
    state = reference.layout(
        1,
        dim=size.dim,
        depth=size.depth,
        heads=size.heads,
        mlp=size.mlp,
        conv=512,
        is_large=is_large,
    )
    document = {"cfg": reference.cfg(conv=512, is_large=is_large), "model": state}
    encoder = load(official.save(tmp_path / "w.pt", document), name)
    x = noise(1, 64_000)
    wanted = reference.output(reference.network(state, is_large=is_large), x)
    scale = max(1.0, official.largest(wanted))
    assert official.largest(run(encoder, x) - wanted) <= 2e-5 * scale


def test_the_sizes_are_the_published_ones() -> None:
    base, plus, large = (PUBLISHED[f"wavlm-{name}"] for name in ("base", "base-plus", "large"))
    assert base == plus == wavlm.Size(dim=768, depth=12, heads=12, mlp=3072, max_distance=800)
    assert (large.dim, large.depth, large.heads, large.mlp) == (1024, 24, 16, 4096)
    assert large.is_norm_first
    assert large.has_layer_norms
    assert large.is_normalised
    assert (base.buckets, large.buckets, large.max_distance) == (320, 320, 800)


@pytest.mark.parametrize("name", [BASE, LARGE])
@pytest.mark.parametrize("layer", range(DEPTH + 1))
def test_a_layer_is_upstreams_output_layer(name: str, layer: int, tmp_path: Path) -> None:
    encoder = load(file(tmp_path / "w.pt", name), name, layer=layer)
    x = noise(1, 8_000)
    wanted = reference.layers(reference.network(tiny(name), is_large=name == LARGE), x)
    rows = run(encoder, x)
    assert official.largest(rows - wanted[layer]) <= 2e-5
    for other in range(DEPTH + 1):
        assert other == layer or official.largest(rows - wanted[other]) > 1e-2
    assert encoder.spec.canonical == f"{name}:layer={layer}"


def test_the_last_layer_of_large_lacks_the_final_norm_and_says_so(tmp_path: Path) -> None:
    path = file(tmp_path / "w.pt", LARGE)
    default, last = load(path, LARGE), load(path, LARGE, layer=DEPTH)
    x = noise(1, 8_000)
    assert official.largest(run(default, x) - run(last, x)) > 0.1
    assert default.spec.recipe["feature"] == "last layer, after the final norm"
    assert last.spec.recipe["feature"] == f"output of layer {DEPTH}, without the final norm"
    base = file(tmp_path / "b.pt", BASE)
    assert torch.equal(run(load(base, BASE), x), run(load(base, BASE, layer=DEPTH), x))


def test_large_takes_each_piece_normalised_and_base_as_it_is(tmp_path: Path) -> None:
    base, large = (load(file(tmp_path / f"{n}.pt", n), n) for n in (BASE, LARGE))
    x = 0.3 + torch.stack([noise(8_000)[0:8_000], 4.0 * noise(8_000, seed=1)])
    assert torch.equal(base.prepare(x), x)
    prepared = large.prepare(x)
    wanted = (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    assert official.largest(prepared - wanted) <= 1e-5
    jointly = F.layer_norm(x, x.shape)
    assert official.largest(prepared - jointly) > 0.1
    model = reference.network(tiny(LARGE), is_large=True)
    rows = large.encode(x)
    assert official.largest(rows - reference.output(model, wanted)) <= 2e-5
    # What is wrong unseen: nothing normalised, the batch normalised as one, padding normalised.
    assert official.largest(rows - reference.output(model, x)) > 0.05
    assert official.largest(rows - reference.output(model, jointly)) > 1e-3


@pytest.mark.parametrize("name", [BASE, LARGE])
def test_what_would_go_wrong_unseen_shows(name: str, tmp_path: Path) -> None:
    state = tiny(name)
    x = noise(1, 80_000)
    rows = run(load(file(tmp_path / "w.pt", name), name), x)
    wrong = {
        "distances of upstream's code, not of the file": reference.output(
            reference.network(state, is_large=name == LARGE, max_distance=1280), x
        ),
        "padding": reference.output(
            reference.network(state, is_large=name == LARGE), F.pad(x, (0, 8_000))
        )[:, : rows.shape[1]],
    }
    for mistake, other in wrong.items():
        assert official.largest(rows - other) > 1e-3, mistake


def test_what_the_file_says_of_its_network_counts(tmp_path: Path) -> None:
    x = noise(1, 80_000)
    state = tiny(BASE)
    for given, distance in ((1_000, 1_000), (None, 1_280)):  # the code's default, if it is silent
        path = file(tmp_path / f"{given}.pt", BASE, max_distance=given)
        encoder = load(path, BASE)
        model = reference.network(state, is_large=False, max_distance=distance)
        assert official.largest(run(encoder, x) - reference.output(model, x)) <= 2e-5
        assert encoder.spec.recipe["max_distance"] == distance
    path = file(tmp_path / "n.pt", BASE, normalize=True)
    assert load(path, BASE).spec.recipe["normalised"] is not None


@pytest.mark.parametrize("wrapper", ["bare", "model", "data parallel in model"])
@pytest.mark.parametrize("name", [BASE, LARGE])
def test_files_without_a_cfg_are_taken_as_published(
    name: str, wrapper: str, tmp_path: Path
) -> None:
    state = tiny(name)
    path = official.save(tmp_path / "w.pt", official.WRAPPERS[wrapper](state))
    mine = load(file(tmp_path / "o.pt", name), name)
    other = load(path, name)
    x = noise(1, 8_000)
    assert torch.equal(run(mine, x), run(other, x))
    assert mine.spec.recipe == other.spec.recipe


@pytest.mark.parametrize("prefix", ["", "wavlm."])
@pytest.mark.parametrize("weight_norm", ["old", "new"])
def test_transformers_layout_is_read(prefix: str, weight_norm: str, tmp_path: Path) -> None:
    mine = load(file(tmp_path / "o.pt", BASE), BASE)
    theirs = {prefix + key: value for key, value in mine.module.state_dict().items()}
    theirs[f"{prefix}masked_spec_embed"] = torch.zeros(DIM)
    if weight_norm == "old":
        for number, kind in enumerate("gv"):
            name = f"{prefix}encoder.pos_conv_embed.conv."
            theirs[f"{name}weight_{kind}"] = theirs.pop(
                f"{name}parametrizations.weight.original{number}"
            )
    other = load(official.save(tmp_path / "h.pt", theirs), BASE)
    x = noise(1, 8_000)
    assert torch.equal(run(mine, x), run(other, x))


def lose(key: str) -> Callable[[official.State], official.State]:
    return lambda state: {name: value for name, value in state.items() if name != key}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lose("encoder.layers.1.self_attn.grep_a"), "1 keys missing"),
        (lose("encoder.layers.0.self_attn.relative_attention_bias.weight"), "1 keys missing"),
        (lose("encoder.layers.2.self_attn.k_proj.bias"), "1 keys missing"),
        (lose("encoder.layer_norm.bias"), "1 keys missing"),
        (lambda s: s | {"final_proj.weight": torch.zeros(2, 2)}, "1 unknown keys (final_proj"),
        (lambda s: s | {"encoder.layers.3.fc1.bias": torch.zeros(48)}, "1 unknown keys"),
        (lambda s: tiny(LARGE), "unknown keys"),
        (lambda s: s | {"layer_norm.weight": torch.full((CONV,), torch.nan)}, "NaN or infinity"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    change: Callable[[official.State], official.State], says: str, tmp_path: Path
) -> None:
    path = file(tmp_path / "w.pt", BASE, change(tiny(BASE)))
    with pytest.raises(WeightsMismatch) as caught:
        load(path, BASE)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activation_fn", "relu"),
        ("conv_feature_layers", "[(32,10,4)] + [(32,3,2)] * 4 + [(32,2,2)] * 2"),
        ("gru_rel_pos", False),
    ],
)
def test_a_cfg_of_another_network_is_refused(key: str, value: object, tmp_path: Path) -> None:
    path = file(tmp_path / "w.pt", BASE, None, **{key: value})
    with pytest.raises(WeightsMismatch, match=f"its cfg says {key}"):
        load(path, BASE)


@pytest.mark.parametrize("name", [BASE, LARGE])
def test_every_tensor_changes_the_rows(name: str, tmp_path: Path) -> None:
    encoder = load(file(tmp_path / "w.pt", name), name)
    x = noise(1, 4_000)
    before = run(encoder, x)
    with torch.inference_mode():
        for key, value in encoder.module.state_dict().items():
            kept = value.clone()
            value.mul_(1.0 + 0.5 * torch.rand_like(value))
            is_void = key.endswith("k_proj.bias")  # softmax takes it away
            assert (official.largest(run(encoder, x) - before) > 1e-5) != is_void, key
            value.copy_(kept)
    assert torch.equal(run(encoder, x), before)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("layer=-1", "layer must be at least 0"),
        (f"layer={DEPTH + 1}", f"layer must be at most {DEPTH}"),
        ("layer=last", "layer must be a number or all, not 'last'"),
        ("window_s=0", "window_s must be at least 0.02"),
        ("stride=2", "unknown option 'stride'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_encoder(f"{BASE}@random:0:{options}")


def test_all_layers_are_an_encoder_each_of_one_network(tmp_path: Path) -> None:
    path = file(tmp_path / "w.pt", BASE)
    encoders = load_encoders(f"{BASE}:layer=all,window_s=5", weights=path)
    assert [one.spec.canonical for one in encoders] == [
        f"{BASE}:layer={i},window_s=5.0" for i in range(DEPTH + 1)
    ]
    assert len({id(one.module) for one in encoders}) == 1
    alone = [load(path, BASE, layer=i, window_s=5) for i in range(DEPTH + 1)]
    assert [one.spec for one in encoders] == [one.spec for one in alone]
    x = noise(1, 8_000)
    for mine, single in zip(encoders, alone, strict=True):
        assert torch.equal(run(mine, x), run(single, x))
    with pytest.raises(ConfigError, match=f"is 4 encoders, {BASE}:layer=0 to {BASE}:layer=3"):
        load_encoder(f"{BASE}@random:0:layer=all")


def test_all_layers_fill_a_column_each_by_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    media = tmp_path / "media"
    media.mkdir()
    for name, seconds in (("a", 0.5), ("b", 1.3), ("c", 0.02), ("d", 0.9)):
        kit.write_wav(media / f"{name}.wav", seconds)
    weights = file(tmp_path / "w.pt", BASE)
    passes: list[int] = []
    run_layers = wavlm.run_layers

    def counted(module: Any, x: Tensor) -> tuple[Tensor, ...]:
        passes.append(x.shape[1])
        return run_layers(module, x)

    monkeypatch.setattr(wavlm, "run_layers", counted)
    options = {"workers": 1, "device": "cpu"}
    asked = f"{BASE}@{weights}:layer=all,window_s=0.4"
    report = extract(media, tmp_path / "all", [asked], **options)  # type: ignore[arg-type]
    names = [f"{BASE}.layer={i}.window_s=0.4" for i in range(DEPTH + 1)]
    assert [column.name for column in report.columns] == names
    assert [column.counts["ok"] for column in report.columns] == [3] * 4
    assert [column.counts["missing"] for column in report.columns] == [1] * 4  # 320 samples
    num_passes = len(passes)
    extract(media, tmp_path / "one", [f"{BASE}@{weights}:layer=2,window_s=0.4"], **options)  # type: ignore[arg-type]
    assert len(passes) == 2 * num_passes
    view, single = (
        FeatureStore.open(tmp_path / folder).view(audio=names[2]) for folder in ("all", "one")
    )
    for i in range(3):
        assert np.array_equal(view[i].features["audio"], single[i].features["audio"])


@pytest.mark.parametrize("name", [BASE, LARGE])
def test_a_file_gives_the_references_rows_and_times(name: str, tmp_path: Path) -> None:
    encoder = load(file(tmp_path / "w.pt", name), name)
    path = kit.write_wav(tmp_path / "a.wav", 1.234)
    rows, times = encoder.extract(path)
    samples = torch.from_numpy((kit.tone(1.234, 16_000) * 32767).astype("<i2").astype(np.float32))
    x = samples / 32768.0
    if name == LARGE:
        x = F.layer_norm(x, x.shape)
    wanted = reference.output(reference.network(tiny(name), is_large=name == LARGE), x)[0]
    assert rows.shape == wanted.shape
    assert np.abs(rows - wanted.numpy()).max() <= 2e-5
    np.testing.assert_allclose(times[:, 0], 0.02 * np.arange(len(rows)), atol=1e-9)
    np.testing.assert_allclose(times[:, 1] - times[:, 0], 0.02)
