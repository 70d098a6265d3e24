"""The restricted unpickler: what numpy and plain containers give, and nothing that runs."""

import collections
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scfae.store.errors import ImportRefused
from scfae.store.importing.arrays import FileArray, read_all
from scfae.store.importing.limits import ByteBudget
from scfae.store.importing.pickled import PickledArray
from scfae.store.importing.pickles import read_pickle

PROTOCOLS = st.integers(0, pickle.HIGHEST_PROTOCOL)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.tuples(inner, inner)
        | st.sets(st.text())
        | st.frozensets(st.text())
    ),
    max_leaves=8,
)


def read(folder: Path, data: bytes, max_bytes: int | None = None) -> Any:
    path = folder / "x.pkl"
    path.write_bytes(data)
    return read_pickle(path, ByteBudget(path, len(data), max_bytes))


@settings(max_examples=40)
@given(PLAIN, PROTOCOLS)
def test_plain_containers_are_what_pickle_reads(
    tmp_path_factory: pytest.TempPathFactory, value: Any, protocol: int
) -> None:
    assert read(tmp_path_factory.mktemp("p"), pickle.dumps(value, protocol)) == value


@given(
    hnp.arrays(
        hnp.floating_dtypes() | hnp.integer_dtypes() | hnp.boolean_dtypes(),
        hnp.array_shapes(min_dims=0, min_side=0),
    ),
    PROTOCOLS,
    st.booleans(),
)
@settings(max_examples=40)
def test_arrays_are_what_pickle_reads(
    tmp_path_factory: pytest.TempPathFactory, value: Any, protocol: int, is_fortran: bool
) -> None:
    value = np.asfortranarray(value) if is_fortran else value
    got = read(tmp_path_factory.mktemp("p"), pickle.dumps([value], protocol))[0]
    assert isinstance(got, PickledArray)
    assert got.array.shape == value.shape
    assert got.array.dtype == value.dtype
    if value.ndim:
        assert np.array_equal(read_all(got.array), value, equal_nan=value.dtype.kind == "f")


@pytest.mark.parametrize("protocol", range(6))
def test_large_arrays_stay_in_the_file_where_the_protocol_has_bytes(
    tmp_path: Path, protocol: int
) -> None:
    value = np.random.default_rng(0).normal(size=(1000, 20))
    got = read(tmp_path, pickle.dumps({"a": value, "b": [value]}, protocol))
    assert (read_all(got["a"].array) == value).all()
    assert got["b"][0].array is got["a"].array
    assert isinstance(got["a"].array, FileArray) == (protocol >= 3)


@pytest.mark.parametrize("protocol", range(6))
def test_numbers_text_and_objects_of_numpy_are_read(tmp_path: Path, protocol: int) -> None:
    value = {
        "number": np.float32(1.5),
        "text": np.array(["ab", "c"]),
        "objects": np.array(["ab", None, 3], dtype=object),
        "ordered": collections.OrderedDict(a=1),
        "empty": b"",
    }
    got = read(tmp_path, pickle.dumps(value, protocol))
    assert got["number"] == 1.5
    assert read_all(got["text"].array).tolist() == ["ab", "c"]
    assert got["objects"].objects == ["ab", None, 3]
    assert (got["ordered"], got["empty"]) == ({"a": 1}, b"")


def test_the_text_and_arrays_of_python_2_are_read(tmp_path: Path) -> None:
    # pickle.dumps({'a': numpy.arange(2.0), 'id': 'caf\xe9'}, 2) of Python 2.7
    data = (
        b"\x80\x02}q\x00(U\x01aq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\n"
        b"q\x03K\x00\x85q\x04U\x01bq\x05\x87q\x06Rq\x07(K\x01K\x02\x85q\x08cnumpy\ndtype\nq\tU\x02f8"
        b"q\nK\x00K\x01\x87q\x0bRq\x0c(K\x03U\x01<q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
        b"q\x0eb\x89U\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xf0?q\x0ftq\x10b"
        b"U\x02idq\x11U\x04caf\xe9q\x12u."
    )
    got = read(tmp_path, data)
    assert read_all(got["a"].array).tolist() == [0, 1]
    assert got["id"] == "caf\xe9"


