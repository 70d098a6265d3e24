"""Splits are the store's own or carved by hash; groups stay whole and nobody vanishes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.store import FeatureStore, SampleRow
from scfae.store.errors import TaskError, UnknownColumn
from scfae.store.testing import make_store
from scfae.train.settings import DataConfig
from scfae.train.splits import Splits, make_splits

THREE = (("train", 0.6), ("val", 0.2), ("test", 0.2))


def data(store: FeatureStore, **settings: Any) -> DataConfig:
    base = {
        "store": str(store.path),
        "columns": {"video": "video", "audio": "audio"},
        "label": "digit",
    }
    return DataConfig(**(base | settings))


def make(
    path: Path,
    *,
    splits: Sequence[tuple[str, float]] = THREE,
    num_groups: int = 0,
    num_samples: int = 120,
    **more: Any,
) -> FeatureStore:
    """Return a store whose samples are in groups of unequal size."""
    store = make_store(
        path, num_samples=num_samples, splits=splits, labels={"digit": 3, "fake": 2}, **more
    )
    if num_groups:
        random = np.random.default_rng(1)
        view = store.view(None, ["digit", "fake"], video="video")
        store.update_labels(
            [
                SampleRow(
                    id=view[i].id,
                    split=store.samples.split[view.indices[i]],
                    group=f"g{int(num_groups * random.random() ** 2)}",
                    labels=dict(view[i].labels),
                )
                for i in range(len(view))
            ]
        )
    return FeatureStore.open(path)


def ids(splits: Splits) -> dict[str, set[str]]:
    views = {"train": splits.train, "val": splits.val, "test": splits.test}
    return {name: set(view.ids.tolist()) for name, view in views.items()}


def groups(store: FeatureStore, splits: Splits) -> dict[str, set[str]]:
    views = {"train": splits.train, "val": splits.val, "test": splits.test}
    return {
        name: {store.samples.group[index] for index in view.indices} for name, view in views.items()
    }


def assert_counts_add_up(splits: Splits) -> None:
    record = splits.record()
    assert sum(record["sizes"].values()) + sum(record["excluded"].values()) == record["samples"]
    parts = list(ids(splits).values())
    assert sum(map(len, parts)) == len(set().union(*parts))


def test_the_stores_own_splits_are_kept(tmp_path: Path) -> None:
    store = make(tmp_path / "store", missing=0.3)
    splits = make_splits(store, data(store))
    for name, view in (("train", splits.train), ("val", splits.val), ("test", splits.test)):
        own = store.view(name, video="video", audio="audio")
        assert set(view.ids.tolist()) == set(own.ids[own.available.any(axis=1)].tolist())
    assert splits.carved == ()
    assert_counts_add_up(splits)


def test_other_names_for_the_splits(tmp_path: Path) -> None:
    store = make(tmp_path / "store", splits=(("fit", 0.5), ("dev", 0.25), ("eval", 0.25)))
    named = {"train_split": "fit", "val_split": "dev", "test_split": "eval"}
    splits = make_splits(store, data(store, **named))
    assert {name: len(found) for name, found in ids(splits).items()} == {
        "train": 60,
        "val": 30,
        "test": 30,
    }


@pytest.mark.parametrize("num_groups", [0, 12, 3])
@pytest.mark.parametrize("own", [(), (("train", 0.8), ("test", 0.2))], ids=["none", "no val"])
def test_carved_splits_keep_groups_whole(
    tmp_path: Path, num_groups: int, own: tuple[tuple[str, float], ...]
) -> None:
    store = make(tmp_path / "store", splits=own, num_groups=num_groups)
    splits = make_splits(store, data(store))
    assert all(len(found) > 0 for found in ids(splits).values())
    assert_counts_add_up(splits)
    held = groups(store, splits)
    if num_groups:
        assert not held["train"] & held["val"]
        if not own:
            assert not held["train"] & held["test"]
            assert not held["val"] & held["test"]
    assert splits.carved == (("val",) if own else ("test", "val", "train"))
    assert any("carved" in note for note in splits.notes)
    if num_groups != 3:
        assert len(splits.val) == pytest.approx(0.15 * (96 if own else 120), abs=10)


def test_carving_depends_on_ids_alone(tmp_path: Path) -> None:
    first = make(tmp_path / "first", splits=(), shard_size=8, seed=1)
    second = make(tmp_path / "second", splits=(), shard_size=50, seed=9, num_samples=120)
    mine, theirs = (ids(make_splits(store, data(store))) for store in (first, second))
    assert mine == theirs
    # Samples that come later move nobody, up to the few at the border of the share.
    third = make(tmp_path / "third", splits=(), num_samples=126)
    later = ids(make_splits(third, data(third)))
    assert len(mine["test"] - later["test"]) <= 3


def test_samples_without_label_or_rows_are_counted(tmp_path: Path) -> None:
    store = make(tmp_path / "store", missing=0.6, dims={"video": 4, "audio": 3, "image": 2})
    train = store.view("train", ["digit"], video="video")
    store.update_labels(
        [SampleRow(id=str(name), split="train", labels={"digit": None}) for name in train.ids[:7]]
    )
    store = FeatureStore.open(store.path)
    splits = make_splits(store, data(store))
    assert splits.excluded["unlabelled"] == 7
    assert splits.excluded["in none of the columns"] > 0
    assert_counts_add_up(splits)
    assert any(note.startswith("7 samples are left out: unlabelled") for note in splits.notes)
    assert splits.train.available.any(axis=1).all()


def test_samples_of_other_splits_are_counted(tmp_path: Path) -> None:
    store = make(tmp_path / "store", splits=(*THREE[:2], ("test", 0.1), ("holdout", 0.1)))
    splits = make_splits(store, data(store))
    assert splits.excluded == {"in another split or none": 12}
    assert_counts_add_up(splits)


def test_where_chooses_samples_by_their_labels(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    splits = make_splits(store, data(store, where={"fake": 0}))
    assert len(splits.everything) == 60
    view = store.view(None, ["fake"], video="video")
    fakes = dict(zip(view.ids.tolist(), view.label("fake").values.tolist(), strict=True))
    assert all(fakes[name] == 0 for found in ids(splits).values() for name in found)


def test_where_reads_a_number_as_text_where_the_label_is_text(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    view = store.view(None, ["digit"], video="video")
    store.update_labels(
        [
            SampleRow(
                id=view[i].id,
                split=store.samples.split[view.indices[i]],
                labels={"room": str(i % 2)},
            )
            for i in range(len(view))
        ]
    )
    store = FeatureStore.open(store.path)
    assert len(make_splits(store, data(store, label="room", where={"room": 1})).everything) == 60


def test_groups_that_the_stores_splits_share_are_noted(tmp_path: Path) -> None:
    store = make(tmp_path / "store", num_groups=4)
    notes = make_splits(store, data(store)).notes
    assert any("groups are in both train and test by the store's own splits" in n for n in notes)


@pytest.mark.parametrize(
    ("settings", "needle"),
    [
        ({"train_split": "learn"}, r"the train split 'learn' is not in the store; .* test, train"),
        ({"val_split": "dev"}, "the val split 'dev' is not in the store"),
        ({"test_split": "exam"}, "the test split 'exam' is not in the store"),
        ({"val_split": "train"}, "train, val and test must be three splits"),
        ({"where": {"digit": 7}}, "no sample of .* has where"),
    ],
)
def test_what_cannot_be_split_is_named(
    tmp_path: Path, settings: dict[str, Any], needle: str
) -> None:
    store = make(tmp_path / "store")
    with pytest.raises(TaskError, match=needle):
        make_splits(store, data(store, **settings))


def test_an_unknown_label_or_column_is_named(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    with pytest.raises(UnknownColumn, match="digits"):
        make_splits(store, data(store, label="digits"))
    with pytest.raises(UnknownColumn, match="vidoe"):
        make_splits(store, data(store, columns={"video": "vidoe"}))


def test_a_split_that_no_sample_can_be_used_of_is_named(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    view = store.view("val", ["digit"], video="video")
    store.update_labels(
        [SampleRow(id=str(name), split="val", labels={"digit": None}) for name in view.ids]
    )
    store = FeatureStore.open(store.path)
    with pytest.raises(TaskError, match="the val split 'val' holds no usable sample"):
        make_splits(store, data(store))


def test_no_label_at_all_is_said(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    view = store.view(None, ["digit"], video="video")
    store.update_labels(
        [SampleRow(id=str(name), split="train", labels={"digit": None}) for name in view.ids]
    )
    store = FeatureStore.open(store.path)
    with pytest.raises(TaskError, match="of 120, 120 have no label 'digit'"):
        make_splits(store, data(store))


def test_one_group_cannot_be_carved(tmp_path: Path) -> None:
    store = make(tmp_path / "store", splits=(), num_groups=1)
    with pytest.raises(TaskError, match="cannot be carved: all 120 samples are of one group"):
        make_splits(store, data(store))


def test_the_record_tells_other_samples_apart(tmp_path: Path) -> None:
    store = make(tmp_path / "store")
    before = make_splits(store, data(store)).record()
    assert make_splits(store, data(store)).record() == before
    sample = store.view("test", ["digit"], video="video")[0]
    store.update_labels([SampleRow(id=sample.id, split="val", labels=dict(sample.labels))])
    now = make_splits(store, data(store)).record()
    changed = {
        name
        for name in before["ids_sha256"]
        if before["ids_sha256"][name] != now["ids_sha256"][name]
    }
    assert changed == {"val", "test"}
