"""Class-balanced epochs, and the warning where windows are not what the view is."""

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.store import FeatureStream, MemoryView, SkewedWindowWarning
from scfae.store.balance import balanced_order
from scfae.store.errors import ConfigError
from scfae.store.order import Integers, ShardIndex, ShuffledOrder
from scfae.store.skew import worst_excess


def order(classes: Integers, *, shard_size: int = 10, window: int = 100, epoch: int = 0) -> Any:
    index = ShardIndex(np.arange(len(classes)) // shard_size)
    base = ShuffledOrder(index, 3, epoch=epoch, window_shards=window)
    return balanced_order(classes, base)


@given(st.lists(st.integers(0, 4), max_size=60), st.integers(1, 9), st.integers(1, 4))
def test_classes_come_equally_often_and_each_sample_of_a_class_too(
    drawn: list[int], shard_size: int, window: int
) -> None:
    classes = np.unique(drawn, return_inverse=True)[1].astype(np.int64)
    made = order(classes, shard_size=shard_size, window=window)
    assert len(made.positions) == len(classes)
    counts = np.bincount(made.positions, minlength=len(classes))
    for members in (np.flatnonzero(classes == c) for c in range(classes.max(initial=-1) + 1)):
        assert np.ptp(counts[members]) <= 1
        share = len(classes) / len(set(drawn))
        assert abs(counts[members].sum() - share) < 1
    shards = np.arange(len(classes)) // shard_size
    starts = [0, *made.window_ends]
    windows = [set(shards[made.slice(a, b)]) for a, b in itertools.pairwise(starts)]
    assert all(len(inside) <= window for inside in windows)
    assert sum(map(len, windows)) == len(set().union(*windows))


def test_every_batch_is_balanced_and_a_sample_comes_back_as_late_as_it_can() -> None:
    classes = (np.arange(1000) % 20 == 0).astype(np.int64)  # 950 of one class, 50 of the other
    positions = order(classes).positions
    for start in range(0, 1000, 20):
        assert abs(classes[positions[start : start + 20]].sum() - 10) <= 1
    rare = positions[classes[positions] == 1]
    assert all(len(set(rare[i : i + 50])) == 50 for i in range(0, 500, 50))
    other = order(classes, epoch=1).positions
    assert set(other[classes[other] == 0]) != set(positions[classes[positions] == 0])


def view(num_samples: int = 64, *, is_sorted: bool = False, **more: Any) -> MemoryView:
    rows = [np.ones((1, 2), dtype=np.float32)] * num_samples
    order = np.arange(num_samples) if is_sorted else np.arange(num_samples) * 29 % num_samples
    labels = {"digit": (order * 4 // num_samples).tolist(), "x": order.astype(float).tolist()}
    ids = [f"s{i}" for i in range(num_samples)]
    return MemoryView(ids, {"video": rows}, labels=labels, shard_size=8, **more)


def test_a_stream_balances_and_keeps_its_number_of_steps() -> None:
    rows = [np.ones((1, 2), dtype=np.float32)] * 40
    words = ["rare"] * 4 + ["common"] * 36
    skewed = MemoryView([f"s{i}" for i in range(40)], {"v": rows}, labels={"word": words})
    stream = FeatureStream(skewed, 8, balance="word")
    batches = list(stream)
    assert len(batches) == 5
    for batch in batches:
        assert 3 <= int(batch.labels["word"].sum()) <= 5
    seen = Counter(name for batch in batches for name in batch.ids)
    assert [seen[f"s{i}"] for i in range(4)] == [5] * 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"balance": "smell"}, "no label 'smell'; its labels are: digit, x"),
        ({"balance": "x"}, "no classes"),
        ({"balance": "digit", "group_batches": True}, "no one class"),
        ({"balance": "digit", "bucketing": "length"}, "one length are not balanced"),
        ({"balance": "digit", "shuffle": False}, "needs shuffle"),
    ],
)
def test_what_cannot_be_balanced_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=f"^balance: .*{message}"):
        FeatureStream(view(), **settings)


def test_samples_without_the_label_are_not_dropped_in_silence() -> None:
    unknown = view()
    unknown._labels["digit"].present[3] = False
    with pytest.raises(ConfigError, match="balance: 1 of 64 samples have no label 'digit'"):
        FeatureStream(unknown, balance="digit")


def test_a_window_of_one_label_is_warned_of_once() -> None:
    stream = FeatureStream(view(is_sorted=True), 8, window_shards=1)
    with pytest.warns(SkewedWindowWarning, match=r"digit = \d fills 100% .* 25% of the view"):
        list(stream)
    list(stream)  # a second warning would be an error


def test_a_window_of_one_group_is_warned_of() -> None:
    groups = [f"g{i // 14}" for i in range(64)]
    stream = FeatureStream(view(groups=groups), 8, window_shards=2)
    with pytest.warns(SkewedWindowWarning, match=r"the group of sample 's\d+' fills"):
        list(stream)


@pytest.mark.parametrize(
    "settings",
    [{"window_shards": 2}, {"is_sorted": True, "window_shards": 8}, {"is_sorted": True}],
)
def test_mixed_windows_and_full_shuffles_are_not_warned_of(settings: dict[str, Any]) -> None:
    is_sorted = settings.pop("is_sorted", False)
    list(FeatureStream(view(is_sorted=is_sorted), 8, **settings))


def test_without_shuffle_there_is_no_window_to_warn_of() -> None:
    list(FeatureStream(view(is_sorted=True), 8, window_shards=1, shuffle=False))


@given(st.integers(0, 1000), st.integers(2, 50), st.integers(16, 300), st.floats(0.01, 0.99))
def test_a_random_deal_is_not_warned_of(seed: int, windows: int, size: int, share: float) -> None:
    random = np.random.default_rng(seed)
    codes = (random.random(windows * size) < share).astype(np.int64)
    assert worst_excess(np.repeat(np.arange(windows), size), codes) is None
