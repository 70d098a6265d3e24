"""webdataset, joined: one tar a shard with all columns of a sample side by side.

For each sample `000000017.KEY.npy` with the rows `[T, D]` and `000000017.KEY.times.npy` with the
seconds `[T, 2]` of every column, then `000000017.json` with id, split, group, labels and each
column's status and reason. A sample without a modality has T = 0, so that every sample of every tar
has the same members. The `webdataset` package reads the tars as they are.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ...atomic import atomic_file
from ...errors import ConfigError
from ...receipt import shard_file
from ...samples import SampleTable
from ..fates import ShardFates
from ..manifest import ExportedColumn, Manifest
from ..pieces import Piece
from ..source import ShardRows, Source
from .npy import check_npy_header, npy_header

JOINED_FOLDER: Final = "joined"
_FLOAT64: Final = np.dtype(np.float64)


class JoinedTar:
    """A tar a shard with all columns; see the module."""

    def pieces(self, source: Source) -> Iterator[Piece]:
        """Yield a tar for each shard."""
        members = [name for one in source.columns for name in (one.key, f"{one.key}.times")]
        for name in members:
            if members.count(name) > 1:
                raise ConfigError(
                    f"columns: two members of each sample would be called '{name}.npy'; export "
                    "without the column of that name."
                )
        for shard in source.shards():
            yield Piece(_file(shard), source.mark(source.columns, [shard]), _writer(source, shard))

    def files(self, manifest: Manifest, column: ExportedColumn) -> list[str]:
        """Return all tars: each holds every column."""
        return [_file(shard) for shard in range(manifest.num_shards)]

    @contextmanager
    def open(
        self, root: Path, manifest: Manifest, column: ExportedColumn, *, samples: SampleTable
    ) -> Iterator["JoinedTarReader"]:
        """Open a column; see `ExportForm.open`."""
        yield JoinedTarReader(root, column, samples=samples)


class JoinedTarReader:
    """Reads one column out of joined tars. Nothing is ever unpacked to a file.

    Args:
        root: The export's folder.
        column: Which column.
        samples: The export's sample table.
    """

    def __init__(self, root: Path, column: ExportedColumn, *, samples: SampleTable) -> None:
        self._root = root
        self._samples = samples
        self._key = column.key
        self._dtype = np.dtype(column.info.dtype)
        self._dim = column.info.dim

    def read(self, fates: ShardFates) -> ShardRows:
        """Return the rows of a shard."""
        offsets = np.concatenate([[0], np.cumsum(fates.lengths)]).astype(np.int64)
        data = np.empty((int(offsets[-1]), self._dim), dtype=self._dtype)
        times = np.empty((int(offsets[-1]), 2), dtype=_FLOAT64)
        wanted: dict[str, npt.NDArray[Any]] = {}
        for place, index in enumerate(self._samples.rows_of(fates.shard)):
            part = slice(int(offsets[place]), int(offsets[place + 1]))
            wanted[f"{_key(index)}.{self._key}.npy"] = data[part]
            wanted[f"{_key(index)}.{self._key}.times.npy"] = times[part]
        with tarfile.open(self._root / _file(fates.shard), "r:") as archive:
            for member in archive:
                out = wanted.pop(member.name, None)
                if out is not None:
                    _read(archive, member, out)
        if wanted:
            raise ValueError(f"it has no member {next(iter(wanted))}")
        return ShardRows(data, offsets, times)


def _file(shard: int) -> str:
    return f"{JOINED_FOLDER}/{shard_file(shard, 'webdataset')}"


def _key(index: int) -> str:
    return f"{index:09d}"


def _writer(source: Source, shard: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        samples, here = source.samples, source.samples.rows_of(shard)
        rows = {one.key: source.rows(one, shard) for one in source.columns}
        told = {one.key: source.told(one, shard) for one in source.columns}
        names = {one.key: one.info.name for one in source.columns}
        with (
            atomic_file(path) as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive,
        ):
            for place, index in enumerate(here):
                key = _key(index)
                for name, (data, offsets, times) in rows.items():
                    part = slice(int(offsets[place]), int(offsets[place + 1]))
                    _add(archive, f"{key}.{name}.npy", _npy(data[part]))
                    _add(archive, f"{key}.{name}.times.npy", _npy(times[part]))
                document = {
                    "id": str(samples.ids[index]),
                    "split": samples.split[index],
                    "group": samples.group[index],
                    "labels": {label: values[index] for label, values in source.labels.items()},
                    "columns": {
                        name: {
                            "column": names[name],
                            "status": status[place],
                            "reason": reasons[place],
                        }
                        for name, (status, reasons) in told.items()
                    },
                }
                text = json.dumps(document, sort_keys=True, ensure_ascii=False)
                _add(archive, f"{key}.json", text.encode())

    return write


def _npy(array: npt.NDArray[Any]) -> bytes:
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return npy_header(array.dtype, array.shape) + little.tobytes()


def _add(archive: tarfile.TarFile, name: str, contents: bytes) -> None:
    member = tarfile.TarInfo(name)  # its time is 0 and its owner nobody: the same bytes every time
    member.size = len(contents)
    archive.addfile(member, io.BytesIO(contents))


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo, out: npt.NDArray[Any]) -> None:
    if not member.isreg() or member.issparse():
        raise ValueError(f"its member {member.name} is no plain file")
    file = archive.extractfile(member)
    if file is None:
        raise ValueError(f"its member {member.name} is no plain file")
    check_npy_header(file, out.dtype, out.shape)
    contents = file.read(out.nbytes + 1)
    if len(contents) != out.nbytes:
        raise ValueError(f"its member {member.name} is of another size than its header says")
    out[...] = np.frombuffer(contents, dtype=out.dtype).reshape(out.shape)
