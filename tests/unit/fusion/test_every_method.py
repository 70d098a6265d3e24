"""What every fusion method promises: nothing absent leaks, rows are independent, gradients flow."""

import math
import re

import pytest
import torch
from torch import Tensor

from scfae.fusion import Fusion, FusionInfo, FusionOutput, build_fusion, fusion_info, list_fusions

from .small import SMALL

NAMES = [info.name for info in list_fusions()]
ONE = {"audio": 6}
TWO = {"audio": 6, "video": 10}
THREE = {"audio": 6, "video": 10, "text": 8}


def takes(info: FusionInfo, dims: dict[str, int]) -> bool:
    return info.min_modalities <= len(dims) <= (info.max_modalities or len(dims))


METHODS_AND_DIMS = [
    pytest.param(info.name, dims, id=f"{info.name}-{len(dims)}")
    for info in list_fusions()
    for dims in (ONE, TWO, THREE)
    if takes(info, dims)
]
B, T = 7, 5

DIALOGUES = torch.tensor([0, 0, 1, 0, 1, 2, 1])

Batch = tuple[dict[str, Tensor], Tensor, dict[str, Tensor]]


def make_batch(dims: dict[str, int], seed: int = 0) -> Batch:
    """Return features [B, T, D], a mask with every pattern mixed, and ragged lengths."""
    generator = torch.Generator().manual_seed(seed)
    features = {m: torch.randn(B, T, d, generator=generator) for m, d in dims.items()}
    lengths = {m: torch.randint(1, T + 1, (B,), generator=generator) for m in dims}
    present = torch.rand(B, len(dims), generator=generator) < 0.6
    present[0] = True
    present[1] = False
    present[1, 0] = True
    return features, present, lengths


def make(name: str, dims: dict[str, int]) -> Fusion:
    """Return a method in its last stage, in evaluation."""
    torch.manual_seed(0)
    model = build_fusion(name, dims, num_outputs=3, **SMALL.get(name, {}))
    model.begin_stage(model.num_stages - 1)
    return model.eval()


def tensors(output: FusionOutput) -> dict[str, Tensor]:
    named = {"fused": output.fused}
    if output.logits is not None:
        named["logits"] = output.logits
    named |= {f"loss.{name}": loss for name, loss in output.losses.items()}
    for part in ("z", "specific", "shared", "shared_from", "recon"):
        named |= {f"{part}.{m}": x for m, x in getattr(output, part).items()}
    return named


@pytest.mark.parametrize("garbage", [1e6, math.nan, math.inf])
@pytest.mark.parametrize(("name", "dims"), METHODS_AND_DIMS)
def test_absent_and_padding_cannot_leak(name: str, dims: dict[str, int], garbage: float) -> None:
    model = make(name, dims)
    features, present, lengths = make_batch(dims)
    other = {m: x.clone() for m, x in features.items()}
    for column, m in enumerate(dims):
        other[m][~present[:, column]] = garbage
        other[m][torch.arange(T) >= lengths[m][:, None]] = garbage
    first = tensors(model(features, present, lengths))
    second = tensors(model(other, present, lengths))
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
        assert torch.isfinite(value).all(), key


@pytest.mark.parametrize(("name", "dims"), METHODS_AND_DIMS)
def test_a_mixed_batch_equals_its_rows_one_by_one(name: str, dims: dict[str, int]) -> None:
    model = make(name, dims)
    features, present, lengths = make_batch(dims)
    whole = model(features, present, lengths)
    for b in range(B):
        row = slice(b, b + 1)
        alone = model(
            {m: x[row, : max(1, int(lengths[m][b]))] for m, x in features.items()},
            present[row],
            {m: n[row] for m, n in lengths.items()},
        )
        assert torch.allclose(whole.fused[row], alone.fused, atol=1e-5)
        assert torch.allclose(whole.logits[row], alone.logits, atol=1e-5)


@pytest.mark.parametrize(("name", "dims"), METHODS_AND_DIMS)
def test_losses_of_a_batch_are_the_mean_of_its_rows(name: str, dims: dict[str, int]) -> None:
    """But for those that compare samples of a batch, which the method names."""
    model = make(name, dims)
    features, present, lengths = make_batch(dims)
    labels = torch.arange(B) % 3
    whole = model(features, present, lengths, labels=labels).losses
    rows = [
        model(
            {m: x[b : b + 1] for m, x in features.items()},
            present[b : b + 1],
            {m: n[b : b + 1] for m, n in lengths.items()},
            labels=labels[b : b + 1],
        ).losses
        for b in range(B)
        if present[b].any()
    ]
    for key in set(whole) - set(fusion_info(name).batch_losses):
        mean = sum(row[key].item() for row in rows) / len(rows)
        assert whole[key].item() == pytest.approx(mean, abs=1e-5), key


