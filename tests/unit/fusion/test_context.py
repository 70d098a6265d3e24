"""Dialogues are laid out in the order of the batch and taken back."""

import torch

from scfae.fusion.context import Dialogues, take_or_pool


def test_samples_of_a_dialogue_are_laid_side_by_side() -> None:
    dialogues = Dialogues.of(torch.tensor([7, 3, 7, 7, 3]))
    x = torch.arange(5.0)[:, None] + 1
    laid = dialogues.lay(x)
    assert laid[:, :, 0].tolist() == [[2.0, 5.0, 0.0], [1.0, 3.0, 4.0]]
    assert dialogues.held.tolist() == [[True, True, False], [True, True, True]]
    assert torch.equal(dialogues.take(laid), x)


def test_a_sample_alone_is_the_mean_of_its_rows() -> None:
    rows = torch.tensor([[[2.0], [4.0], [0.0]]])
    valid = torch.tensor([[True, True, False]])
    assert take_or_pool(rows, valid, None).item() == 3.0
    assert Dialogues.single(2, torch.device("cpu")).lay(rows[0, :2]).shape == (2, 1, 1)
