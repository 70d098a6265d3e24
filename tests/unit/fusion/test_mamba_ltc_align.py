"""The substitute for SALM: its liquid cell, and alignment of pairs."""

import pytest
import torch
import torch.nn.functional as F

from scfae.fusion import build_fusion
from scfae.fusion.mamba_ltc_align import LiquidCell


def test_the_cell_is_its_equation_and_rests_at_padding() -> None:
    torch.manual_seed(0)
    cell = LiquidCell(3)
    rows = torch.randn(1, 3, 3)
    h = torch.zeros(1, 3)
    for t in range(2):
        b = 1.7159 * torch.tanh(2 / 3 * cell.backbone(torch.cat([rows[:, t], h], dim=1)))
        s = torch.sigmoid(cell.gate(b))
        h = (1 - s) * torch.tanh(cell.first(b)) + s * torch.tanh(cell.second(b))
    assert torch.allclose(cell(rows, torch.tensor([[True, True, False]])), h, atol=1e-6)


def test_alignment_is_info_nce_of_samples_with_both() -> None:
    torch.manual_seed(0)
    model = build_fusion("mamba_ltc_align", {"a": 6, "v": 10}, width=8, num_states=2).eval()
    features = {"a": torch.randn(4, 6), "v": torch.randn(4, 10)}
    present = torch.tensor([[True, True]] * 3 + [[True, False]])
    out = model(features, present)
    x, y = (F.normalize(out.z[m][:3], dim=1) for m in "av")
    scores, target = x @ y.T / 0.1, torch.arange(3)
    expected = (F.cross_entropy(scores, target) + F.cross_entropy(scores.T, target)) / 2
    assert out.losses["align"].item() == pytest.approx(expected.item(), abs=1e-5)