class Reduces:
    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def __reduce__(self) -> Any:
        return self.parts


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "value",
    [
        pytest.param(Reduces(eval, ("1/0",)), id="eval"),
        pytest.param(Reduces(getattr, ("", "join")), id="getattr"),
        pytest.param(Reduces(np.load, ("/etc/passwd",)), id="numpy.load"),
        pytest.param(Reduces(np.frombuffer, (b"",)), id="numpy.frombuffer"),
        pytest.param(collections.Counter("ab"), id="Counter"),
        pytest.param(np.random.default_rng(0), id="Generator"),
        pytest.param(np.zeros(2, dtype=[("a", "f4")]), id="fields"),
        pytest.param(np.zeros(2, dtype="M8[s]"), id="dates"),
        pytest.param(np.ma.masked_array([1.0]), id="masked"),
        pytest.param(io.BytesIO(b"x"), id="BytesIO"),
        pytest.param(Path("x"), id="Path"),
        pytest.param(1j, id="complex"),
    ],
)
def test_anything_else_is_refused(tmp_path: Path, value: Any, protocol: int) -> None:
    if protocol < 2 and isinstance(value, io.BytesIO):
        pytest.skip("cannot be pickled so")
    with pytest.raises(ImportRefused, match=r"x\.pkl: is not a pickle of numpy arrays"):
        read(tmp_path, pickle.dumps(value, protocol))


def _array(shape: bytes, data: bytes, code: bytes = b"\x8c\x02f4") -> bytes:
    """Return a pickle of an array whose state is what it is told to be."""
    return (
        b"\x80\x04cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
        b"(K\x01" + shape + b"cnumpy\ndtype\n" + code + b"\x89\x88\x87R"
        b"(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89" + data + b"tb."
    )


def test_an_array_made_by_hand_is_read(tmp_path: Path) -> None:
    assert read_all(read(tmp_path, _array(b"K\x01\x85", b"C\x04\0\0\0\0")).array).tolist() == [0]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(_array(b"J\xff\xff\xff\x7f\x85", b"C\x04\0\0\0\0"), id="more than its bytes"),
        pytest.param(_array(b"J\xff\xff\xff\xff\x85", b"C\x00"), id="a negative shape"),
        pytest.param(_array(b"K\x05\x85", b"]", b"\x8c\x01O"), id="more objects than listed"),
        pytest.param(_array(b"K\x05\x85", b"C\x00", b"\x8c\x01O"), id="objects from bytes"),
        pytest.param(_array(b"K\x05\x85", b"C\x00", b"\x8c\x02V0"), id="nothing, five times"),
        pytest.param(_array(b"K\x05\x85", b"C\x00", b"\x8c\x02U0"), id="empty text"),
        pytest.param(b"\x80\x04cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R.", id="ndarray called"),
        pytest.param(b"\x80\x04cnumpy\ndtype\n\x8c\x0eU99999999999,f8\x85R.", id="dtype of many"),
        pytest.param(b"\x80\x04" + b")" + b"\x85" * 20_000 + b"K\x00s.", id="entries for a tuple"),
        pytest.param(b"\x80\x04}" + b")" + b"\x85" * 20_000 + b"K\x00s.", id="a deep key"),
        pytest.param(b"\x80\x04(" + b")" + b"\x85" * 20_000 + b"\x91.", id="a deep member"),
        pytest.param(b"\x80\x04]}\x8c\x01xK\x01sb.", id="a state for a list"),
        pytest.param(b"\x80\x04c__builtin__\ncompile\n.", id="a name alone"),
        pytest.param(b"\x80\x04\x82\x01.", id="an extension"),
        pytest.param(b"\x80\x04Pmodule\n.", id="a persistent id"),
        pytest.param(b"(ios\nsystem\n.", id="an instance"),
        pytest.param(b"\x80\x05\x97.", id="a buffer from outside"),
        pytest.param(b"I" + b"9" * 5000 + b"\n.", id="a long number"),
        pytest.param(b"\x80\x63.", id="a protocol to come"),
        pytest.param(b"", id="nothing"),
        pytest.param(b".", id="an empty stack"),
    ],
)
def test_programs_that_pickle_never_writes_are_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ImportRefused, match=r"x\.pkl: is not a pickle of numpy arrays"):
        read(tmp_path, data)


def test_text_that_is_encoded_again_and_again_counts(tmp_path: Path) -> None:
    text = b"X" + (100_000).to_bytes(4, "little") + b"x" * 100_000 + b"q\x00"
    again = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R0"
    with pytest.raises(ImportRefused, match="--max-bytes"):
        read(tmp_path, b"\x80\x02" + text + again * 1000 + b".", max_bytes=10 << 20)
