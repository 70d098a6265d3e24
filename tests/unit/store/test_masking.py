"""Masks: a pure function of (seed, epoch, id) that never hides the last present modality."""

import itertools

import numpy as np
import pytest

from scfae.store import masks_for
from scfae.store.errors import ConfigError
from scfae.store.hashing import id_keys
from scfae.store.masking import parse_policy
from scfae.store.order import Booleans

MODALITIES = ("video", "audio", "text")
IDS = [f"id{i}" for i in range(20_000)]
ALL = np.ones((len(IDS), 3), dtype=bool)


def masks(
    policy: str, available: Booleans = ALL, *, seed: int = 0, epoch: int = 0, ids: list[str] = IDS
) -> Booleans:
    return masks_for(
        ids[: len(available)],
        available,
        policy=policy,
        seed=seed,
        epoch=epoch,
        modalities=MODALITIES,
    )


def some_available() -> Booleans:
    return np.random.default_rng(0).random((len(IDS), 3)) < 0.5


def test_none_keeps_what_is_available() -> None:
    available = some_available()
    kept = masks("none", available)
    assert (kept == available).all()
    assert kept is not available


@pytest.mark.parametrize("policy", ["none", "bernoulli:0.3", "bernoulli:1", "subsets", "only:text"])
def test_masks_only_take_away(policy: str) -> None:
    available = some_available()
    assert not (masks(policy, available) & ~available).any()


@pytest.mark.parametrize("policy", ["none", "bernoulli:0.3", "bernoulli:1", "subsets"])
def test_last_present_modality_stays(policy: str) -> None:
    available = some_available()
    kept = masks(policy, available)
    assert (kept.any(axis=1) == available.any(axis=1)).all()


@pytest.mark.parametrize("p", [0.0, 0.1, 0.3, 0.5, 0.9])
def test_bernoulli_drops_at_its_rate(p: float) -> None:
    kept = masks(f"bernoulli:{p}")
    # All three dropped happens with p^3, and then one comes back.
    expected = 1 - p + p**3 / 3
    assert abs(kept.mean(axis=0) - expected).max() < 5 * np.sqrt(0.25 / len(IDS))


def test_bernoulli_drops_modalities_independently() -> None:
    dropped = ~masks("bernoulli:0.2")
    correlation = np.corrcoef(dropped.T.astype(float))
    assert abs(correlation[np.triu_indices(3, 1)] + 0.006).max() < 0.03


def test_bernoulli_one_keeps_exactly_one_at_random() -> None:
    kept = masks("bernoulli:1")
    assert (kept.sum(axis=1) == 1).all()
    counts = kept.sum(axis=0)
    wanted = len(IDS) / 3
    assert ((counts - wanted) ** 2 / wanted).sum() < 18.4  # chi-square, 2 df, p = 0.0001


@pytest.mark.parametrize("has", [h for h in itertools.product([0, 1], repeat=3) if any(h)])
def test_subsets_are_uniform_over_non_empty_subsets(has: tuple[int, ...]) -> None:
    kept = masks("subsets", np.tile(np.array(has, dtype=bool), (len(IDS), 1)))
    counts = np.bincount(kept @ [1, 2, 4], minlength=8)
    seen = counts[counts > 0]
    num_subsets = 2 ** sum(has) - 1
    wanted = len(IDS) / num_subsets
    assert counts[0] == 0
    assert len(seen) == num_subsets
    assert ((seen - wanted) ** 2 / wanted).sum() < 27.9  # chi-square, 6 df, p = 0.0001


@pytest.mark.parametrize("policy", ["bernoulli:0.4", "subsets"])
def test_masks_depend_on_the_id_and_not_on_the_place(policy: str) -> None:
    shuffled = np.random.default_rng(1).permutation(len(IDS))
    there = masks(policy, ids=[IDS[i] for i in shuffled])
    assert (there == masks(policy)[shuffled]).all()
    one = masks(policy, ALL[:1], ids=[IDS[777]])
    assert (one[0] == masks(policy)[777]).all()


@pytest.mark.parametrize("policy", ["bernoulli:0.4", "subsets"])
def test_masks_do_not_depend_on_the_order_of_the_modalities(policy: str) -> None:
    available = some_available()
    back = masks_for(
        IDS, available[:, ::-1], policy=policy, seed=0, epoch=0, modalities=MODALITIES[::-1]
    )
    assert (back[:, ::-1] == masks(policy, available)).all()


@pytest.mark.parametrize("policy", ["bernoulli:0.5", "subsets"])
def test_masks_change_with_seed_and_epoch(policy: str) -> None:
    drawn = [masks(policy, seed=s, epoch=e) for s, e in [(0, 0), (0, 1), (1, 0), (1, 1)]]
    for a, b in itertools.combinations(drawn, 2):
        correlation = np.corrcoef(a.ravel().astype(float), b.ravel().astype(float))[0, 1]
        assert abs(correlation) < 0.03


def test_only_keeps_the_named_even_if_nothing_is_left() -> None:
    available = np.array([[1, 1, 1], [1, 0, 0], [0, 1, 0]], dtype=bool)
    kept = masks("only: text , audio", available)
    assert kept.tolist() == [[False, True, True], [False] * 3, [False, True, False]]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("bernouli:0.3", "not a policy"),
        ("none:1", "not a policy"),
        ("subsets:2", "NAME=NUMBER"),
        ("", "not a policy"),
        ("bernoulli", "probability"),
        ("bernoulli:x", "probability"),
        ("bernoulli:nan", "probability"),
        ("bernoulli:1.5", "probability"),
        ("bernoulli:-0.1", "probability"),
        ("only:", "names no modality"),
        ("only:audio,smell", "smell; this view has video, audio, text"),
    ],
)
def test_bad_policies_name_the_field(policy: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^masking: .*{message}"):
        masks(policy)


def test_policies_print_canonically() -> None:
    spellings = ["none", " bernoulli:.30", "bernoulli:3e-1", "subsets", "only:text,video,text"]
    printed = [str(parse_policy(spelling, MODALITIES)) for spelling in spellings]
    assert printed == ["none", "bernoulli:0.3", "bernoulli:0.3", "subsets", "only:video,text"]


def test_no_samples_give_no_masks() -> None:
    for policy in ("none", "bernoulli:0.5", "subsets", "only:text"):
        assert masks(policy, ALL[:0]).shape == (0, 3)


def test_id_keys_are_distinct_and_take_any_text() -> None:
    assert len(set(id_keys(IDS).tolist())) == len(IDS)
    assert len(id_keys(["", "ä/ö.mp4", "日本"])) == 3
