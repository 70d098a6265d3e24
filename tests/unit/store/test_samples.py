"""The sample table: a partition by ids and seed alone, that growing never changes."""

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.store import SampleRow, SampleTable
from scfae.store.errors import ManifestError, SchemaMismatch, UnknownColumn
from scfae.store.sample_view import group_numbers


def rows(*ids: str, **fields: Any) -> list[SampleRow]:
    return [SampleRow(id=name, **fields) for name in ids]


def many(num_samples: int, start: int = 0) -> list[SampleRow]:
    return rows(*(f"s{i:03d}" for i in range(start, start + num_samples)))


def make(given_rows: list[SampleRow], shard_size: int = 4, seed: int = 0) -> SampleTable:
    return SampleTable.create(given_rows, shard_size, seed=seed)


def again(table: SampleTable) -> SampleTable:
    return SampleTable.from_bytes(table.to_bytes(), shard_size=table.shard_size, seed=table.seed)


def partition(table: SampleTable) -> list[tuple[str, int]]:
    return list(zip(table.ids.tolist(), table.shard_of.tolist(), strict=True))


@given(
    ids=st.sets(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1),
        min_size=1,
        max_size=20,
    ),
    shard_size=st.integers(1, 7),
    seed=st.integers(0, 2**64),
    order=st.randoms(use_true_random=False),
)
def test_dealing_depends_on_ids_and_seed_and_not_on_the_order_of_the_manifest(
    ids: set[str], shard_size: int, seed: int, order: random.Random
) -> None:
    shuffled = sorted(ids)
    order.shuffle(shuffled)
    table = make(rows(*shuffled), shard_size, seed)
    assert sorted(table.ids.tolist()) == sorted(ids)
    assert table.shard_of.tolist() == [i // shard_size for i in range(len(ids))]
    assert table.to_bytes() == make(rows(*sorted(ids)), shard_size, seed).to_bytes()
    assert partition(again(table)) == partition(table)
    bounds = [table.rows_of(shard) for shard in range(table.num_shards)]
    assert [i for here in bounds for i in here] == list(range(len(ids)))


def test_another_seed_deals_differently_and_shards_are_random_subsets() -> None:
    orders = [make(many(40), seed=seed).ids.tolist() for seed in range(5)]
    assert len({tuple(order) for order in orders}) == 5
    assert all(order != sorted(order) for order in orders)


def test_dealing_is_that_of_every_version_so_far() -> None:
    dealt = make(many(10), seed=7).ids.tolist()
    assert [int(name[1:]) for name in dealt] == [8, 4, 3, 6, 2, 1, 0, 5, 9, 7]


@pytest.mark.parametrize(
    ("bad", "what"),
    [
        ([], "no samples"),
        (rows("a", "b", "a"), "the id 'a' is there twice"),
        (rows("a", ""), "a sample has no id"),
        (rows("a", "a\0"), "characters that cannot be stored"),
        (rows("caf\udce9"), "characters that cannot be stored"),
        (rows("a", media={"smell": "a.nose"}), "no media kind 'smell'; there are video, audio"),
    ],
    ids=str,
)
def test_a_bad_manifest_is_refused(bad: list[SampleRow], what: str) -> None:
    with pytest.raises(ManifestError, match=what):
        make(bad)


def test_a_shard_size_below_one_is_refused() -> None:
    with pytest.raises(ManifestError, match="shard_size must be at least 1, not 0"):
        make(many(3), shard_size=0)


def test_append_keeps_shards_and_puts_new_ids_into_new_ones() -> None:
    table = make(many(10))
    grown = table.append(many(7, start=8))
    assert partition(grown)[:10] == partition(table)
    assert sorted(grown.ids[10:].tolist()) == [f"s{i:03d}" for i in range(10, 15)]
    assert grown.shard_of[10:].tolist() == [3, 3, 3, 3, 4]
    assert [grown.ids_sha256(k) for k in range(3)] == [table.ids_sha256(k) for k in range(3)]
    assert partition(again(grown)) == partition(grown)
    assert [len(grown.rows_of(k)) for k in range(5)] == [4, 4, 2, 4, 1]


def test_append_does_not_depend_on_the_order_of_new_ids() -> None:
    table = make(many(10))
    new = many(9, start=10)
    assert partition(table.append(new)) == partition(table.append(new[::-1]))


def test_append_of_known_ids_changes_nothing() -> None:
    table = make(rows("a", "b", split="train"))
    assert table.append(rows("b", split="test")) is table
    with pytest.raises(ManifestError, match="the id 'c' is there twice"):
        table.append(rows("c", "c"))


def test_updated_takes_fields_and_named_labels_and_keeps_the_rest() -> None:
    table = make(
        [
            SampleRow("a", {"video": "a.mp4"}, "train", "ann", {"digit": 1, "word": "one"}, 2.0),
            SampleRow("b", {"video": "b.mp4"}, "train", "bob", {"digit": 2, "word": "two"}, 3.0),
        ]
    )
    new = table.updated([SampleRow("a", {"audio": "a.wav"}, "test", None, {"digit": 7, "age": 3})])
    assert partition(new) == partition(table)
    by_id = {row.id: row for row in new.rows()}
    labels: dict[str, Any] = {"digit": 7, "word": "one", "age": 3}
    assert by_id["a"] == SampleRow("a", {"audio": "a.wav"}, "test", None, labels, None)
    labels = {"digit": 2, "word": "two", "age": None}
    assert by_id["b"] == SampleRow("b", {"video": "b.mp4"}, "train", "bob", labels, 3.0)


def test_updating_unknown_ids_is_refused() -> None:
    with pytest.raises(SchemaMismatch, match=r"2 ids are not in the store, e\.g\. 'x'"):
        make(many(3)).updated(rows("s001", "y", "x"))


@pytest.mark.parametrize(
    ("values", "kind", "stored"),
    [
        ([1, 2, None], "int", [1, 2, None]),
        ([True, False], "int", [1, 0]),
        ([np.int16(3), 4], "int", [3, 4]),
        ([1, 2.5], "float", [1.0, 2.5]),
        ([1, float("nan")], "int", [1, None]),
        ([0.5, float("nan"), None], "float", [0.5, None, None]),
        ([np.float32(0.5), math.inf], "float", [0.5, math.inf]),
        (["x", None, ""], "str", ["x", None, ""]),
        (["1", "2"], "str", ["1", "2"]),
        ([None, None], "str", [None, None]),
        ([2**63 - 1, -(2**63)], "int", [2**63 - 1, -(2**63)]),
    ],
    ids=str,
)
def test_labels_are_integers_floats_or_strings(
    values: list[Any], kind: str, stored: list[Any]
) -> None:
    table = again(make([SampleRow(f"s{i}", labels={"y": v}) for i, v in enumerate(values)]))
    assert table.label_kind("y") == kind
    got = dict(zip(table.ids.tolist(), table.label("y").tolist(), strict=True))
    assert [got[f"s{i}"] for i in range(len(values))] == stored
    assert {type(value) for value in got.values()} == {type(value) for value in stored}


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ([1, "one"], "label 'y' mixes text and numbers: it holds int, str"),
        ([None, 0.5, "x"], "label 'y' mixes text and numbers"),
        ([2**63], "label 'y' does not fit into 64 bits"),
    ],
)
def test_labels_that_cannot_be_one_type_are_refused(values: list[Any], what: str) -> None:
    with pytest.raises(SchemaMismatch, match=what):
        make([SampleRow(f"s{i}", labels={"y": v}) for i, v in enumerate(values)])


