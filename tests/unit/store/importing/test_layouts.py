"""How samples lie in one file: ragged, table, or an array each; what does not fit is refused."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scfae.store.errors import ConfigError, ImportRefused, ManifestError, ScfaeError
from scfae.store.files import OpenFile
from scfae.store.importing import open_source
from scfae.store.importing.arrays import FileArray
from scfae.store.importing.npy import open_npy

from .kit import as_ragged, fates_by_id, imported, rows_by_id, samples

IDS = np.array(["a", "b"])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"offsets": np.array([0, 2])}, "2 offsets for 2 ids"),
        ({"offsets": np.array([0, 3, 2])}, "must rise from 0 to the number of rows, 4"),
        ({"offsets": np.array([1, 2, 4])}, "must rise from 0"),
        ({"offsets": np.array([0, 2, 5])}, "must rise from 0"),
        ({"offsets": np.array([0, 1.5, 4])}, "not whole numbers"),
        ({"offsets": np.array([0, np.nan, 4])}, "not whole numbers"),
        ({"offsets": np.array([0, 1e300, 4])}, "out of range"),
        ({"ids": np.array(["a", "a"])}, "'a' is there twice"),
        ({"ids": np.array([1.5, 2.5])}, "not a list of names"),
        ({"ids": np.array(["a", ""])}, "no id"),
        ({"ids": np.array([b"a", b"\xff"])}, "not UTF-8"),
        ({"ids": np.array(["a", "b\n"])}, "control characters"),
        ({"ids": np.array(["a", "b" * 2000])}, "2000 characters"),
        ({"times": np.zeros((3, 2))}, r"times have the shape \[3, 2\], not \[4, 2\]"),
        ({"data": np.zeros(4)}, r"data has the shape \[4\], not \[rows, D\]"),
        ({"data": np.zeros((4, 0))}, r"\[4, 0\]"),
    ],
)
def test_ragged_arrays_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, Any], what: str
) -> None:
    arrays = {"data": np.ones((4, 3)), "offsets": np.array([0, 2, 4]), "ids": IDS}
    np.savez(tmp_path / "x.npz", **(arrays | change))
    with pytest.raises(ImportRefused, match=what):
        open_source(tmp_path / "x.npz", modality="audio")


def test_ids_may_be_numbers_or_bytes(tmp_path: Path) -> None:
    for ids in (np.array([1, 2]), np.array([b"1", b"2"])):
        np.savez(tmp_path / "x.npz", data=np.ones((4, 3)), offsets=[0, 2, 4], ids=ids)
        with open_source(tmp_path / "x.npz", modality="audio") as source:
            assert list(source.ids) == ["1", "2"]


def test_a_table_gives_one_row_or_t_rows_a_sample(tmp_path: Path) -> None:
    flat, deep = np.arange(6.0).reshape(2, 3), np.arange(24.0).reshape(2, 4, 3)
    np.savez(tmp_path / "flat.npz", x=flat, ids=IDS)
    np.savez(tmp_path / "deep.npz", data=deep, ids=IDS, lengths=[4, 2], other=np.ones(2))
    store, _ = imported(tmp_path / "flat.npz", tmp_path / "flat")
    assert rows_by_id(store)["b"].tolist() == [[3, 4, 5]]
    store, report = imported(tmp_path / "deep.npz", tmp_path / "deep")
    assert (rows_by_id(store)["b"] == deep[1, :2]).all()
    assert any("1 other arrays were left, e.g. 'other'" in notice for notice in report.notices)


def test_a_length_beyond_the_padding_fails_its_sample(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", data=np.ones((2, 4, 3)), ids=IDS, lengths=[5, 0])
    store, _ = imported(tmp_path / "x.npz", tmp_path / "store")
    assert fates_by_id(store) == {
        "a": ("failed", "its length is given as 5, but it has 4 rows"),
        "b": ("missing", "the source has no rows for it"),
    }


@pytest.mark.parametrize("shape", [(2,), (3, 3), (2, 2, 2, 2), (2, 4, 0)])
def test_a_table_of_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.savez(tmp_path / "x.npz", data=np.ones(shape), ids=IDS)
    with pytest.raises(ImportRefused, match=r"has the shape \["):
        open_source(tmp_path / "x.npz", modality="audio")


def test_the_key_chooses_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones((2, 3)), y=np.zeros((2, 5)), ids=IDS)
    with pytest.raises(ConfigError, match=r"--key: say which array .* it has 'x', 'y'"):
        open_source(tmp_path / "x.npz", modality="audio")
    with pytest.raises(ConfigError, match="no array 'z'; it has"):
        open_source(tmp_path / "x.npz", modality="audio", key="z")
    with open_source(tmp_path / "x.npz", modality="audio", key="y") as source:
        assert source.dim == 5
    np.savez(tmp_path / "names.npz", x=np.ones((2, 3)))
    with pytest.raises(ConfigError, match="no array 'ids'"):
        open_source(tmp_path / "names.npz", modality="audio", key="x")
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(ManifestError, match="holds no arrays"):
        open_source(tmp_path / "empty.npz", modality="audio")


def test_the_key_may_name_a_group_of_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        for name, values in as_ragged(samples()).items():
            text = values.dtype.kind == "U"
            file[f"inner/{name}"] = values.astype(h5py.string_dtype()) if text else values
        file["other/thing"] = np.ones((2, 9))
    store, _ = imported(tmp_path / "x.h5", tmp_path / "store", key="inner")
    assert rows_by_id(store).keys() == samples().keys()
    with pytest.raises(ConfigError, match="no data set or group 'nothing'"):
        open_source(tmp_path / "x.h5", modality="audio", key="nothing")


@pytest.mark.parametrize(
    "values", [np.array(1.0), np.array(["x"], dtype=object), h5py.Empty("f4"), "text"]
)
def test_other_things_in_hdf5_are_refused(tmp_path: Path, values: Any) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("a", data=values)
    with pytest.raises(ScfaeError, match=r"x\.h5, 'a': "):
        open_source(tmp_path / "x.h5", modality="audio")


@given(
    hnp.arrays(
        st.sampled_from([np.dtype(name) for name in ("<f4", "<f2", "<i2", ">f8")]),
        hnp.array_shapes(max_dims=3, max_side=5),
        elements=st.integers(-5, 5),
    ),
    st.booleans(),
    st.data(),
)
def test_a_part_of_an_npy_is_what_numpy_reads(
    tmp_path_factory: pytest.TempPathFactory,
    values: np.ndarray[Any, Any],
    is_fortran: bool,
    data: st.DataObject,
) -> None:
    path = tmp_path_factory.mktemp("npy") / "x.npy"
    np.save(path, np.asfortranarray(values) if is_fortran else values)
    array: FileArray = open_npy(OpenFile(path), path)
    first = data.draw(st.integers(0, len(values)))
    last = data.draw(st.integers(first, len(values)))
    assert array.shape == values.shape
    assert (array.read(first, last) == values[first:last]).all()
