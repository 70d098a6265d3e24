"""Votes of modalities that never meet before the logits."""

import pytest
import torch
from torch import Tensor

from scfae.fusion import build_fusion, count_parameters
from scfae.fusion.unimodal import LateFusion, Unimodal

DIMS = {"a": 4, "v": 6, "t": 5}
PRESENT = torch.tensor([[1, 1, 1], [1, 0, 1], [0, 0, 0]], dtype=torch.bool)


def features() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return {m: torch.randn(3, d) for m, d in DIMS.items()}


def test_logits_are_the_mean_of_those_present() -> None:
    torch.manual_seed(0)
    model = Unimodal(DIMS, num_outputs=2, hidden=8).eval()
    out = model(features(), PRESENT)
    votes = {m: model.heads[m](model.embed[m](x)) for m, x in features().items()}
    torch.testing.assert_close(out.logits[0], (votes["a"] + votes["v"] + votes["t"])[0] / 3)
    torch.testing.assert_close(out.logits[1], (votes["a"] + votes["t"])[1] / 2)
    assert (out.logits[2] == 0).all()


def test_a_chosen_modality_is_the_only_one_that_is_built_and_read() -> None:
    torch.manual_seed(0)
    model = Unimodal(DIMS, num_outputs=2, hidden=8, modality="v", pooling="attention").eval()
    assert not any(".a." in name or ".t." in name for name, _ in model.named_parameters())
    first = model(features(), PRESENT)
    second = model(features() | {"a": torch.randn(3, 4)}, PRESENT)
    assert torch.equal(first.fused, second.fused)
    assert first.fused.shape == (3, model.output_dim) == (3, 8)
    assert (first.logits[1] == 0).all()
    with pytest.raises(ValueError, match="modality: must be one of a, v, t, not 'x'"):
        Unimodal(DIMS, modality="x")


def test_late_fusions_weights_are_a_softmax_over_those_present() -> None:
    torch.manual_seed(0)
    model = LateFusion(DIMS, num_outputs=2, hidden=8).eval()
    assert model.scores is not None
    model.scores.data = torch.tensor([0.0, 1.0, 2.0])
    weights = model.vote_weights(PRESENT)
    e = 2.718281828
    expected: list[list[float]] = [[1, e, e**2], [1, 0, e**2], [0, 0, 0]]
    for row, wanted in zip(weights.tolist(), expected, strict=True):
        assert row == pytest.approx([x / max(sum(wanted), 1) for x in wanted])
    out = model(features(), PRESENT)
    votes = torch.stack([model.heads[m](out.z[m]) for m in DIMS], dim=1)
    torch.testing.assert_close(out.logits, torch.einsum("bm,bmc->bc", weights, votes))
    mean = LateFusion(DIMS, num_outputs=2, weights="mean")
    assert torch.equal(mean.vote_weights(PRESENT)[1], torch.tensor([0.5, 0.0, 0.5]))
    with pytest.raises(ValueError, match="weights: must be one of learned, mean"):
        LateFusion(DIMS, weights="max")


def test_sizes_are_their_formulas() -> None:
    each = sum((d + 1) * 8 + 9 * 8 + 9 * 2 for d in DIMS.values())
    assert count_parameters(build_fusion("unimodal", DIMS, 2, hidden=8)) == each
    assert count_parameters(build_fusion("late_fusion", DIMS, 2, hidden=8)) == each + 3
