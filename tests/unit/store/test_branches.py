"""Branches of a modality are hidden and kept together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.store import masks_for
from scfae.store.branches import any_branch, branches_of, modalities_of, modality_of
from scfae.store.errors import ConfigError
from scfae.store.masking import parse_policy

BRANCHES = ("video", "audio", "video:motion")


def test_the_part_before_the_colon_is_the_modality() -> None:
    assert modality_of("video:motion") == modality_of("video") == "video"
    assert modalities_of(BRANCHES) == ("video", "audio")
    assert branches_of(["video"], BRANCHES) == ("video", "video:motion")


def test_a_modality_is_there_if_a_branch_of_it_is() -> None:
    present = np.array([[True, False, False], [False, False, True], [False, True, False]])
    assert any_branch(present, BRANCHES).tolist() == [[True, False], [True, False], [False, True]]


@given(st.integers(0, 99), st.sampled_from(["bernoulli:0.5", "subsets", "rate:0.4"]))
def test_branches_share_the_fate_of_their_modality(seed: int, policy: str) -> None:
    ids = [f"s{i}" for i in range(60)]
    there = np.ones((60, 3), dtype=bool)
    there[::4, 2] = False
    kept = masks_for(ids, there, policy=policy, seed=seed, epoch=0, modalities=BRANCHES)
    whole = masks_for(
        ids, there[:, :2], policy=policy, seed=seed, epoch=0, modalities=("video", "audio")
    )
    np.testing.assert_array_equal(kept, whole[:, [0, 1, 0]] & there)


def test_a_policy_names_modalities() -> None:
    policy = parse_policy("only:video", BRANCHES)
    assert policy.may_keep(0) == (True, False, True)
    assert str(policy) == str(parse_policy("only:video", ("video", "audio")))
    with pytest.raises(ConfigError, match="names motion; this view has video, audio"):
        parse_policy("only:motion", BRANCHES)
