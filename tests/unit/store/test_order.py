"""The global order: a permutation by (seed, epoch), mixed in windows, and fixed for ever."""

import json
from pathlib import Path

import numpy as np
import pytest

from scfae.store import masks_for
from scfae.store.errors import ConfigError
from scfae.store.order import (
    Integers,
    ShardIndex,
    ShuffledOrder,
    default_window,
    global_order,
    rank_slice,
)

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "stream_order.json"
SHARDS = np.arange(100) // 5


def order(seed: int = 0, epoch: int = 0, window: int = 4, shuffle: bool = True) -> Integers:
    return global_order(SHARDS, seed, epoch=epoch, window_shards=window, shuffle=shuffle)


def test_every_sample_comes_once() -> None:
    assert sorted(order()) == list(range(100))


def test_order_is_repeatable_and_changes_with_seed_and_epoch() -> None:
    assert (order(3, 2) == order(3, 2)).all()
    orders = {tuple(order(seed, epoch)) for seed in range(4) for epoch in range(4)}
    assert len(orders) == 16


@pytest.mark.parametrize("window", [1, 3, 4, 20])
def test_window_limits_the_shards_that_are_mixed(window: int) -> None:
    visited = SHARDS[order(window=window)]
    per_window = window * 5
    windows = [set(visited[i : i + per_window]) for i in range(0, 100, per_window)]
    assert all(len(shards) <= window for shards in windows)
    assert sum(len(shards) for shards in windows) == 20  # no shard is opened twice
    assert all(len(shards) == window for shards in windows[:-1])


def test_samples_of_a_window_are_mixed_across_its_shards() -> None:
    visited = SHARDS[order(window=20)]
    assert (np.diff(visited) != 0).sum() > 80


def test_shards_of_unequal_size_stay_in_their_windows() -> None:
    shards = np.repeat([7, 3, 11, 2, 5], [1, 9, 2, 30, 4])
    visited = shards[global_order(shards, 1, epoch=0, window_shards=2)]
    first_window = set(visited[: np.isin(shards, list(dict.fromkeys(visited))[:2]).sum()])
    last_seen = {shard: int(np.flatnonzero(visited == shard).max()) for shard in set(shards)}
    first_seen = {shard: int(np.flatnonzero(visited == shard).min()) for shard in set(shards)}
    open_at = [sum(first_seen[s] <= i <= last_seen[s] for s in first_seen) for i in range(46)]
    assert len(first_window) <= 2
    assert max(open_at) <= 2


@pytest.mark.parametrize("is_in_order", [True, False])
def test_a_window_is_sorted_by_the_keys_of_the_whole_epoch(is_in_order: bool) -> None:
    shards = np.repeat(np.arange(23), np.arange(23) % 7 + 1)
    if not is_in_order:
        shards = shards[np.random.default_rng(0).permutation(len(shards))]
    bits = np.random.Philox(np.random.SeedSequence([6, 2]))
    permuted = np.argsort(bits.random_raw(23), kind="stable")
    keys = bits.random_raw(len(shards))
    made = ShuffledOrder(ShardIndex(shards), 6, epoch=2, window_shards=5)
    for number in (4, 0, 2, 3, 1):
        inside = np.flatnonzero(np.isin(shards, permuted[5 * number : 5 * number + 5]))
        assert made.window(number).tolist() == inside[np.argsort(keys[inside])].tolist()
    assert (made.keys == keys).all()


def test_without_shuffle_order_is_that_of_the_view() -> None:
    assert (order(5, 5, shuffle=False) == np.arange(100)).all()


def test_empty_view_has_an_empty_order() -> None:
    assert len(global_order([], 0, epoch=0, window_shards=1)) == 0


def test_positions_are_uniform_over_epochs() -> None:
    # Where sample 0 lands, over 400 epochs, in ten bins: chi-square with 9 degrees of freedom.
    places = [int(np.flatnonzero(order(0, e, window=20) == 0)[0]) // 10 for e in range(400)]
    counts = np.bincount(places, minlength=10)
    assert ((counts - 40) ** 2 / 40).sum() < 33.7  # p = 0.0001


def test_default_window_is_eight_shards_or_two_per_cent() -> None:
    assert [default_window(n) for n in (0, 8, 400, 401, 5000)] == [8, 8, 8, 9, 100]


@pytest.mark.parametrize("field", ["seed", "epoch", "window_shards"])
def test_bad_numbers_are_named(field: str) -> None:
    numbers = {"seed": 0, "epoch": 0, "window_shards": 1} | {field: -1}
    with pytest.raises(ConfigError, match=field):
        global_order(
            SHARDS,
            numbers["seed"],
            epoch=numbers["epoch"],
            window_shards=numbers["window_shards"],
        )


@pytest.mark.parametrize("n", [0, 1, 2, 7, 64])
@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 9])
def test_rank_slices_are_those_of_array_split(n: int, world_size: int) -> None:
    wanted = np.array_split(np.arange(n), world_size)
    got = [np.arange(n)[rank_slice(n, r, world_size=world_size)] for r in range(world_size)]
    assert [list(part) for part in got] == [list(part) for part in wanted]


def test_order_and_masks_are_those_of_every_version_so_far() -> None:
    golden = json.loads(GOLDEN.read_text())
    plan = golden["plan"]
    ids = np.array([f"clip-{i:02d}" for i in range(plan["num_samples"])])
    shards = np.arange(len(ids)) // plan["shard_size"]
    for epoch, wanted in enumerate(golden["epochs"]):
        got = global_order(shards, plan["seed"], epoch=epoch, window_shards=plan["window_shards"])
        assert ids[got].tolist() == wanted
    for policy, wanted in golden["masks"].items():
        masks = masks_for(
            ids,
            np.ones((len(ids), 3), dtype=bool),
            policy=policy,
            seed=plan["seed"],
            epoch=1,
            modalities=("video", "audio", "text"),
        )
        assert ["".join("01"[int(x)] for x in row) for row in masks] == wanted
