"""Each kind of labels has its error, one value a sample."""

import math

import pytest
import torch

from scfae.fusion.task_errors import task_errors


def test_classes_values_and_several_labels() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)]])
    assert task_errors(logits, torch.tensor([1])).item() == pytest.approx(-math.log(0.75))
    assert task_errors(torch.tensor([[2.5]]), torch.tensor([1.0])).item() == 2.25
    both = task_errors(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    assert both.item() == pytest.approx(math.log(2.0))


def test_values_with_several_outputs_are_refused() -> None:
    with pytest.raises(ValueError, match="labels"):
        task_errors(torch.zeros(2, 3), torch.zeros(2))
