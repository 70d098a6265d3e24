"""Shards as tars that the `webdataset` package iterates over, with an index for random access.

A sample's members are adjacent: `<key>.<modality>.npy` (its rows `[T, D]`), `<key>.times.npy`
(`[T, 2]`) and `<key>.json` (id, status, reason, rows, dim), where the key is the sample's place in
the store's table in nine digits. A sample without rows has the json alone. The first member, by its
name one that webdataset leaves out, says where each sample's bytes lie, so that opening a shard is
one read and not one for each member. Plain USTAR without times or owners: the same features give
the same bytes. Nothing is ever extracted to disk.

Shapes: n samples of the shard, T rows of one, D features.
"""

import io
import itertools
import json
import re
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .atomic import atomic_file
from .container import Layout, ShardContents, little_endian
from .document import seal, unseal
from .files import FileWindow, OpenFile

INDEX: Final = "__index__"
BLOCK_BYTES: Final = tarfile.BLOCKSIZE
KEY_DIGITS: Final = 9
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_MAX_NAME = 80  # of the 100 bytes that a tar's header has


class WebDataset:
    """The format of people who stream tars; see the module."""

    def write(self, path: Path, contents: ShardContents) -> None:
        """Write a shard atomically."""
        samples = [_members(contents, i) for i in range(len(contents.offsets) - 1)]
        index = _Member(INDEX, seal(_index(contents, samples)))
        with (
            atomic_file(path) as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for member in (index, *itertools.chain.from_iterable(samples)):
                _add(archive, member)

    def open(self, path: Path) -> OpenFile:
        """Open a shard's file for reading."""
        return OpenFile(path)

    def locate(self, file: OpenFile) -> Layout:
        """Read the index, which lies in front."""
        window = FileWindow(file)
        first = tarfile.TarInfo.frombuf(window.read(BLOCK_BYTES), "utf-8", "strict")
        if first.name != INDEX or not first.isreg():
            raise ValueError(f"its first member is {first.name!r}, not {INDEX}")
        if first.size > file.num_bytes:
            raise ValueError("it ends inside its index")
        index = unseal(window.read(first.size), Path(INDEX))
        lengths = np.array(index["lengths"], dtype=np.int64)
        start = BLOCK_BYTES + _padded(first.size)
        rows_at, times_at = (
            np.array(index[name], dtype=np.int64) + start for name in ("rows_at", "times_at")
        )
        if not len(lengths) == len(rows_at) == len(times_at):
            raise ValueError("the lists of its index differ in length")
        dtype = np.dtype(index["dtype"]).newbyteorder("<")
        return Layout(dtype, int(index["dim"]), lengths, rows_at, times_at)


class _Member(NamedTuple):
    """A file in the tar: `head` and `body`, one after the other."""

    name: str
    head: bytes
    body: npt.NDArray[Any] | None = None

    @property
    def num_bytes(self) -> int:
        return len(self.head) + (0 if self.body is None else self.body.nbytes)


def _members(contents: ShardContents, i: int) -> list[_Member]:
    """Return the members of the shard's sample `i`; if it has rows, these and their times first."""
    key = f"{contents.first + i:0{KEY_DIGITS}d}"
    start, end = int(contents.offsets[i]), int(contents.offsets[i + 1])
    arrays = {_safe(contents.modality): contents.data, "times": contents.times}
    facts = {
        "id": contents.ids[i] if contents.ids else None,
        "status": contents.status[i] if contents.status else "ok",
        "reason": contents.reasons.get(i),
        "rows": end - start,
        "dim": contents.data.shape[1],
    }
    members = [
        _npy(f"{key}.{name}.npy", array[start:end]) for name, array in arrays.items() if end > start
    ]
    return [*members, _Member(f"{key}.json", json.dumps(facts).encode())]


def _index(contents: ShardContents, samples: Sequence[Sequence[_Member]]) -> dict[str, Any]:
    """Return where the samples' bytes lie, counted from the end of the index itself."""
    rows_at, times_at = [0] * len(samples), [0] * len(samples)
    position = 0
    for i, members in enumerate(samples):
        arrays = iter((rows_at, times_at))
        for member in members:
            if member.body is not None:
                next(arrays)[i] = position + BLOCK_BYTES + len(member.head)
            position += BLOCK_BYTES + _padded(member.num_bytes)
    return {
        "dtype": contents.data.dtype.name,
        "dim": contents.data.shape[1],
        "lengths": np.diff(contents.offsets).tolist(),
        "rows_at": rows_at,
        "times_at": times_at,
    }


def _npy(name: str, array: npt.NDArray[Any]) -> _Member:
    little = little_endian(array)
    head = io.BytesIO()
    # Version 1 of the format pads its header so that the array begins at a multiple of 64 bytes.
    np.lib.format.write_array_header_1_0(head, np.lib.format.header_data_from_array_1_0(little))
    return _Member(name, head.getvalue(), little)


def _add(archive: tarfile.TarFile, member: _Member) -> None:
    info = tarfile.TarInfo(member.name)  # without times and owners
    info.size = member.num_bytes
    body = b"" if member.body is None else member.body.tobytes()
    archive.addfile(info, io.BytesIO(member.head + body))


def _padded(num_bytes: int) -> int:
    return -(-num_bytes // BLOCK_BYTES) * BLOCK_BYTES


def _safe(modality: str) -> str:
    """Return a modality as a part of a member's name."""
    name = _UNSAFE.sub("-", modality)[:_MAX_NAME] or "data"
    return "data" if name.lower() == "times" else name
