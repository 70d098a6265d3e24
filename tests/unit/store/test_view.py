"""A view zips columns in lockstep, by sample, and refuses what it cannot zip."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.store import ColumnInfo, FeatureStore, SampleRow, ShardSample, StoreView
from scfae.store.errors import ConfigError, SchemaMismatch, UnknownColumn

N = 11
WORDS = ("no", "yes", None)


def rows_of(i: int, scale: float, T: int) -> Any:
    return np.full((T, 2), scale * i, dtype=np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """Sample i has i % 3 rows of i in `wide` and one row of 10 i in `half`; `begun` has a shard."""
    rows = [
        SampleRow(
            f"s{i:02d}",
            split="train" if i < 7 else "test",
            group=f"g{i % 2}",
            labels={
                "digit": i % 4 if i else None,
                "score": i / 2 if i else None,
                "word": WORDS[i % 3],
            },
        )
        for i in range(N)
    ]
    made = FeatureStore.create(tmp_path_factory.mktemp("view") / "store", rows, shard_size=4)
    for name, dtype, scale in (
        ("wide", "float32", 1.0),
        ("half", "float16", 10.0),
        ("begun", "float32", 1.0),
    ):
        info = ColumnInfo.create(name, "video", encoder=name, dim=2, dtype=dtype)
        with made.add_column(info) as writer:
            for shard in range(1 if name == "begun" else made.samples.num_shards):
                numbers = [int(made.samples.ids[k][1:]) for k in made.samples.rows_of(shard)]
                lengths = [i % 3 if name == "wide" else 1 for i in numbers]
                writer.commit(
                    shard,
                    [
                        ShardSample(rows_of(i, scale, T), np.full((T, 2), float(i)))
                        for i, T in zip(numbers, lengths, strict=True)
                    ],
                )
    return made


def numbers(view: StoreView) -> list[int]:
    return [int(name[1:]) for name in view.ids]


def test_every_modality_is_of_the_same_sample(store: FeatureStore) -> None:
    view = store.view(a="wide", b="half", labels=["digit", "word"])
    assert len(view) == N
    assert view.modalities == ("a", "b")
    assert view.dims == {"a": 2, "b": 2}
    for place, i in enumerate(numbers(view)):
        sample = view[place]
        assert sample.id == f"s{i:02d}"
        assert sample.features["a"].shape == (i % 3, 2)
        assert (sample.features["a"] == i).all()
        assert sample.features["b"].tolist() == [[10 * i, 10 * i]]
        assert sample.features["b"].dtype == np.float32
        assert sample.times["b"].tolist() == [[i, i]]
        assert sample.labels == {"digit": i % 4 if i else None, "word": WORDS[i % 3]}
        assert view.rows(place, "b").dtype == np.float16
        assert view.lengths("a")[place] == i % 3
        assert view.available[place].tolist() == [i % 3 > 0, True]
        assert view.shard_of[place] == place // 4


def test_negative_positions_count_from_the_end_and_others_are_refused(store: FeatureStore) -> None:
    view = store.view(a="wide")
    assert view[-1].id == view.ids[N - 1]
    for i in (N, -N - 1):
        with pytest.raises(IndexError):
            view[i]


@pytest.mark.parametrize(
    ("chosen", "wanted"),
    [
        ({"split": "train"}, range(7)),
        ({"split": ["test", "train"]}, range(N)),
        ({"split": []}, []),
        ({"where": {"digit": 2}}, [2, 6, 10]),
        ({"where": {"digit": [2, 3]}}, [2, 3, 6, 7, 10]),
        ({"where": {"digit": range(2, 4)}}, [2, 3, 6, 7, 10]),
        ({"where": {"digit": np.array([2, 3])}}, [2, 3, 6, 7, 10]),
        ({"where": {"digit": None}}, [0]),
        ({"where": {"word": "yes"}}, [1, 4, 7, 10]),
        ({"where": {"group": "g1", "split": "test"}}, [7, 9]),
        ({"where": {"id": ["s03", "s99"]}}, [3]),
        ({"split": "train", "where": {"digit": {3}}}, [3]),
        ({"where": {"digit": 77}}, []),
    ],
    ids=str,
)
def test_split_and_where_choose_samples(
    store: FeatureStore, chosen: dict[str, Any], wanted: Any
) -> None:
    view = store.view(a="wide", **chosen)
    assert sorted(numbers(view)) == list(wanted)
    assert (np.diff(view.indices) > 0).all()
    assert view.available.shape == (len(view), 1)


def test_what_the_store_does_not_have_is_named_with_what_it_has(store: FeatureStore) -> None:
    with pytest.raises(
        UnknownColumn, match=r"no split 'tests'; .* test, train\. Did you mean 'test'\?"
    ):
        store.view(a="wide", split="tests")
    with pytest.raises(UnknownColumn, match="no label 'x'; its labels are: digit, score, word"):
        store.view(a="wide", labels=["x"])
    with pytest.raises(UnknownColumn, match=r"where: the store has no label 'digi'; .*'digit'"):
        store.view(a="wide", where={"digi": 1})
    with pytest.raises(UnknownColumn, match=r"no column 'wid'\. Did you mean wide"):
        store.view(a="wid")
    with pytest.raises(ConfigError, match=r"^columns: a view needs at least one"):
        store.view(split="train")


def test_a_column_that_is_not_complete_is_refused_with_what_to_do(store: FeatureStore) -> None:
    with pytest.raises(SchemaMismatch, match=r"'begun' is not complete: 2 of 3 .*scfae extract"):
        store.view(a="wide", b="begun")


def test_labels_are_typed_and_unknown_ones_marked(store: FeatureStore) -> None:
    view = store.view(a="wide", labels=["digit", "score", "word"])
    digit, score, word = (view.label(name) for name in view.label_names)
    zero = numbers(view).index(0)
    assert (digit.kind, digit.values.dtype.name, digit.values[zero]) == ("int", "int64", -1)
    assert (score.kind, score.values.dtype.name) == ("float", "float64")
    assert np.isnan(score.values[zero])
    assert not digit.present[zero]
    assert digit.present.sum() == score.present.sum() == N - 1
    assert (word.kind, word.classes) == ("str", ("no", "yes"))
    for place, i in enumerate(numbers(view)):
        assert word.values[place] == (-1 if WORDS[i % 3] is None else WORDS[i % 3] == "yes")
        assert word.present[place] == (i % 3 < 2)


def test_codes_of_strings_mean_the_same_in_every_part(store: FeatureStore) -> None:
    part = store.view(a="wide", labels=["word"], where={"word": "yes"})
    assert part.label("word").classes == ("no", "yes")
    assert set(part.label("word").values.tolist()) == {1}


def test_with_rows_takes_a_mask_or_positions(store: FeatureStore) -> None:
    view = store.view(a="wide", labels=["digit"])
    mask = view.label("digit").values == 3
    by_mask, by_places = view.with_rows(mask), view.with_rows(np.flatnonzero(mask))
    assert sorted(numbers(by_mask)) == [3, 7]
    assert numbers(by_mask) == numbers(by_places)
    assert by_mask.label_names == ("digit",)
    assert by_mask.fingerprint == by_places.fingerprint != view.fingerprint
    assert len(view.with_rows([])) == 0
    assert numbers(by_mask.with_rows([1])) == numbers(by_mask)[1:]
    with pytest.raises(SchemaMismatch, match=r"a mask of \[2\] for 11 samples"):
        view.with_rows([True, False])
    with pytest.raises(IndexError):
        view.with_rows([N])


def test_fingerprint_is_that_of_samples_columns_and_labels(store: FeatureStore) -> None:
    views = [
        store.view(a="wide"),
        store.view(b="wide"),
        store.view(a="half"),
        store.view(a="wide", b="half"),
        store.view(b="half", a="wide"),
        store.view(a="wide", split="train"),
        store.view(a="wide", labels=["digit"]),
        store.view(a="wide", labels=["word"]),
    ]
    assert len({view.fingerprint for view in views}) == len(views)
    again = FeatureStore.open(store.path)
    assert again.view(a="wide").fingerprint == views[0].fingerprint


def test_fingerprint_changes_when_classes_are_renamed(tmp_path: Path) -> None:
    made = FeatureStore.create(tmp_path / "s", [SampleRow("a", labels={"y": "fake"})])
    with made.add_column(ColumnInfo.create("c", "video", encoder="e", dim=1)) as writer:
        writer.commit(0, [ShardSample(np.ones((1, 1)))])
    before = made.view(a="c", labels=["y"]).fingerprint
    made.update_labels([SampleRow("a", labels={"y": "real"})])
    assert made.view(a="c", labels=["y"]).fingerprint != before
