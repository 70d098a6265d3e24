"""Members of an uncompressed zip are found where `zipfile` finds them, or the zip is refused."""

import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.store.files import OpenFile
from scfae.store.stored_zip import StoredZip

NAMES = st.text("abc/.", min_size=1, max_size=12)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zips") / "a.zip"


def write(path: Path, members: dict[str, bytes], comment: bytes = b"", method: int = 0) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, contents in members.items():
            archive.writestr(name, contents)
        archive.comment = comment


@given(
    members=st.dictionaries(NAMES, st.binary(max_size=9000), min_size=1, max_size=60),
    comment=st.sampled_from([b"", b"a comment"]),
)
def test_every_member_is_found(path: Path, members: dict[str, bytes], comment: bytes) -> None:
    write(path, members, comment)
    archive = StoredZip(OpenFile(path))
    data = path.read_bytes()
    for name, contents in members.items():
        assert archive.read(name) == contents
        start, num_bytes = archive.place(name)
        assert data[start : start + num_bytes] == contents
    with pytest.raises(ValueError, match="holds no"):
        archive.place("nowhere")


@given(data=st.data())
def test_an_altered_archive_gives_the_same_bytes_or_an_error(
    path: Path, data: st.DataObject
) -> None:
    members = {"zarr.json": b"{}" * 20, "data/c/0": bytes(range(200))}
    write(path, members)
    altered = bytearray(path.read_bytes())
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(altered[: data.draw(st.integers(0, len(altered)))])
    try:
        archive = StoredZip(OpenFile(path))
        found = {name: archive.read(name) for name in members}
    except (ValueError, zipfile.BadZipFile, UnicodeDecodeError, NotImplementedError):
        return
    assert found == members


def test_a_compressed_archive_is_refused(path: Path) -> None:
    for comment in (b"", b"a comment"):
        write(path, {"a": b"a" * 100}, comment, method=zipfile.ZIP_DEFLATED)
        with pytest.raises(ValueError, match="compressed"):
            StoredZip(OpenFile(path))