def test_a_label_that_only_some_samples_have_is_unknown_for_the_others() -> None:
    table = make([SampleRow("a", labels={"x": 1}), SampleRow("b", labels={"y": "q"})])
    assert table.label_names == ("x", "y")
    by_id = dict(zip(table.ids.tolist(), table.label("x").tolist(), strict=True))
    assert by_id == {"a": 1, "b": None}


def test_unknown_labels_name_those_there_are() -> None:
    table = make([SampleRow("a", labels={"digit": 1, "fake": 0})])
    for ask in (table.label, table.label_kind):
        with pytest.raises(UnknownColumn, match="no label 'x'; its labels are: digit, fake"):
            ask("x")
    with pytest.raises(UnknownColumn, match="its labels are: none"):
        make(many(1)).label("x")


def test_fields_come_back_from_bytes() -> None:
    table = again(
        make(
            [
                SampleRow("a", {"video": "a.mp4", "text": "hej"}, "train", "ann", {}, 1.5),
                SampleRow("b", split=""),
            ]
        )
    )
    assert table.splits == ("train",)
    i, j = table.ids.tolist().index("a"), table.ids.tolist().index("b")
    assert (table.split[i], table.split[j]) == ("train", None)
    assert (table.group[i], table.group[j]) == ("ann", None)
    assert (table.media("text")[i], table.media("audio")[i]) == ("hej", None)
    assert table.duration_s[i] == 1.5
    assert math.isnan(table.duration_s[j])


