"""SCFAE against the paper: sizes, shapes, and every number computed a second time in numpy."""

import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from scfae.fusion import SCFAE, count_flops, count_parameters

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "scfae.json"
Array = npt.NDArray[np.float64]


def swiglu_size(d: int) -> int:
    """Return SwiGLU's parameters: three linear layers with bias, hidden int(8d/3)."""
    hidden = int(8 * d / 3)
    return 2 * (d * hidden + hidden) + hidden * d + d


def table_12(dims: dict[str, int], n: float = 2, b: float = 0.5) -> int:
    """Return the parameters by the formulas of Table 12, with each bias as wide as its output."""
    names = list(dims)
    least = min(dims.values())
    total = 0
    for i, m in enumerate(names):
        d, k = dims[m], names[(i + 1) % len(names)]
        wide, shared = round(n * d), round(b * round(n * d))
        shared_k = round(b * round(n * dims[k]))
        total += swiglu_size(d) + swiglu_size(d + least)
        total += wide * d + wide  # expand
        total += shared_k * least + least  # shared: reads b_k of the successor
        total += (wide - shared) * d + d  # specific
        total += d * (d + least) + d  # recon
    return total


@pytest.mark.parametrize(
    ("dims", "million", "tolerance"),
    [
        ({"audio": 512, "video": 512}, 24.14, 0.01),
        ({"video": 4096, "image": 128}, 345.9, 0.05),
        ({"audio": 512, "text": 1024, "vision": 1024}, 77.1, 0.05),
    ],
)
def test_size_is_the_papers(dims: dict[str, int], million: float, tolerance: float) -> None:
    with torch.device("meta"):
        model = SCFAE(dims)
    assert count_parameters(model) == table_12(dims)
    assert count_parameters(model) / 1e6 == pytest.approx(million, abs=tolerance)


def test_operations_are_the_papers() -> None:
    with torch.device("meta"):
        model = SCFAE({"audio": 512, "video": 512})
    flops = count_flops(model)
    assert flops / 1e9 == pytest.approx(0.048, abs=0.0005)
    # Two a weight: every parameter but the biases is used once a sample.
    weights = sum(p.numel() for p in model.parameters() if p.ndim == 2)
    assert flops == 2 * weights


def test_shapes_are_the_interfaces() -> None:
    model = SCFAE({"video": 40, "image": 12}, expansion=2, shared_ratio=0.5)
    out = model({"video": torch.randn(3, 40), "image": torch.randn(3, 12)})
    assert out.specific["video"].shape == (3, 40)
    assert out.shared["video"].shape == (3, 12)
    assert out.shared_from["image"].shape == (3, 12)
    assert out.z["video"].shape == (3, 52)
    assert out.recon["video"].shape == (3, 40)
    assert out.fused.shape == (3, 40 + 12 + 12 + 12)
    assert out.losses["recon"].shape == ()
    assert out.logits is None


def test_slot_m_is_computed_from_the_next_modality() -> None:
    model = SCFAE({"a": 6, "v": 8, "t": 10})
    out = model({"a": torch.randn(2, 6), "v": torch.randn(2, 8), "t": torch.randn(2, 10)})
    assert torch.equal(out.shared["a"], out.shared_from["v"])
    assert torch.equal(out.shared["v"], out.shared_from["t"])
    assert torch.equal(out.shared["t"], out.shared_from["a"])


def test_the_retrieval_embedding_sees_its_own_modality_alone() -> None:
    # Reading A12: the slot named after a modality holds the other one's evidence.
    model = SCFAE({"video": 8, "image": 6})
    video, image = torch.randn(4, 8), torch.randn(4, 6)
    first = model({"video": video, "image": image}).shared_from["image"]
    second = model({"video": torch.randn(4, 8), "image": image}).shared_from["image"]
    assert torch.equal(first, second)
    assert not torch.equal(
        first, model({"video": video, "image": torch.randn(4, 6)}).shared_from["image"]
    )


def gelu(x: Array) -> Array:
    y: Array = np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))))(x)
    return y


def by_hand(
    model: SCFAE, features: dict[str, Array], present: npt.NDArray[np.bool_]
) -> dict[str, Array]:
    """Compute the paper's equations a second time, sample by sample, from the weights."""
    w = {key: value.detach().double().numpy() for key, value in model.state_dict().items()}
    names = list(features)

    def linear(key: str, x: Array) -> Array:
        y: Array = w[f"{key}.weight"] @ x + w[f"{key}.bias"]
        return y

    def swiglu(key: str, x: Array) -> Array:
        gate = linear(f"{key}.gate", x)
        return linear(f"{key}.out", gate / (1 + np.exp(-gate)) * linear(f"{key}.value", x))

    fused, loss = [], 0.0
    for i in range(len(present)):
        v = {m: features[m][i] * present[i, j] for j, m in enumerate(names)}
        hat = {m: gelu(linear(f"expand.{m}", swiglu(f"pre.{m}", v[m]))) for m in names}
        z = []
        for j, m in enumerate(names):
            k = (j + 1) % len(names)
            b_k, b_m = len(hat[names[k]]) // 2, len(hat[m]) // 2
            shared = gelu(linear(f"to_shared.{m}", hat[names[k]][:b_k])) * present[i, k]
            specific = gelu(linear(f"to_specific.{m}", hat[m][b_m:])) * present[i, j]
            z_m = swiglu(f"post.{m}", np.concatenate([specific, shared]))
            z.append(z_m)
            if present[i, j]:
                recon = gelu(linear(f"rebuild.{m}", z_m))
                cosine = recon @ v[m] / np.linalg.norm(recon) / np.linalg.norm(v[m])
                loss += 1 - cosine
        fused.append(np.concatenate(z))
    return {"fused": np.array(fused), "recon": np.array(loss / present.any(axis=1).sum())}


