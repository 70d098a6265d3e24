"""What is restored is equal in every bit to what was exported, in every form."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scfae.store import FeatureStore, verify
from scfae.store.exchange import export, restore

from .small_stores import FORMS, a_store, contents, facts, stores

forms = pytest.mark.parametrize(("form", "joined"), FORMS)


@forms
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_round_trip_is_equal_in_every_bit(
    tmp_path: Path, form: Any, joined: bool, dtype: str
) -> None:
    store = a_store(tmp_path / "store", dtype=dtype)
    export(store, tmp_path / "out", to=form, joined=joined)
    report = restore(tmp_path / "out", tmp_path / "back")
    back = FeatureStore.open(tmp_path / "back")
    assert facts(back) == facts(store)
    assert contents(back.path / "columns") == contents(store.path / "columns")
    assert all(column["same_bytes"] for column in report["columns"].values())
    assert verify(back) == []


@forms
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_any_store_comes_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory, form: Any, joined: bool, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("trip")
    store = data.draw(stores(folder / "store"))
    export(store, folder / "out", to=form, joined=joined)
    restore(folder / "out", folder / "back")
    back = FeatureStore.open(folder / "back")
    assert facts(back) == facts(store)
    assert back.status() == store.status()


@pytest.mark.parametrize("kept_as", ["webdataset", "hdf5"])
def test_columns_of_any_format_come_back_in_their_own(tmp_path: Path, kept_as: str) -> None:
    store = a_store(tmp_path / "store", form=kept_as)
    for form in ("zarr", "npz", kept_as):
        export(store, tmp_path / f"out-{form}", to=form)  # type: ignore[arg-type]
        restore(tmp_path / f"out-{form}", tmp_path / f"back-{form}")
        back = FeatureStore.open(tmp_path / f"back-{form}")
        assert contents(back.path / "columns") == contents(store.path / "columns")


@forms
def test_a_split_comes_back_with_its_samples_alone(tmp_path: Path, form: Any, joined: bool) -> None:
    store = a_store(tmp_path / "store")
    report = export(store, tmp_path / "out", to=form, joined=joined, split="train")
    restore(tmp_path / "out", tmp_path / "back")
    back = FeatureStore.open(tmp_path / "back")
    assert set(back.samples.split) == {"train"}
    assert len(back.samples) == report["samples"] == 3
    places = {name: i for i, name in enumerate(store.samples.ids)}
    for name in store.columns:
        mine, theirs = back.column(name), store.column(name)
        for i, sample in enumerate(back.samples.ids):
            k = places[sample]
            assert (mine.status[i], mine.reasons.get(i)) == (
                theirs.status[k],
                theirs.reasons.get(k),
            )
            if i in mine.reasons and mine.reasons[i] == "not extracted yet":
                continue
            assert mine.rows(i).tobytes() == theirs.rows(k).tobytes()
            assert mine.times(i).tobytes() == theirs.times(k).tobytes()
            assert back.samples.label("digit")[i] == store.samples.label("digit")[k]
    assert back.columns == store.columns
    assert verify(back) == []


def test_an_export_of_an_export_is_the_same_export(tmp_path: Path) -> None:
    store = a_store(tmp_path / "store")
    export(store, tmp_path / "out", to="parquet")
    restore(tmp_path / "out", tmp_path / "back")
    export(tmp_path / "back", tmp_path / "again", to="parquet")
    assert contents(tmp_path / "again") == contents(tmp_path / "out")
