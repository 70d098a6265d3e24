"""Masks: a pure function of (seed, epoch, id) that never hides the last present modality."""

import itertools

import numpy as np
import pytest

from scfae.store import masks_for
from scfae.store.errors import ConfigError
from scfae.store.hashing import id_keys
from scfae.store.masking import named_modalities, parse_policy
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


def rate(policy: str) -> list[float]:
    return [float(share) for share in 1 - masks(policy).mean(axis=0)]


def test_each_modality_may_have_a_probability_of_its_own() -> None:
    dropped = rate("bernoulli:video=0.2,text=0.6")
    assert dropped == pytest.approx([0.2, 0.0, 0.6], abs=0.02)
    kept = masks("bernoulli:video=1,audio=1,text=1")
    assert (kept.sum(axis=1) == 1).all()
    assert kept.mean(axis=0) == pytest.approx([1 / 3] * 3, abs=0.02)


def test_one_probability_by_name_is_that_of_all() -> None:
    named = masks("bernoulli:video=0.3,audio=0.3,text=0.3")
    assert (named == masks("bernoulli:0.3")).all()


def test_named_subsets_come_by_weight() -> None:
    kept = masks("subsets:audio=1,audio+video=2,text=1")
    counts = np.bincount(kept @ [1, 2, 4], minlength=8) / len(IDS)
    assert counts == pytest.approx([0, 0, 0.25, 0.5, 0.25, 0, 0, 0], abs=0.02)


def test_a_sample_draws_among_the_subsets_of_which_it_has_a_part() -> None:
    policy = "subsets:audio=1,audio+video=3"
    only_video = np.tile([True, False, False], (len(IDS), 1))
    assert (masks(policy, only_video) == only_video).all()
    only_text = np.tile([False, False, True], (len(IDS), 1))
    assert (masks(policy, only_text) == only_text).all()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3, 0.5, 0.6])
def test_a_rate_is_the_share_of_what_is_missing_of_each_modality(share: float) -> None:
    assert rate(f"rate:{share}") == pytest.approx([share] * 3, abs=0.02)


def test_a_rate_that_asks_for_less_than_one_leaves_one() -> None:
    assert (masks("rate:0.9").sum(axis=1) == 1).all()


def test_a_rate_hides_the_same_in_every_epoch_and_other_things_for_another_seed() -> None:
    assert (masks("rate:0.5", epoch=3) == masks("rate:0.5")).all()
    assert (masks("rate:0.5", seed=1) != masks("rate:0.5")).any()


def test_a_schedule_is_in_each_epoch_the_policy_of_that_epoch() -> None:
    policy = "schedule:0:none,2:bernoulli:audio=0.3,video=0.5,7:subsets"
    parts = ["none"] * 2 + ["bernoulli:audio=0.3,video=0.5"] * 5 + ["subsets"] * 3
    for epoch, part in enumerate(parts):
        assert (masks(policy, epoch=epoch) == masks(part, epoch=epoch)).all()


def test_fixed_is_another_word_for_only() -> None:
    assert (masks("fixed:audio") == masks("only:audio")).all()
    assert str(parse_policy("fixed:audio", MODALITIES)) == "only:audio"


NEW = [
    "bernoulli:video=0.5,text=0.9",
    "subsets:audio=1,audio+video=3",
    "rate:0.4",
    "schedule:0:subsets,1:bernoulli:0.5",
]


@pytest.mark.parametrize("policy", NEW)
@pytest.mark.parametrize("epoch", [0, 1])
def test_the_new_policies_keep_the_rules_of_the_old(policy: str, epoch: int) -> None:
    available = some_available()
    kept = masks(policy, available, epoch=epoch)
    assert not (kept & ~available).any()
    assert (kept.any(axis=1) == available.any(axis=1)).all()
    back = masks_for(
        IDS, available[:, ::-1], policy=policy, seed=0, epoch=epoch, modalities=MODALITIES[::-1]
    )
    assert (back[:, ::-1] == kept).all()
    order = np.random.default_rng(1).permutation(len(IDS))
    there = masks(policy, available[order], ids=[IDS[i] for i in order], epoch=epoch)
    assert (there == kept[order]).all()
    parsed = parse_policy(policy, MODALITIES)
    assert not kept[:, ~np.array(parsed.may_keep(epoch))].any()
    assert parse_policy(str(parsed), MODALITIES) == parsed


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("bernoulli:smell=0.3", "bernoulli: names smell; this view has"),
        ("bernoulli:audio=2", "probability from 0 to 1"),
        ("bernoulli:audio=0.1,audio=0.2", "names audio twice"),
        ("bernoulli:audio=0.1,0.2", "NAME=NUMBER"),
        ("subsets:audio+smell=1", "names smell"),
        ("subsets:audio=0", "weights above 0"),
        ("subsets:audio=inf", "weights above 0"),
        ("subsets:audio+video=1,video+audio=2", "twice"),
        ("rate:1.5", "share from 0 to 1"),
        ("rate", "not a policy"),
        ("schedule:1:none", "rise from 0"),
        ("schedule:0:none,0:subsets", "rise from 0"),
        ("schedule:none", "EPOCH:POLICY"),
        ("schedule:0:schedule:0:none", "holds a schedule"),
        ("schedule:0:bernoulli:7", "probability"),
        ("table:", "names no file"),
        ("table:/nowhere.parquet", "cannot be read"),
    ],
)
def test_bad_new_policies_name_the_field(policy: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^masking: .*{message}"):
        masks(policy)


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        ("bernoulli:audio=0.3,video=0.5", ("audio", "video")),
        ("subsets:audio=1,audio+video=3", ("audio", "video")),
        ("only:text, audio", ("text", "audio")),
        ("table:masks.parquet", None),
        ("schedule:0:only:text,5:bernoulli:audio=1", ("text", "audio")),
        ("schedule:0:none,5:table:masks.parquet", None),
    ],
)
def test_the_modalities_that_a_policy_names_are_known_without_a_view(
    policy: str, named: tuple[str, ...] | None
) -> None:
    assert named_modalities(policy) == named