@pytest.mark.parametrize("name", NAMES)
def test_no_mask_is_all_present(name: str) -> None:
    model = make(name, TWO)
    features, _, lengths = make_batch(TWO)
    everything = torch.ones(B, 2, dtype=torch.bool)
    first = tensors(model(features, None, lengths))
    second = tensors(model(features, everything, lengths))
    for key, value in first.items():
        assert torch.equal(value, second[key]), key


@pytest.mark.parametrize("name", NAMES)
def test_length_zero_is_absent(name: str) -> None:
    model = make(name, TWO)
    features, _, _ = make_batch(TWO)
    lengths = {"audio": torch.full((B,), T), "video": torch.tensor([0, T, 0, T, 0, T, 0])}
    present = torch.stack([lengths["audio"] > 0, lengths["video"] > 0], dim=1)
    full = {m: torch.full((B,), T) for m in TWO}
    assert torch.equal(model(features, None, lengths).fused, model(features, present, full).fused)


@pytest.mark.parametrize("name", NAMES)
def test_an_absent_modality_may_be_left_out(name: str) -> None:
    model = make(name, TWO)
    features, _, _ = make_batch(TWO)
    present = torch.tensor([[True, False]]).expand(B, 2)
    with_it = model(features, present)
    without = model({"audio": features["audio"]}, present)
    # Fewer keys may add up in another order: to rounding, not to the bit.
    assert torch.allclose(with_it.fused, without.fused, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_vectors_are_sequences_of_one(name: str) -> None:
    model = make(name, TWO)
    features = {m: torch.randn(B, d) for m, d in TWO.items()}
    one_step = {m: x[:, None] for m, x in features.items()}
    assert torch.equal(model(features).fused, model(one_step).fused)
    assert model(features).fused.shape == (B, model.output_dim)


@pytest.mark.parametrize("name", NAMES)
def test_order_in_the_batch_does_not_matter(name: str) -> None:
    model = make(name, TWO)
    features, present, lengths = make_batch(TWO)
    turn = torch.randperm(B, generator=torch.Generator().manual_seed(3))
    turned = model(
        {m: x[turn] for m, x in features.items()},
        present[turn],
        {m: n[turn] for m, n in lengths.items()},
    )
    whole = model(features, present, lengths)
    assert torch.allclose(whole.fused[turn], turned.fused, atol=1e-5)


@pytest.mark.parametrize(("name", "dims"), METHODS_AND_DIMS)
def test_every_parameter_learns(name: str, dims: dict[str, int]) -> None:
    torch.manual_seed(0)
    model = build_fusion(name, dims, num_outputs=3, **SMALL.get(name, {}))
    groups = DIALOGUES if "dialogue" in fusion_info(name).needs else None
    learned: set[str] = set()
    for stage in range(model.num_stages):
        model.begin_stage(stage)
        learning = {key: p for key, p in model.named_parameters() if p.requires_grad}
        optimizer = torch.optim.SGD(learning.values(), lr=0.05)
        for step in range(16):  # some learn only from a rare combination of what is hidden
            if step >= 4 and learning.keys() <= learned:
                break
            features, present, lengths = make_batch(dims, seed=step)
            labels = torch.arange(B) % 3
            out = model(features, present, lengths, labels=labels, groups=groups)
            assert out.logits is not None
            loss = torch.nn.functional.cross_entropy(out.logits, labels)
            loss = loss + sum(out.losses.values(), torch.zeros(()))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            for key, parameter in learning.items():
                assert parameter.grad is not None, key
                assert torch.isfinite(parameter.grad).all(), key
                if parameter.grad.abs().max() > 0:
                    learned.add(key)
            optimizer.step()
    assert learned == {key for key, _ in model.named_parameters()}


@pytest.mark.parametrize("name", NAMES)
def test_state_round_trip_and_seed(name: str) -> None:
    first, second = make(name, TWO), make(name, TWO)
    features, present, lengths = make_batch(TWO)
    expected = first(features, present, lengths).fused
    assert torch.equal(expected, second(features, present, lengths).fused)
    torch.manual_seed(9)
    third = build_fusion(name, TWO, num_outputs=3, **SMALL.get(name, {})).eval()
    assert not torch.equal(expected, third(features, present, lengths).fused)
    third.load_state_dict(first.state_dict())
    assert torch.equal(expected, third(features, present, lengths).fused)


@pytest.mark.parametrize("name", NAMES)
def test_autocast_to_bfloat16(name: str) -> None:
    model = make(name, TWO)
    features, present, lengths = make_batch(TWO)
    plain = model(features, present, lengths).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = model(features, present, lengths).logits.float()
    assert (plain - rough).norm() / plain.norm() < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_wrong_use_names_the_tensor(name: str) -> None:
    model = make(name, TWO)
    good = {m: torch.randn(B, d) for m, d in TWO.items()}
    present = torch.ones(B, 2, dtype=torch.bool)
    with pytest.raises(ValueError, match="batch sizes differ"):
        model(good | {"audio": torch.randn(B + 1, 6)})
    with pytest.raises(ValueError, match=r"features\['smell'\]: no such modality"):
        model(good | {"smell": torch.randn(B, 6)})
    with pytest.raises(ValueError, match=r"features\['video'\]: missing"):
        model({"audio": good["audio"]})
    with pytest.raises(ValueError, match=r"features\['video'\]: must be"):
        model(good | {"video": torch.randn(B, 9)})
    with pytest.raises(ValueError, match=r"features\['video'\]: NaN"):
        model(good | {"video": torch.full((B, 10), math.nan)})
    with pytest.raises(TypeError, match=r"features\['video'\]: must be floating"):
        model(good | {"video": torch.zeros(B, 10, dtype=torch.int64)})
    with pytest.raises(TypeError, match="present: must be bool"):
        model(good, present.float())
    with pytest.raises(ValueError, match="present: must be"):
        model(good, present[:, :1])
    with pytest.raises(ValueError, match=r"lengths\['audio'\]: must be from 0 to T"):
        model(good, present, {"audio": torch.full((B,), 2)})
    with pytest.raises(TypeError, match=r"lengths\['audio'\]: must be integers"):
        model(good, present, {"audio": torch.ones(B)})


@pytest.mark.parametrize(("name", "dims"), METHODS_AND_DIMS)
def test_a_batch_without_anything_present_is_finite_and_trains(
    name: str, dims: dict[str, int]
) -> None:
    model = make(name, dims).train()
    features, present, lengths = make_batch(dims)
    nothing = torch.zeros_like(present)
    rows = torch.arange(B)
    out = model(features, nothing, lengths, labels=rows % 3, groups=rows // 3)
    for key, value in tensors(out).items():
        assert torch.isfinite(value).all(), key
    learning = [p for p in model.parameters() if p.requires_grad]
    loss = out.logits.sum() + sum(out.losses.values(), torch.zeros(()))
    if loss.requires_grad:  # a vote of nobody has no parameter
        for grad in torch.autograd.grad(loss, learning, allow_unused=True):
            assert grad is None or torch.isfinite(grad).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_number_of_modalities_that_a_method_does_not_take_is_refused(name: str) -> None:
    info = fusion_info(name)
    for dims in (ONE, THREE):
        if takes(info, dims):
            model = build_fusion(name, dims, num_outputs=3, **SMALL.get(name, {}))
            assert model.modalities == tuple(dims)
        else:
            with pytest.raises(ValueError, match=rf"dims: {re.escape(name)} (needs|takes)"):
                build_fusion(name, dims, num_outputs=3, **SMALL.get(name, {}))


def test_unknown_names_suggest_near_ones() -> None:
    with pytest.raises(ValueError, match="Did you mean 'concat'"):
        build_fusion("concatt", TWO)
    with pytest.raises(ValueError, match="Did you mean 'expansion'"):
        build_fusion("scfae", TWO, expansoin=3)


def test_out_of_range_options_name_themselves() -> None:
    for options, needle in (
        ({"expansion": 0}, "expansion"),
        ({"expansion": math.inf}, "expansion"),
        ({"shared_ratio": 1.0}, "shared_ratio"),
        ({"pooling": "median"}, "pooling"),
        ({"time": "never"}, "time"),
        ({"order": ["audio"]}, "order"),
    ):
        with pytest.raises(ValueError, match=needle):
            build_fusion("scfae", TWO, **options)
    with pytest.raises(ValueError, match=r"dims\['audio'\]"):
        build_fusion("concat", {"audio": 0})
