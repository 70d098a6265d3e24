"""Emo-Foren: two spaces of two columns each; forged samples are the negatives of genuine ones."""

import numpy as np
import pytest
import torch

from scfae.fusion.emo_foren import EmoForen

FOUR = {"face": 5, "speech": 7, "seen": 3, "heard": 4}


def test_the_triplet_of_each_space_is_that_of_plain_loops() -> None:
    torch.manual_seed(0)
    model = EmoForen(FOUR, width=6, margin=0.5).eval()
    features = {m: torch.randn(4, d) for m, d in FOUR.items()}
    present = torch.ones(4, 4, dtype=torch.bool)
    present[3, 1] = False
    labels = torch.tensor([0, 1, 0, 1])
    out = model(features, present, labels=labels)
    for name, (a, b) in {"triplet_0": ("face", "speech"), "triplet_1": ("seen", "heard")}.items():
        x, y = (out.z[m].detach().numpy() for m in (a, b))
        directions = []
        for u, v, far in ((x, y, b), (y, x, a)):
            column = list(FOUR).index(far)
            forged = [j for j in (1, 3) if present[j, column]]
            hinges = [
                max(0.0, 0.5 + float(np.linalg.norm(u[i] - v[i]) - np.linalg.norm(u[i] - v[j])))
                for i in (0, 2)
                for j in forged
            ]
            directions.append(np.mean(hinges))
        assert out.losses[name].item() == pytest.approx(np.mean(directions), rel=1e-4), name
    assert model(features).losses == {}


def test_four_columns_are_two_spaces_and_any_other_number_is_one() -> None:
    assert EmoForen(FOUR).spaces == (("face", "speech"), ("seen", "heard"))
    assert EmoForen({"face": 5, "speech": 7}).spaces == (("face", "speech"),)
    three = EmoForen({"face": 5, "speech": 7, "text": 3})
    assert len(three.pairs) == 3
    turned = EmoForen(FOUR, spaces=[("face", "heard"), ("speech", "seen")])
    assert turned.spaces == (("face", "heard"), ("speech", "seen"))
    with pytest.raises(ValueError, match="spaces: must name each of face, speech, seen, heard"):
        EmoForen(FOUR, spaces=[("face", "speech")])


def test_without_a_genuine_class_all_others_are_negatives() -> None:
    model = EmoForen({"face": 5, "speech": 7}, matched_label=None).eval()
    features = {"face": torch.randn(3, 5), "speech": torch.randn(3, 7)}
    one = model(features, labels=torch.tensor([0.1, 0.2, 0.3])).losses["triplet_0"]
    assert one.item() > 0
    assert torch.equal(model(features, labels=torch.tensor([0, 0, 1])).losses["triplet_0"], one)
