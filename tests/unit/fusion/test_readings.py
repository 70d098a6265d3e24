"""Where the paper is silent: the reading that is the default, and its switch.

Each test names the row of the table of readings that it holds.
"""

import pytest
import torch
from torch import Tensor

from scfae.fusion import SCFAE, FusionOutput

THREE = {"a": 4, "v": 6, "t": 5}


def build(dims: dict[str, int] | None = None, **options: object) -> SCFAE:
    torch.manual_seed(0)
    return SCFAE(THREE if dims is None else dims, **options).eval()  # type: ignore[arg-type]


def batch(dims: dict[str, int], size: int = 3, seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {m: torch.randn(size, d, generator=generator) for m, d in dims.items()}


def test_a1_less_loss_is_a_better_reconstruction() -> None:
    model = build()
    features = batch(THREE)
    out = model(features)
    cosines = [torch.cosine_similarity(features[m], out.recon[m], dim=1) for m in THREE]
    expected = sum((1 - cosine).mean() for cosine in cosines)
    torch.testing.assert_close(out.losses["recon"], expected)


@pytest.mark.parametrize(
    ("metric", "activation", "is_gelu"),
    [
        ("cosine", "auto", True),
        ("mse", "auto", False),
        ("cosine", "none", False),
        ("mse", "gelu", True),
    ],
)
def test_a2_gelu_after_the_reconstruction_but_not_for_mse(
    metric: str, activation: str, is_gelu: bool
) -> None:
    model = build(recon_metric=metric, recon_activation=activation)
    out = model(batch(THREE))
    raw = {m: model.rebuild[m](out.z[m]) for m in THREE}
    for m in THREE:
        expected = torch.nn.functional.gelu(raw[m]) if is_gelu else raw[m]
        assert torch.equal(out.recon[m], expected)
    if metric == "mse":
        errors = [(out.recon[m] - x).square().mean() for m, x in batch(THREE).items()]
        torch.testing.assert_close(out.losses["recon"], torch.stack(errors).sum())


def test_a4_the_output_swiglu_is_read_by_both_or_by_the_head_alone() -> None:
    both, head = build(), build(post_scope="head")
    features = batch(THREE)
    mine, theirs = both(features), head(features)
    assert torch.equal(mine.fused, theirs.fused)
    joined = torch.cat([theirs.specific["v"], theirs.shared["v"]], dim=1)
    assert torch.equal(theirs.recon["v"], torch.nn.functional.gelu(head.rebuild["v"](joined)))
    assert torch.equal(mine.recon["v"], torch.nn.functional.gelu(both.rebuild["v"](mine.z["v"])))


def test_a6_a7_the_boundary_is_a_share_and_the_shared_map_reads_the_successors() -> None:
    model = build(shared_ratio={"a": 0.25, "v": 0.5, "t": 0.8}, expansion=2)
    assert model.boundary == {"a": 2, "v": 6, "t": 8}
    widths = {m: model.to_shared[m].in_features for m in THREE}
    assert widths == {"a": 6, "v": 8, "t": 2}
    assert {m: model.to_specific[m].in_features for m in THREE} == {"a": 6, "v": 6, "t": 2}


def test_a8_the_target_keeps_its_gradient_unless_detached() -> None:
    features = {m: x.requires_grad_() for m, x in batch(THREE).items()}
    grads = {}
    for detach in (False, True):
        loss = build(detach_target=detach)(features).losses["recon"]
        grads[detach] = torch.autograd.grad(loss, features["a"])[0]
    assert not torch.allclose(grads[False], grads[True])


@pytest.mark.parametrize("absent", [(), ("a",), ("a", "t")])
def test_a9_the_least_width_is_of_what_is_configured_not_of_what_is_here(
    absent: tuple[str, ...],
) -> None:
    model = build()
    assert model.shared_width == 4
    present = torch.tensor([[m not in absent for m in THREE]]).expand(3, 3)
    out = model(batch(THREE), present)
    assert {m: x.shape[1] for m, x in out.shared.items()} == dict.fromkeys(THREE, 4)
    assert out.fused.shape == (3, 4 + 6 + 5 + 3 * 4)


@pytest.mark.parametrize(
    ("dims", "expected"),
    [
        ({"a": 4}, {"a": "a"}),
        ({"a": 4, "v": 6}, {"a": "v", "v": "a"}),
        (THREE, {"a": "v", "v": "t", "t": "a"}),
    ],
    ids=["one", "two", "three"],
)
def test_a10_the_successor_is_the_next_in_the_cycle(
    dims: dict[str, int], expected: dict[str, str]
) -> None:
    model = build(dims)
    assert model.next == expected
    features = batch(dims)
    out = model(features)
    for m, k in expected.items():
        # Slot m of the shared part moves with the successor's features and with no other's.
        for changed in dims:
            other = model(features | {changed: features[changed] + 1.0}).shared[m]
            assert torch.equal(other, out.shared[m]) == (changed != k)


def test_a10_the_order_may_be_given_and_only_the_cycle_counts() -> None:
    assert build(order=("t", "v", "a")).next == {"t": "v", "v": "a", "a": "t"}
    # A -> T -> V and V -> A -> T are one cycle (fact 6).
    assert build(order=("a", "t", "v")).next == build(order=("v", "a", "t")).next
    with pytest.raises(ValueError, match="order: must name each of a, v, t once"):
        build(order=("a", "v", "v"))


def test_a11_the_head_reads_every_slot_side_by_side() -> None:
    model = build(num_outputs=2)
    out = model(batch(THREE))
    assert torch.equal(out.fused, torch.cat([out.z[m] for m in THREE], dim=1))
    assert out.logits is not None
    torch.testing.assert_close(out.logits, out.fused @ model.head.weight.T + model.head.bias)  # type: ignore[union-attr]


@pytest.mark.parametrize("dims", [{"video": 8, "image": 6}, THREE], ids=["two", "three"])
def test_a12_an_embedding_for_retrieval_sees_its_own_modality_alone(dims: dict[str, int]) -> None:
    model = build(dims)
    features = batch(dims)
    before = model(features).shared_from
    for changed in dims:
        after = model(features | {changed: features[changed] * -2.0}).shared_from
        for m in dims:
            assert torch.equal(before[m], after[m]) == (m != changed)


def alone(model: SCFAE, modality: str) -> FusionOutput:
    present = torch.tensor([[m == modality for m in THREE]]).expand(3, 3)
    output: FusionOutput = model(batch(THREE), present)
    return output


@pytest.mark.parametrize("modality", THREE)
def test_a13_every_slot_is_computed_and_shared_evidence_of_what_is_here_is_kept(
    modality: str,
) -> None:
    model = build()
    out = alone(model, modality)
    before = next(m for m, k in model.next.items() if k == modality)
    assert (out.shared[before] != 0).any()
    assert (out.specific[modality] != 0).any()
    for m in THREE:
        assert (out.specific[m] == 0).all() == (m != modality)
        assert (out.shared[m] == 0).all() == (m != before)
        assert (out.z[m] != 0).any()  # the output SwiGLU's biases speak


def test_a13_biases_may_flow_instead() -> None:
    out = alone(build(zero_absent_parts=False), "t")
    assert all((x != 0).any() for part in (out.specific, out.shared) for x in part.values())


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_a15_time_is_pooled_before_fusion(pooling: str) -> None:
    model = build(pooling=pooling)
    rows = {m: torch.randn(3, 7, d) for m, d in THREE.items()}
    lengths = {m: torch.tensor([7, 2, 1]) for m in THREE}
    vectors = {}
    for m, x in rows.items():
        valid = torch.arange(7) < lengths[m][:, None]
        vectors[m] = model.poolings[m](x.masked_fill(~valid[:, :, None], 0.0), valid)
    once = model(vectors)
    torch.testing.assert_close(model(rows, lengths=lengths).fused, once.fused)


def test_a15_or_every_step_is_fused_and_then_the_mean_is_taken() -> None:
    model = build(time="per_step")
    rows = {m: torch.randn(2, 4, d) for m, d in THREE.items()}
    lengths = {m: torch.tensor([4, 2]) for m in THREE}
    steps = [model({m: x[:, t] for m, x in rows.items()}).fused for t in range(4)]
    out = model(rows, lengths=lengths).fused
    torch.testing.assert_close(out[0], torch.stack([s[0] for s in steps]).mean(dim=0))
    torch.testing.assert_close(out[1], torch.stack([s[1] for s in steps[:2]]).mean(dim=0))
    with pytest.raises(ValueError, match="pooling: time='per_step' takes the mean"):
        build(time="per_step", pooling="attention")


@pytest.mark.parametrize("dims", [THREE, dict.fromkeys(THREE, 4)], ids=["unequal", "equal"])
def test_a16_what_is_absent_has_no_reconstruction_loss(dims: dict[str, int]) -> None:
    model = build(dims)
    features = batch(dims, size=4)
    present = torch.tensor(
        [[True, True, True], [True, False, False], [False, True, True], [False, False, False]]
    )
    out = model(features, present)
    total = 0.0
    for i, m in enumerate(THREE):
        error = 1 - torch.cosine_similarity(features[m], out.recon[m], dim=1)
        total += error[present[:, i]].sum().item()
    assert out.losses["recon"].item() == pytest.approx(total / 3)  # three samples have anything
    nothing = model(features, torch.zeros(4, 3, dtype=torch.bool))
    assert nothing.losses["recon"].item() == 0.0
    assert torch.isfinite(nothing.fused).all()


@pytest.mark.parametrize("kept", ["shared", "specific"])
def test_a19_a_trained_models_other_branch_is_zero_before_the_output_swiglu(kept: str) -> None:
    model = build(num_outputs=2)
    full = model(batch(THREE))
    model.branches = kept
    half = model(batch(THREE))
    for m in THREE:
        zero = torch.zeros_like
        specific = full.specific[m] if kept == "specific" else zero(full.specific[m])
        shared = full.shared[m] if kept == "shared" else zero(full.shared[m])
        assert torch.equal(half.specific[m], specific)
        assert torch.equal(half.shared[m], shared)
        assert torch.equal(half.z[m], model.post[m](torch.cat([specific, shared], dim=1)))
    model.branches = "both"
    assert torch.equal(model(batch(THREE)).fused, full.fused)
    with pytest.raises(ValueError, match="branches: must be one of both, shared, specific"):
        build(branches="neither")
