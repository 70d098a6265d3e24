"""Inputs are checked once, and what is absent or padding becomes exactly zero."""

import math

import pytest
import torch

from scfae.fusion.presence import prepare

DIMS = {"a": 2, "v": 3}


def test_what_is_absent_or_padding_is_zero_and_the_rest_untouched() -> None:
    a, v = torch.randn(3, 2, 2), torch.randn(3, 4, 3)
    a[1] = math.nan
    v[2, 1:] = math.inf
    present = torch.tensor([[True, True], [False, True], [True, True]])
    lengths = {"v": torch.tensor([4, 0, 1])}
    inputs = prepare({"a": a, "v": v}, present, lengths, dims=DIMS)
    assert inputs.batch_size == 3
    assert inputs.valid["a"].tolist() == [[True] * 2, [False] * 2, [True] * 2]
    assert inputs.valid["v"].tolist() == [[True] * 4, [False] * 4, [True] + [False] * 3]
    # Sample 1 says v is present, but has no row of it.
    assert inputs.present.tolist() == [[True, True], [False, False], [True, True]]
    assert torch.equal(inputs.features["a"][0], a[0])
    assert torch.equal(inputs.features["v"][2, 0], v[2, 0])
    for name, rows in inputs.features.items():
        assert (rows[~inputs.valid[name]] == 0).all()


def test_vectors_become_one_step_and_no_step_becomes_absent() -> None:
    inputs = prepare({"a": torch.randn(2, 2), "v": torch.randn(2, 0, 3)}, None, None, dims=DIMS)
    assert inputs.features["a"].shape == (2, 1, 2)
    lengths = {"v": torch.zeros(2, dtype=torch.int64)}
    empty = prepare({"a": torch.randn(2, 2), "v": torch.randn(2, 0, 3)}, None, lengths, dims=DIMS)
    assert empty.present.tolist() == [[True, False]] * 2
    assert inputs.present.tolist() == empty.present.tolist()


def test_a_modality_left_out_has_the_others_type_and_device() -> None:
    present = torch.tensor([[True, False]])
    inputs = prepare({"a": torch.randn(1, 2, dtype=torch.float64)}, present, None, dims=DIMS)
    assert inputs.features["v"].dtype == torch.float64
    assert inputs.features["v"].shape == (1, 1, 3)
    assert not inputs.valid["v"].any()


def test_finite_is_checked_only_in_what_is_present_and_only_if_asked() -> None:
    bad = {"a": torch.full((1, 2), math.nan), "v": torch.zeros(1, 3)}
    with pytest.raises(ValueError, match=r"features\['a'\]: NaN or infinity"):
        prepare(bad, None, None, dims=DIMS)
    prepare(bad, torch.tensor([[False, True]]), None, dims=DIMS)
    prepare(bad, None, None, dims=DIMS, check_finite=False)


def test_lengths_of_an_unknown_modality_and_no_features_are_named() -> None:
    good = {"a": torch.zeros(1, 2), "v": torch.zeros(1, 3)}
    with pytest.raises(ValueError, match=r"lengths\['t'\]: no such modality; known: a, v"):
        prepare(good, None, {"t": torch.tensor([1])}, dims=DIMS)
    with pytest.raises(ValueError, match=r"lengths\['a'\]: must be \[1\], not \[2\]"):
        prepare(good, None, {"a": torch.tensor([1, 1])}, dims=DIMS)
    with pytest.raises(ValueError, match="features: empty"):
        prepare({}, None, None, dims=DIMS)
