"""Cross-modal distillation: the widest modality teaches, and is not taught."""

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from scfae.fusion import fusion_info
from scfae.fusion.xmodal_distill import XModalDistill, distill_errors

DIMS = {"image": 5, "video": 7}


def test_the_divergence_is_that_of_softened_classes() -> None:
    teacher, student = torch.randn(2, 3), torch.randn(2, 3)
    p, q = softmax(teacher.numpy() / 4, axis=1), softmax(student.numpy() / 4, axis=1)
    expected = 16 * rel_entr(p, q).sum(axis=1)
    assert distill_errors(teacher, student, 4.0).numpy() == pytest.approx(expected, rel=1e-4)
    one = distill_errors(torch.tensor([[2.0]]), torch.tensor([[0.5]]), 4.0)
    assert one.item() == pytest.approx(2.25)


def test_only_samples_that_have_both_are_distilled_and_the_teacher_is_constant() -> None:
    torch.manual_seed(0)
    model = XModalDistill(DIMS, num_outputs=3, width=8).eval()
    assert model.teacher == "video"
    features = {m: torch.randn(3, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, True], [True, False], [True, True]])
    out = model(features, present)
    logits = {m: model.classifiers[m](out.z[m] * 8**0.5) for m in DIMS}
    each = distill_errors(logits["video"], logits["image"], 4.0)
    loss = out.losses["distill"]
    assert loss.item() == pytest.approx((each[0] + each[2]).item() / 3, rel=1e-4)
    loss.backward()
    assert all(p.grad is None or not p.grad.any() for p in model.classifiers["video"].parameters())
    assert all(p.grad is not None for p in model.classifiers["image"].parameters())
    video, image = (out.z[m].detach().numpy()[[0, 2]] for m in ("video", "image"))
    scores = video @ image.T / 0.1
    nce = [-np.mean(np.log(softmax(x, axis=1).diagonal())) for x in (scores, scores.T)]
    assert out.losses["info_nce"].item() == pytest.approx(np.mean(nce), rel=1e-4)
    assert np.allclose(out.logits[1].detach(), logits["image"][1].detach(), atol=1e-6)


def test_it_is_no_cmkt_and_without_outputs_it_only_aligns() -> None:
    info = fusion_info("xmodal_distill")
    assert (info.paper_row, info.faithfulness, info.is_ours) == ("CMKT", "substitute", True)
    out = XModalDistill(DIMS)({m: torch.randn(2, d) for m, d in DIMS.items()})
    assert set(out.losses) == {"info_nce"}
    with pytest.raises(ValueError, match="teacher: must be one of image, video, not 'text'"):
        XModalDistill(DIMS, teacher="text")
