"""Who belongs together: by class, by pair, or because it is genuine."""

import re

import pytest
import torch

from scfae.fusion import build_fusion
from scfae.fusion.distance_triplet import distance_triplet, other_samples
from scfae.fusion.matching import (
    check_positives,
    matched_samples,
    modality_pairs,
    partner_labels,
)

LABELS = torch.tensor([0, 1, 0])
VALUES = torch.tensor([0.5, 1.0, 2.0])


def test_partners_are_of_one_class_or_only_oneself() -> None:
    assert partner_labels("pair", LABELS) is None
    assert partner_labels("class", None) is None
    assert partner_labels("class", LABELS) is LABELS
    with pytest.raises(ValueError, match=r"labels: must be classes.*positives='pair' does without"):
        partner_labels("class", VALUES)
    with pytest.raises(ValueError, match="positives: must be one of pair, class, not 'some'"):
        check_positives("some")


def test_genuine_samples_are_those_of_one_class_or_all() -> None:
    assert matched_samples(LABELS, 0).tolist() == [True, False, True]
    assert matched_samples(VALUES, None).tolist() == [True] * 3
    with pytest.raises(ValueError, match="matched_label=None does without"):
        matched_samples(VALUES, 0)


@pytest.mark.parametrize("name", ["mds", "vfd", "emo_foren", "avoid_df", "align_maskrecon"])
def test_a_genuine_class_that_no_sample_could_have_is_refused(name: str) -> None:
    dims = {"a": 4, "v": 5}
    build_fusion(name, dims, 2, matched_label=1)
    build_fusion(name, dims, None, matched_label=7)
    words = "matched_label: must be at least 0 and below num_outputs = 2, not 2"
    with pytest.raises(ValueError, match=words):
        build_fusion(name, dims, 2, matched_label=2)
    with pytest.raises(ValueError, match="matched_label: must be at least 0, not -1"):
        build_fusion(name, dims, matched_label=-1)
    words = "matched_label: must be a class's index or None, not 'real'"
    with pytest.raises(TypeError, match=words):
        build_fusion(name, dims, 2, matched_label="real")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("avoid_df", {"margin": 0.0}, "margin: must be positive, not 0.0"),
        ("apivr", {"bags": ["a", "a"]}, "bags: must be some of a, v, once, not ('a', 'a')"),
        ("misa", {"feed_forward": 0}, "feed_forward: must be at least 1, not 0"),
    ],
)
def test_options_that_would_do_nothing_or_twice_are_refused(
    name: str, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        build_fusion(name, {"a": 4, "v": 5}, 2, **options)


def test_pairs_of_modalities_come_once_with_the_samples_that_have_both() -> None:
    present = torch.tensor([[True, True, False], [True, True, True]])
    pairs = [(a, b, both.tolist()) for a, b, both in modality_pairs(("x", "y", "z"), present)]
    assert pairs == [
        ("x", "y", [True, True]),
        ("x", "z", [False, True]),
        ("y", "z", [False, True]),
    ]


def test_the_triplet_of_distances_is_the_mean_hinge_of_anchors_with_negatives() -> None:
    distances = torch.tensor([[0.1, 0.2, 0.9], [0.5, 0.4, 0.3], [0.0, 0.0, 0.7]])
    negatives = torch.tensor([[False, True, True], [True, False, True], [False, False, False]])
    first = (max(0.0, 0.5 + 0.1 - 0.2) + max(0.0, 0.5 + 0.1 - 0.9)) / 2
    second = ((0.5 + 0.4 - 0.5) + (0.5 + 0.4 - 0.3)) / 2
    loss = distance_triplet(distances, negatives, margin=0.5)
    assert loss.item() == pytest.approx((first + second) / 2)
    assert distance_triplet(distances, torch.zeros(3, 3, dtype=torch.bool), margin=0.5) == 0
    both = distance_triplet(
        torch.stack([distances, distances.T]), torch.stack([negatives, negatives.T]), margin=0.5
    )
    turned = distance_triplet(distances.T, negatives.T, margin=0.5)
    assert both.tolist() == pytest.approx([loss.item(), turned.item()])


def test_negatives_are_of_another_class_and_there() -> None:
    here = torch.tensor([True, True, False])
    everyone = torch.ones(3, dtype=torch.bool)
    assert other_samples(here, everyone, LABELS).int().tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0]]
    assert other_samples(everyone, here, None).int().tolist() == [[0, 1, 0], [1, 0, 0], [1, 1, 0]]
    both = other_samples(torch.stack([here, everyone]), everyone, LABELS)
    assert torch.equal(both[0], other_samples(here, everyone, LABELS))
    assert torch.equal(both[1], other_samples(everyone, everyone, LABELS))
