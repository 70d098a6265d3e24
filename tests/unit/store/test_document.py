"""A sealed document is its content, one way only, or it is refused."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.store.config import canonical_json, digest
from scfae.store.document import read_document, seal, unseal, write_document
from scfae.store.errors import CorruptShard

PATH = Path("column.json")
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
bodies = st.dictionaries(st.text(min_size=1), values, min_size=1, max_size=5).filter(
    lambda body: "checksum" not in body
)


@given(bodies)
def test_what_was_sealed_comes_back(body: dict[str, object]) -> None:
    assert unseal(seal(body), PATH) == body


@given(bodies)
def test_a_sealed_document_is_json_whose_last_key_is_its_checksum(body: dict[str, object]) -> None:
    data = seal(body)
    parsed = json.loads(data)
    assert list(parsed) == [*sorted(body), "checksum"]
    text = data[: data.rindex(b'"checksum"')]
    assert parsed["checksum"] == hashlib.sha256(text).hexdigest()


def test_the_same_content_is_the_same_bytes_whatever_the_order_of_keys() -> None:
    assert seal({"a": 1, "b": {"x": 1, "y": 2}}) == seal({"b": {"y": 2, "x": 1}, "a": 1})


@given(bodies, st.data())
def test_an_altered_byte_is_refused_with_the_path(
    body: dict[str, object], data: st.DataObject
) -> None:
    altered = bytearray(seal(body))
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptShard, match=r"column\.json is damaged"):
        unseal(bytes(altered), PATH)


@pytest.mark.parametrize("size", [0, 1, 60, 90, -1])
def test_a_truncated_document_is_refused(size: int) -> None:
    with pytest.raises(CorruptShard, match="its own checksum"):
        unseal(seal({"name": "ge2e", "dim": 256})[:size], PATH)


def test_a_document_goes_to_disk_and_back(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_document(path, {"name": "ä\u2028", "dim": 2})
    assert read_document(path) == {"name": "ä\u2028", "dim": 2}
    write_document(path, {"dim": 3})
    assert read_document(path) == {"dim": 3}
    with pytest.raises(FileNotFoundError):
        read_document(tmp_path / "b.json")


def test_canonical_json_has_one_spelling_and_no_nan() -> None:
    assert canonical_json({"b": [1, 2.0], "a": "é"}) == '{"a":"é","b":[1,2.0]}'.encode()
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 2, "b": 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))
