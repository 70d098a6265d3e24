"""Shards of compressed chunks and shards that are folders: opened by zarr, and refused."""

import errno
import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scfae.store.atomic import sha256_file, size_of
from scfae.store.container import (
    SUFFIXES,
    Format,
    ShardContents,
    container,
    open_shard,
    write_shard,
)
from scfae.store.stored_zip import StoredZip

from .shard_contents import (
    DATA,
    OFFSETS,
    TIMES,
    arrays_by_zarr,
    locate,
    write,
)


@pytest.mark.parametrize("form", ["zarr-zstd", "zarr-dir"])
def test_zarr_opens_a_folder_and_compressed_chunks(tmp_path: Path, form: Format) -> None:
    many = np.random.default_rng(1).normal(size=(5000, 30)).astype("float16")
    offsets = np.arange(0, 5001, 50)
    times = np.stack([np.arange(5000), np.arange(5000) + 0.5], axis=1)
    for contents in (ShardContents(DATA, OFFSETS, TIMES), ShardContents(many, offsets, times)):
        path = tmp_path / f"shard{SUFFIXES[form]}"
        write_shard(path, contents, form=form)
        arrays = arrays_by_zarr(path)
        assert arrays["data"].dtype == contents.data.dtype
        assert arrays["data"].tobytes() == contents.data.tobytes()
        assert arrays["offsets"].tolist() == contents.offsets.tolist()
        assert arrays["times"].tolist() == contents.times.tolist()


def test_a_sample_of_a_compressed_shard_decompresses_only_the_chunks_it_lies_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(1).normal(size=(10_000, 64)).astype("float32")  # 40 chunks
    offsets = np.arange(0, 10_001, 100)
    path = tmp_path / "shard.zarr-zstd.zip"
    write_shard(path, ShardContents(rows, offsets, np.zeros((10_000, 2))), form="zarr-zstd")
    file = open_shard(path)
    layout = container("zarr-zstd").locate(file)
    asked: list[str] = []
    read = StoredZip.read

    def noting(archive: StoredZip, name: str) -> bytes:
        asked.append(name)
        return read(archive, name)

    monkeypatch.setattr(StoredZip, "read", noting)
    out = np.empty((100, 64), dtype="float32")
    assert file.read_into(out, int(layout.rows_at[5]))  # rows 500 to 600, 256 a chunk
    assert (out == rows[500:600]).all()
    assert asked == ["data/c/1/0", "data/c/2/0"]
    buffers = [np.empty((100, 64), dtype="float32") for _ in range(10)]
    views = [buffer.view(np.uint8).reshape(-1).data for buffer in buffers]
    assert file.read_into_many(views, int(layout.rows_at[90]))
    assert (np.concatenate(buffers) == rows[9000:]).all()
    assert len(asked) == len(set(asked)) == 7
    assert not file.read_into(out, int(layout.rows_at[99]) + 256)


def zstd_zip(path: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """Write a compressed shard again, with changed members."""
    write(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in members.items():
            archive.writestr(name, contents)
    return path


def described_as(name: str, old: str, new: str) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        text = members[f"{name}/zarr.json"].decode()
        assert old in text
        members[f"{name}/zarr.json"] = text.replace(old, new).encode()

    return change


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (described_as("data", '"zstd"', '"gzip"'), "data is not cut into zstd chunks"),
        (described_as("data", "[9, 4]}", "[9, 2]}"), "data is not cut into zstd chunks"),
        (described_as("data", '"chunk_shape": [9, 4]', '"chunk_shape": [0, 4]'), "not cut into"),
        (described_as("data", '"chunk_shape": [9', f'"chunk_shape": [{1 << 40}'), "are of"),
        (described_as("data", '"shape": [9', f'"shape": [{1 << 20}'), "of data are not there"),
        (described_as("times", '"shape": [9', '"shape": [8'), "times are"),
        (described_as("offsets", '"int64"', '"int32"'), "offsets are int32"),
        (lambda members: members.pop("data/c/0/0"), "chunks of data are not there"),
        (lambda members: members.update({"offsets/c/0": b"no zstd"}), "ends inside offsets"),
    ],
    ids=range(9),
)
def test_a_compressed_shard_that_lies_is_refused(
    tmp_path: Path, change: Callable[[dict[str, bytes]], None], what: str
) -> None:
    with pytest.raises(ValueError, match=what):
        locate(zstd_zip(tmp_path / "shard.zarr-zstd.zip", change))


def test_a_file_of_a_folder_that_has_been_replaced_is_not_read(tmp_path: Path) -> None:
    path = write(tmp_path / "shard.zarr")
    file = open_shard(path)
    layout = container("zarr-dir").locate(file)
    rows, times = np.empty((3, 4), dtype="float16"), np.empty((3, 2))
    assert file.read_into(times, int(layout.times_at[0]))
    write(path)
    assert file.read_into(rows, int(layout.rows_at[0]))  # of the folder that is still open
    assert not file.read_into(times, int(layout.times_at[0]))


def test_too_many_open_files_are_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = open_shard(write(tmp_path / "shard.zarr"))
    times_at = int(container("zarr-dir").locate(file).times_at[0])

    def refuse(*args: object, **more: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match="Too many open files"):
        file.read_into(np.empty((3, 2)), times_at)


def test_the_digest_of_a_folder_is_that_of_the_names_and_bytes_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "x" / "b").mkdir(parents=True)
    (tmp_path / "x" / "a").write_bytes(b"1")
    (tmp_path / "x" / "b" / "c").write_bytes(b"23")
    one, other = (hashlib.sha256(data).hexdigest() for data in (b"1", b"23"))
    wanted = hashlib.sha256(f"a {one}\nb/c {other}\n".encode()).hexdigest()
    assert (sha256_file(tmp_path / "x"), size_of(tmp_path / "x")) == (wanted, 3)
    (tmp_path / "x" / "link").symlink_to("a")
    assert sha256_file(tmp_path / "x") != wanted