def tiny() -> tuple[SCFAE, dict[str, Array], npt.NDArray[np.bool_]]:
    """Return a tiny model with weights from a formula, so that no generator decides them."""
    model = SCFAE({"a": 4, "v": 6, "t": 5}).double()
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            count = torch.arange(parameter.numel(), dtype=torch.float64)
            parameter.copy_((torch.sin(count * 1.7 + number) * 0.5).view_as(parameter))
    features = {
        m: np.cos(np.arange(4 * d, dtype=np.float64) * 0.9 + d).reshape(4, d)
        for m, d in model.dims.items()
    }
    present = np.array([[1, 1, 1], [1, 0, 0], [0, 1, 1], [0, 0, 0]], dtype=bool)
    return model, features, present


def test_every_number_agrees_with_the_equations_by_hand() -> None:
    model, features, present = tiny()
    out = model({m: torch.tensor(x) for m, x in features.items()}, torch.tensor(present))
    expected = by_hand(model, features, present)
    np.testing.assert_allclose(out.fused.detach().numpy(), expected["fused"], atol=1e-12)
    np.testing.assert_allclose(out.losses["recon"].item(), expected["recon"], atol=1e-12)


def test_the_kept_numbers_are_those_of_the_equations() -> None:
    expected = by_hand(*tiny())
    golden = json.loads(GOLDEN.read_text())
    np.testing.assert_allclose(golden["fused"], expected["fused"], atol=1e-11)
    np.testing.assert_allclose(golden["recon"], expected["recon"], atol=1e-11)


def test_numbers_are_as_they_were() -> None:
    model, features, present = tiny()
    out = model({m: torch.tensor(x) for m, x in features.items()}, torch.tensor(present))
    golden = json.loads(GOLDEN.read_text())
    np.testing.assert_allclose(out.fused.detach().numpy(), golden["fused"], atol=1e-9)
    assert out.losses["recon"].item() == pytest.approx(golden["recon"], abs=1e-9)


def test_reconstruction_can_be_learned() -> None:
    torch.manual_seed(0)
    model = SCFAE({"a": 8, "v": 8})
    features = {m: torch.randn(64, 8) for m in ("a", "v")}
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(300):
        loss = model(features).losses["recon"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


def test_switches_change_what_they_name() -> None:
    features = {"a": torch.randn(5, 6), "v": torch.randn(5, 8)}
    dims = {"a": 6, "v": 8}

    def run(**options: object) -> SCFAE:
        torch.manual_seed(0)
        return SCFAE(dims, **options)  # type: ignore[arg-type]

    plain = run()(features)
    assert run(reconstruct=False)(features).losses == {}
    assert not torch.equal(run(recon_metric="mse")(features).losses["recon"], plain.losses["recon"])
    assert not torch.equal(run(post_scope="head")(features).recon["a"], plain.recon["a"])
    assert torch.equal(run(post_scope="head")(features).fused, plain.fused)
    assert (run(branches="shared")(features).specific["a"] == 0).all()
    assert (run(branches="specific")(features).shared["a"] == 0).all()
    assert not torch.equal(run(recon_activation="none")(features).recon["a"], plain.recon["a"])
    assert run(shared_ratio={"a": 0.25, "v": 0.75}).boundary == {"a": 3, "v": 12}
    assert run(order=["v", "a"]).next == {"v": "a", "a": "v"}
    absent = torch.tensor([[True, False]]).expand(5, 2)
    zeroed = run()(features, absent)
    flowing = run(zero_absent_parts=False)(features, absent)
    assert (zeroed.specific["v"] == 0).all()
    assert (zeroed.shared["a"] == 0).all()
    assert not torch.equal(zeroed.fused, flowing.fused)


def test_detached_target_gets_no_gradient() -> None:
    model = SCFAE({"a": 6}, detach_target=True)
    x = torch.randn(3, 6, requires_grad=True)
    out = model({"a": x})
    attached = SCFAE({"a": 6})
    attached.load_state_dict(model.state_dict())
    grad = torch.autograd.grad(out.losses["recon"], x)[0]
    other = torch.autograd.grad(attached({"a": x}).losses["recon"], x)[0]
    assert not torch.allclose(grad, other)


def test_per_step_fuses_before_the_mean() -> None:
    torch.manual_seed(0)
    model = SCFAE({"a": 6, "v": 8}, time="per_step", num_outputs=2).eval()
    features = {"a": torch.randn(3, 4, 6), "v": torch.randn(3, 4, 8)}
    lengths = {m: torch.tensor([4, 2, 0]) for m in features}
    out = model(features, lengths=lengths)
    steps = [model({m: x[:1, t] for m, x in features.items()}) for t in range(4)]
    mean = torch.stack([step.fused for step in steps]).mean(dim=0)
    assert torch.allclose(out.fused[:1], mean, atol=1e-6)
    assert torch.isfinite(out.fused).all()
    assert out.logits is not None
    with pytest.raises(ValueError, match="one clock"):
        model({"a": torch.randn(3, 4, 6), "v": torch.randn(3, 5, 8)})


def test_attention_pooling_weighs_rows() -> None:
    torch.manual_seed(0)
    features = {"a": torch.randn(3, 4, 6)}
    mean = SCFAE({"a": 6})
    attentive = SCFAE({"a": 6}, pooling="attention")
    attentive.load_state_dict(mean.state_dict(), strict=False)
    assert not torch.allclose(mean(features).fused, attentive(features).fused)
