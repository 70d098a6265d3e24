"""What the batches of an epoch are: full, within the limit of rows, of like lengths, complete."""

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.store.cutting import cut
from scfae.store.order import GivenOrder, Integers, ShardIndex, ShuffledOrder
from scfae.store.plan import PADDING, EpochPlan, Rules
from scfae.store.units import Groups, Units, natural_order


def units_of(rows: npt.ArrayLike, sizes: Integers | None = None) -> Units:
    table = np.asarray(rows, dtype=np.int64)
    longest = table[:, None] if table.ndim == 1 else table
    return Units(longest, np.ones(longest.shape[1], dtype=np.int64), sizes)


def plan(rows: npt.ArrayLike, *, shard_size: int = 3, window: int = 2, **rules: Any) -> EpochPlan:
    units = units_of(rows)
    index = ShardIndex(np.arange(len(units.longest)) // shard_size)
    made = Rules(rules.pop("batch_size", 4), **rules)
    order: Any = ShuffledOrder(index, 1, epoch=0, window_shards=window)
    if not made.shuffle:
        order = GivenOrder(index, window_shards=window)
    return EpochPlan(order, units, made, seed=1, epoch=0)


def units_in(made: EpochPlan) -> list[list[int]]:
    return [units.tolist() for units, _ in made.batches()]


lengths = st.lists(st.integers(0, 12), max_size=50)
rules = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 9),
        "bucketing": st.sampled_from(["none", "length"]),
        "max_rows": st.none() | st.integers(1, 60),
        "last": st.sampled_from(["short", "drop", "wrap", "pad"]),
        "shuffle": st.booleans(),
        "window": st.integers(1, 5),
        "shard_size": st.integers(1, 6),
    }
)


@given(lengths, rules)
def test_every_rule_keeps_its_promise(rows: list[int], chosen: dict[str, Any]) -> None:
    made = plan(rows, **chosen)
    size, limit = chosen["batch_size"], chosen["max_rows"]
    batches = list(made.batches())
    assert made.num_batches == len(batches)
    seen = Counter(unit for units, _ in batches for unit in units.tolist() if unit != PADDING)
    positions = [after for _, after in batches]
    assert positions == sorted(set(positions))
    assert ([0, *positions])[-1] == made.end
    if chosen["last"] == "drop":
        assert max(seen.values(), default=1) == 1
        assert made.end == sum(seen.values())
        assert len(rows) - made.end < size
    else:
        assert made.end == len(rows)
        assert set(seen) == set(range(len(rows)))
        extra = seen.total() - len(rows)
        assert extra == 0 or chosen["last"] == "wrap"
        assert extra < size
    for units, _ in batches:
        assert 0 < len(units) <= size
        real = units[units != PADDING]
        if limit is not None and len(units) > 1:
            assert len(units) * max(rows[unit] for unit in real) <= limit
        if limit is None and chosen["last"] in ("wrap", "pad", "drop"):
            assert len(units) == size
    if limit is None:
        assert all(len(units) == size for units, _ in batches[:-1])


@given(lengths, rules)
def test_a_plan_can_be_entered_between_any_two_batches_and_nowhere_else(
    rows: list[int], chosen: dict[str, Any]
) -> None:
    made = plan(rows, **chosen)
    whole = [(units.tolist(), after) for units, after in made.batches()]
    starts = [0, *(after for _, after in whole)]
    for done, position in enumerate(starts):
        again = plan(rows, **chosen)
        assert again.is_between_batches(position)
        assert [(u.tolist(), a) for u, a in again.batches(position)] == whole[done:]
    between = {p for p in range(-1, len(rows) + 2) if made.is_between_batches(p)}
    assert between == set(starts)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(1, 4)), min_size=1))
def test_batches_are_cut_as_a_loop_would_cut_them(units: list[tuple[int, int, int]]) -> None:
    table = np.array(units)
    known = units_of(table[:, :2], table[:, 2])
    for batch_size, limit in [(1, 5), (3, 30), (8, 60), (100, 200)]:
        wanted, start = [], 0
        for end in range(1, len(units) + 1):
            batch = table[start:end]
            rows = batch[:, 2].sum() * batch[:, :2].max(axis=0).sum()
            if end - start > 1 and (rows > limit or end - start > batch_size):
                wanted.append(end - 1)
                start = end - 1
        wanted.append(len(units))
        found = cut(known, np.arange(len(units)), batch_size=batch_size, max_rows=limit)
        assert found.tolist() == wanted


def padding(made: EpochPlan, rows: Integers) -> float:
    batches = [rows[units] for units, _ in made.batches()]
    return 1 - float(rows.sum()) / float(sum(len(b) * b.max() for b in batches))


def test_bucketing_leaves_little_padding_and_still_mixes() -> None:
    rows = np.random.default_rng(0).integers(4, 65, size=4000)
    settings: dict[str, Any] = {"batch_size": 64, "shard_size": 250}
    assert padding(plan(rows, **settings), rows) > 0.4
    bucketed = plan(rows, bucketing="length", **settings)
    assert padding(bucketed, rows) < 0.12
    means = [rows[units].mean() for units, _ in bucketed.batches()]
    assert (np.diff(means) < 0).mean() > 0.3  # batches are permuted, not sorted


def test_bucketing_stays_inside_its_window() -> None:
    rows = np.random.default_rng(0).integers(1, 9, size=60)
    plain, bucketed = plan(rows), plan(rows, bucketing="length")
    mixed = [unit for batch in units_in(plain) for unit in batch]
    sorted_ = [unit for batch in units_in(bucketed) for unit in batch]
    for start in range(0, 60, 12):  # windows of 6 samples, batches of 4
        assert sorted(mixed[start : start + 12]) == sorted(sorted_[start : start + 12])


@pytest.mark.parametrize("limit", [None, 40])
def test_no_sample_is_always_the_one_that_is_left_out(limit: int | None) -> None:
    rows = np.arange(1, 11)
    left_out: Counter[int] = Counter()
    index = ShardIndex(np.zeros(10, dtype=np.int64))
    for epoch in range(60):
        order = ShuffledOrder(index, 0, epoch=epoch, window_shards=8)
        chosen = Rules(4, bucketing="length", max_rows=limit, last="drop")
        made = EpochPlan(order, units_of(rows), chosen, seed=0, epoch=epoch)
        left_out.update(set(range(10)) - {unit for batch in units_in(made) for unit in batch})
    assert all(count < 45 for count in left_out.values())
    assert len(left_out) >= 8


def test_groups_know_their_samples() -> None:
    groups = Groups(np.array([7, 3, 7, 9, 3, 7]))
    assert [groups.samples_of(g).tolist() for g in range(len(groups))] == [[1, 4], [0, 2, 5], [3]]
    assert groups.first.tolist() == [1, 0, 3]
    known = groups.of_samples(units_of([[1, 2], [3, 4], [5, 0], [6, 6], [1, 1], [2, 2]]))
    assert known.longest.tolist() == [[3, 4], [5, 2], [6, 6]]
    assert known.sizes is not None
    assert known.sizes.tolist() == [2, 3, 1]
    assert groups.each_sample(np.array([10, 20, 30])).tolist() == [20, 10, 20, 30, 10, 20]


def test_numbers_in_ids_count() -> None:
    ids = np.array(["d1_utt10", "d1_utt2", "d1", "d1_utt2b", "", "7", "d01_utt2"])
    wanted = ["", "7", "d1", "d1_utt2", "d01_utt2", "d1_utt2b", "d1_utt10"]
    assert ids[natural_order(ids)].tolist() == wanted
