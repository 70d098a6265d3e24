"""Every kind of source gives the same rows, the same bytes twice, and survives damage."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scfae.store import verify
from scfae.store.errors import ScfaeError
from scfae.store.importing import import_features, open_source
from scfae.store.importing.source import UnusableSample

from .kit import KINDS, imported, rows_by_id, samples, times_of, write_source

SLOW_TO_OPEN = ("pt", "pt dict", "hdf5", "hdf5 names", "mat 7.3", "csd")
WITH_TIMES = ("npz files", "npz", "npz packed", "npz fortran", "mat", "mat 7.3", "hdf5", "csd")


@pytest.mark.parametrize("kind", KINDS)
def test_rows_and_times_come_in_unchanged(kind: str, tmp_path: Path) -> None:
    given = samples()
    store, report = imported(write_source(kind, tmp_path, given), tmp_path / "store", shard_size=2)
    rows = rows_by_id(store)
    assert rows.keys() == given.keys()
    for i, name in enumerate(store.samples.ids):
        assert rows[name].tobytes() == given[name].tobytes()
        times = store.column("a").times(i)
        if kind in WITH_TIMES:
            assert (times == times_of(given[name])).all()
        else:
            assert np.isnan(times).all()
    assert report.counts["ok"] == len(given)
    assert verify(store) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_source_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    source = write_source(kind, tmp_path, samples())
    stores = [imported(source, tmp_path / name, shard_size=2)[0].path for name in "xy"]
    files = [sorted(p.relative_to(store) for p in store.rglob("*.*")) for store in stores]
    assert files[0] == files[1]
    for file in files[0]:
        if (stores[0] / file).is_file():
            assert (stores[0] / file).read_bytes() == (stores[1] / file).read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_stays_half(kind: str, tmp_path: Path) -> None:
    given = samples(dtype="float16")
    if kind.startswith("mat") and kind != "mat 7.3":
        pytest.skip("MATLAB 5 has no half precision")
    store, _ = imported(write_source(kind, tmp_path, given), tmp_path / "store")
    assert store.column("a").info.dtype == "float16"
    assert store.column("a").info.recipe["source_dtype"] == "float16"
    assert all(rows.tobytes() == given[name].tobytes() for name, rows in rows_by_id(store).items())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in SLOW_TO_OPEN])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=4))
def test_damage_is_an_error_of_ours_or_harmless(
    kind: str, tmp_path: Path, damage: list[tuple[float, int]]
) -> None:
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    source = write_source(kind, folder, samples(3))
    path = next(iter(sorted(source.iterdir()))) if source.is_dir() else source
    data = bytearray(path.read_bytes())
    for place, value in damage:
        data[int(place * len(data))] = value
    path.write_bytes(data)
    with (
        suppress(ScfaeError, UnusableSample),
        open_source(source, modality="audio", max_bytes=1 << 20) as opened,
    ):
        for name in opened.ids:
            opened.sample(name)


@pytest.mark.parametrize("kind", ["npz", "mat", "hdf5", "csd", "mmsa"])
@pytest.mark.parametrize("left", [0, 100, 0.9])
def test_a_file_cut_short_is_refused(kind: str, tmp_path: Path, left: float) -> None:
    source = write_source(kind, tmp_path, samples())
    data = source.read_bytes()
    source.write_bytes(data[: int(left * len(data)) if isinstance(left, float) else left])
    with pytest.raises(ScfaeError, match=str(source)):
        imported(source, tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_one_dimension_is_one_row_and_no_rows_are_missing(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", one=np.ones(3, "f4"), none=np.ones((0, 3), "f4"))
    store, report = imported(tmp_path / "x.npz", tmp_path / "store")
    rows = rows_by_id(store)
    assert (rows["one"] == np.ones((1, 3))).all()
    assert report.reasons == [("none", "missing", "the source has no rows for it")]


@pytest.mark.parametrize("dtype", ["int64", "uint8", "bool", ">f4", ">f8", "float64"])
def test_numbers_of_every_dtype_become_floats(tmp_path: Path, dtype: str) -> None:
    values: Any = np.array([[0, 1], [1, 0]]).astype(dtype)
    np.savez(tmp_path / "x.npz", a=values)
    store, _ = imported(tmp_path / "x.npz", tmp_path / "store")
    assert (rows_by_id(store)["a"] == values.astype("float32")).all()


@pytest.mark.parametrize("dtype", ["complex64", "U3", "S3"])
def test_what_are_no_real_numbers_is_refused(tmp_path: Path, dtype: str) -> None:
    np.savez(tmp_path / "x.npz", a=np.array([["1", "2"]]).astype(dtype))
    with pytest.raises(ScfaeError, match="not real numbers"):
        import_features(tmp_path / "x.npz", tmp_path / "store", column="a", modality="audio")