def test_there_is_no_shard_beyond_the_last() -> None:
    table = make(many(5))
    for shard in (-1, 2):
        with pytest.raises(SchemaMismatch, match=f"there is no shard {shard}: the store has 2"):
            table.rows_of(shard)


def test_selected_samples_keep_their_order_and_shards_have_no_gaps() -> None:
    table = SampleTable.create([SampleRow(f"s{i}", labels={"a": i}) for i in range(9)], 2, seed=1)
    some = table.select(np.array([1, 4, 5, 8]))
    assert some.ids.tolist() == table.ids[[1, 4, 5, 8]].tolist()
    assert some.label("a").tolist() == table.label("a")[[1, 4, 5, 8]].tolist()
    assert some.shard_of.tolist() == [0, 1, 1, 2]
    assert (some.shard_size, some.seed) == (2, 1)


@given(
    values=st.lists(st.none() | st.sampled_from(["a", "b", "é"]), min_size=1, max_size=20),
    data=st.data(),
)
def test_groups_are_numbered_by_first_appearance(values: list[str | None], data: Any) -> None:
    table = make([SampleRow(id=f"s{i:02d}", group=group) for i, group in enumerate(values)])
    places = data.draw(st.lists(st.integers(0, len(values) - 1), unique=True))
    indices = np.array(places, dtype=np.int64)
    expected = group_numbers(table.group[indices]).tolist()
    assert table.group_numbers(indices).tolist() == expected


@given(
    values=st.lists(st.none() | st.integers(-2, 2), min_size=1, max_size=12)
    | st.lists(st.none() | st.sampled_from(["", "a", "é"]), min_size=1, max_size=12)
    | st.lists(st.none() | st.sampled_from([0.0, 1.0, 2.5]), min_size=1, max_size=12),
    wanted=st.lists(st.sampled_from([None, 0, 1, 1.0, 2.5, True, "", "a", "é", "z"]), max_size=4),
)
def test_being_among_values_is_what_python_says(values: list[Any], wanted: list[Any]) -> None:
    table = make([SampleRow(id=f"s{i:02d}", labels={"y": y}) for i, y in enumerate(values)])
    expected = [value in wanted for value in table.label("y")]
    assert table.is_among("y", wanted).tolist() == expected


@given(ids=st.sets(st.text("abé☃z", min_size=1, max_size=6), min_size=1, max_size=20))
def test_ids_are_the_same_as_one_by_one(ids: set[str]) -> None:
    table = make(rows(*ids))
    everyone = list(range(len(ids)))
    assert table.ids.tolist() == table.ids_at(everyone) == again(table).ids.tolist()
    assert table.ids_digest == again(table).ids_digest
    assert table.ids_at([]) == []


@given(ids=st.lists(st.text("aB1é_%.\\", min_size=1, max_size=4), min_size=1, unique=True))
@pytest.mark.parametrize("text", ["", "a", "B1", "É", "%", "_", "\\", "."])
def test_a_text_is_found_in_ids_whatever_its_case(ids: list[str], text: str) -> None:
    table = make([SampleRow(id=one) for one in ids])
    expected = [text.lower() in one.lower() for one in table.ids.tolist()]
    assert table.ids_with(text).tolist() == expected
