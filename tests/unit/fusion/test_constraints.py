"""What stands in place of SCFAE's reconstruction: each loss a second time, from the parts."""

import pytest
import torch
from torch import Tensor

from scfae.fusion import SCFAE, FusionOutput, build_fusion, count_parameters, fusion_info
from scfae.fusion.constraints import CLUBConstraint
from scfae.fusion.losses import CLUB, central_moment_discrepancy, info_nce, orthogonality

DIMS = {"a": 4, "v": 6, "t": 4}
PRESENT = torch.tensor(
    [[1, 1, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 0]], dtype=torch.bool
)
A, V, T = ([b for b in range(6) if PRESENT[b, i]] for i in range(3))


def run(name: str) -> tuple[SCFAE, FusionOutput]:
    torch.manual_seed(0)
    model = build_fusion(name, DIMS)
    assert isinstance(model, SCFAE)
    features = {m: 8 * torch.randn(6, d) for m, d in DIMS.items()}
    return model, model(features, PRESENT)


def both(first: list[int], second: list[int]) -> list[int]:
    return sorted(set(first) & set(second))


def test_contrastive_replacement_compares_shared_parts_of_each_pair() -> None:
    _, out = run("scfae+infonce")
    s = out.shared_from
    expected = sum(
        info_nce(s[m][both(p, q)], s[k][both(p, q)], temperature=0.1)
        for m, p, k, q in (("a", A, "v", V), ("a", A, "t", T), ("v", V, "t", T))
    )
    torch.testing.assert_close(out.losses["info_nce"], expected)
    assert set(out.losses) == {"info_nce"}


def test_the_losses_of_misa_and_drfuse() -> None:
    _, out = run("scfae+misa_drfuse")
    specific, shared = out.specific, out.shared_from
    rows = {"a": A, "v": V, "t": T}
    pairs = (("a", "v"), ("a", "t"), ("v", "t"))
    expected = sum(orthogonality(specific[m][r], shared[m][r]) for m, r in rows.items())
    for m, k in pairs:
        r = both(rows[m], rows[k])
        expected = expected + orthogonality(specific[m][r], specific[k][r])
    torch.testing.assert_close(out.losses["orthogonality"], expected)
    cmd = [
        central_moment_discrepancy(shared[m][rows[m]].sigmoid(), shared[k][rows[k]].sigmoid())
        for m, k in pairs
    ]
    torch.testing.assert_close(out.losses["cmd"], torch.stack(cmd).mean())
    overlap = jsd = 0.0
    for b in range(5):
        for m in ("a", "t"):  # v is wider than its shared part
            if b in rows[m]:
                overlap += abs(torch.cosine_similarity(specific[m][b], shared[m][b], 0).item())
        for m, k in pairs:
            if b in both(rows[m], rows[k]):
                p, q = shared[m][b].sigmoid(), shared[k][b].sigmoid()
                middle = (p + q) / 2
                jsd += ((p * (p / middle).log() + q * (q / middle).log()) / 2).sum().item()
    assert out.losses["overlap"].item() == pytest.approx(overlap / 5, rel=1e-4)
    assert out.losses["jsd"].item() == pytest.approx(jsd / 5, rel=1e-3)


def grads(model: SCFAE, loss: Tensor) -> set[str]:
    names = [name for name, _ in model.named_parameters()]
    found = torch.autograd.grad(
        loss, list(model.parameters()), allow_unused=True, retain_graph=True
    )
    return {n for n, g in zip(names, found, strict=True) if g is not None and g.abs().max() > 0}


def test_clubs_two_losses_reach_the_model_and_the_estimators() -> None:
    model, out = run("scfae+club")
    reached = grads(model, out.losses["club"])
    assert reached
    assert not any(name.startswith("constraint.") for name in reached)
    learned = grads(model, out.losses["club_learning"])
    assert learned == {n for n, _ in model.named_parameters() if n.startswith("constraint.")}


def test_club_is_the_sum_of_its_bounds_of_parts_of_unit_length() -> None:
    model, out = run("scfae+club")
    club = model.constraint
    assert isinstance(club, CLUBConstraint)
    rows = {"a": A, "v": V, "t": T}
    terms = [(club.to_shared[m], out.specific[m], out.shared_from[m], r) for m, r in rows.items()]
    for m, k in (("a", "v"), ("a", "t"), ("v", "t")):
        r = both(rows[m], rows[k])
        terms.append((club.to_specific[f"{m}|{k}"], out.specific[m], out.specific[k], r))
    bound = learning = 0.0
    for estimator, one, other, r in terms:
        assert isinstance(estimator, CLUB)
        x, y = (part[r] / part[r].norm(dim=1, keepdim=True) for part in (one, other))
        mean, log_variance = estimator(x)
        variance = log_variance.exp()
        near = (mean - y).square()
        far = (mean[:, None] - y[None]).square().mean(dim=1)
        bound += ((far - near) / variance / 2).sum(dim=1).mean().item()
        learning += (near / variance + log_variance).sum(dim=1).mean().item()
    assert out.losses["club"].item() == pytest.approx(bound, rel=1e-4)
    assert out.losses["club_learning"].item() == pytest.approx(learning, rel=1e-4)


def test_one_modality_has_no_pair_to_contrast() -> None:
    # Its loss would be zero for ever.
    with pytest.raises(ValueError, match=r"scfae\+infonce needs at least 2 modalities"):
        build_fusion("scfae+infonce", {"a": 4})
    with pytest.raises(ValueError, match="constraint: infonce compares modalities"):
        SCFAE({"a": 4}, constraint="infonce")


def test_the_ffn_is_scfae_without_reconstruction() -> None:
    ffn, out = run("ffn")
    assert out.losses == {}
    rebuild = sum((d + 4) * d + d for d in DIMS.values())
    assert count_parameters(ffn) == count_parameters(SCFAE(DIMS)) - rebuild
    # and one that keeps its reconstruction beside a constraint, if asked to
    torch.manual_seed(0)
    model = SCFAE(DIMS, constraint="infonce", reconstruct=True)
    losses = model({m: torch.randn(3, d) for m, d in DIMS.items()}).losses
    assert set(losses) == {"recon", "info_nce"}


def test_what_is_ours_says_so() -> None:
    assert fusion_info("scfae_stacked").is_ours
    assert fusion_info("scfae_light").is_ours
    assert not fusion_info("scfae").is_ours
    with pytest.raises(ValueError, match="constraint: must be one of none, infonce"):
        SCFAE(DIMS, constraint="vib")
