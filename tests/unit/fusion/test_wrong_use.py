"""Wrong use of a method gives one sentence that names what is wrong, before it computes."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from scfae.fusion import build_fusion

DIMS = {"a": 6, "v": 8}
A, V = torch.randn(4, 6), torch.randn(4, 8)
BOTH = {"a": A, "v": V}
STREAMS = {"a": torch.randn(4, 5, 6), "v": torch.randn(4, 3, 8)}


@pytest.mark.parametrize(
    ("features", "error", "words"),
    [
        ({"a": A, "v": V.numpy()}, TypeError, "features['v']: must be a tensor, not ndarray"),
        ({"a": A.tolist(), "v": V}, TypeError, "features['a']: must be a tensor, not list"),
        ({"a": A, "v": None}, TypeError, "features['v']: must be a tensor, not NoneType"),
        (A, TypeError, "features: must map each modality to its tensor, not be a Tensor"),
        ({"a": A, "v": V.double()}, TypeError, "features['v']: are torch.float64, the model's"),
        (
            {"a": A.half(), "v": V.half()},
            TypeError,
            "features['a']: are torch.float16, the model's",
        ),
        (
            {"a": A, "v": V.to("meta")},
            ValueError,
            "features['v']: is on meta, features['a'] on cpu",
        ),
        ({"a": A, "v": V.long()}, TypeError, "features['v']: must be floating point"),
        ({"a": A, "v": V[:3]}, ValueError, "features: batch sizes differ: {'a': 4, 'v': 3}"),
    ],
)
def test_features_that_are_none_are_named(
    features: Any, error: type[Exception], words: str
) -> None:
    model = build_fusion("scfae", DIMS, 2)
    with pytest.raises(error, match=re.escape(words)):
        model(features)


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"present": [[True, True]] * 4}, TypeError, "present: must be a tensor, not list"),
        ({"present": torch.ones(4, 2)}, TypeError, "present: must be bool, not torch.float32"),
        (
            {"present": torch.ones(4, 2, dtype=torch.bool, device="meta")},
            ValueError,
            "present: is on meta, features['a'] on cpu",
        ),
        ({"lengths": {"a": [5] * 4}}, TypeError, "lengths['a']: must be a tensor, not list"),
        (
            {"lengths": torch.full((4,), 5)},
            TypeError,
            "lengths: must map each modality to its tensor, not be a Tensor",
        ),
        (
            {"lengths": {"a": torch.tensor([5, 5, 6, 5])}},
            ValueError,
            "lengths['a']: must be from 0 to T = 5",
        ),
        ({"labels": [0, 1, 1, 0]}, TypeError, "labels: must be a tensor, not list"),
        (
            {"labels": torch.tensor([0, 1, 2, 0])},
            ValueError,
            "labels: must be classes from 0 to num_outputs - 1 = 1",
        ),
        ({"labels": torch.tensor([0, 1, -1, 0])}, ValueError, "labels: must be classes from 0"),
        (
            {"labels": torch.tensor([[0], [1], [1], [0]])},
            ValueError,
            "labels: classes must be [4], not [4, 1]",
        ),
        ({"labels": torch.rand(4, 3)}, ValueError, "labels: must be [4, 2], not [4, 3]"),
        ({"groups": torch.rand(4)}, TypeError, "groups: must be integers, not torch.float32"),
        ({"groups": [0, 0, 1, 1]}, TypeError, "groups: must be a tensor, not list"),
    ],
)
def test_what_comes_with_features_is_named(
    given: Mapping[str, Any], error: type[Exception], words: str
) -> None:
    for name in ("concat", "drfuse"):  # one that reads labels, and one that does not
        with pytest.raises(error, match=re.escape(words)):
            build_fusion(name, DIMS, 2)(STREAMS, **given)


@pytest.mark.parametrize(
    ("dims", "num_outputs", "options", "words"),
    [
        ([6, 8], 2, {}, "dims: must map each modality to its width, not be a list"),
        ({1: 6, 2: 8}, 2, {}, "dims: a modality's name must be a str, not 1"),
        ([6, 8], 2, {"width": 32}, "dims: must map each modality to its width, not be a list"),
        ({1: 6, 2: 8}, 2, {"width": 32}, "dims: a modality's name must be a str, not 1"),
        ({"a": True, "v": 8}, 2, {}, "dims['a']: must be a positive integer, not True"),
        ({"a": np.float64(6), "v": 8}, 2, {}, "dims['a']: must be a positive integer"),
        (DIMS, 2.0, {}, "num_outputs: must be an integer, at least 1, or None, not 2.0"),
        (DIMS, "2", {}, "num_outputs: must be an integer, at least 1, or None, not '2'"),
        (DIMS, True, {}, "num_outputs: must be an integer, at least 1, or None, not True"),
        (DIMS, 2, {"width": "128"}, "misa: an option is of the wrong type (width='128')"),
    ],
)
def test_what_a_method_is_built_with_is_named(
    dims: Any, num_outputs: Any, options: Mapping[str, Any], words: str
) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(words)}"):
        build_fusion("misa", dims, num_outputs, **options)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("momke", {"num_heads": 0}, "num_heads: must be at least 1, not 0"),
        ("momke", {"num_layers": -1}, "num_layers: must be at least 1, not -1"),
        ("mculora", {"rank": 0}, "rank: must be at least 1, not 0"),
        ("dlf", {"width": 0}, "width: must be at least 1, not 0"),
        ("dlf", {"num_heads": 0}, "num_heads: must be at least 1, not 0"),
        ("dicmor", {"num_refiner_blocks": -1}, "num_refiner_blocks: must be at least 0, not -1"),
        ("mmin", {"layers": ()}, "layers: at least one, each at least 1, not ()"),
        ("imder", {"channels": (8, 12)}, "channels: at least one, each even and a multiple of 8 "),
    ],
)
def test_a_number_of_nothing_is_refused_by_name(
    name: str, options: Mapping[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        build_fusion(name, DIMS, 2, **options)


def test_a_name_in_the_papers_spelling_finds_its_method() -> None:
    with pytest.raises(ValueError, match=r"no method 'MISA'\. Did you mean 'misa'\?"):
        build_fusion("MISA", DIMS, 2)


def test_autocast_takes_features_of_another_type() -> None:
    model = build_fusion("concat", DIMS, 2)
    half: dict[str, Tensor] = {m: x.bfloat16() for m, x in BOTH.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.isfinite(model(half).logits).all()
