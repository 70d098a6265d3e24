"""A folder with a file a sample: `ID.npy`, `ID.npz` or `ID.pt`, at any depth.

The id is the path below the folder without its suffix, so GCNet's folders of `UTTERANCE.npy` come
in as they are.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from ..atomic import sha256_file
from ..errors import ConfigError, ImportRefused, ManifestError
from ..files import OpenFile
from ..sample_row import SampleRow
from .arrays import Array, read_all
from .limits import ByteBudget, check_id, regular_file
from .npy import open_npy
from .npz import Npz
from .source import Rows, SameDim, check_times, rows_shape
from .torch_file import read_tensors

SUFFIXES: Final = (".npy", ".npz", ".pt")
_TIMES: Final = "times"


@dataclass(frozen=True, slots=True)
class _File:
    """One sample's file, as it was when its digest was taken."""

    relative: str
    num_bytes: int
    modified_ns: int
    sha256: str


class FolderSource:
    """A folder of files as a source; see `Source`.

    Args:
        folder: The folder.
        key: Which array of a `.npz` or entry of a `.pt` holds the rows; `data` if not given, or
            the only one.
        max_bytes: What one compressed file may unpack to; None is 20 times its size, at least
            1 GiB.

    Raises:
        ManifestError: If it holds no features.
        ConfigError: If a file does not have the key.
        ImportRefused: If one of its files cannot be taken.
    """

    kind = "folder"
    labels: Mapping[str, SampleRow]

    def __init__(self, folder: Path, *, key: str | None, max_bytes: int | None) -> None:
        self._folder = folder
        self._key = key
        self._max_bytes = max_bytes
        self.labels = {}
        self.notices: list[str] = []
        self._files: dict[str, _File] = {}
        same = SameDim()
        hasher = hashlib.sha256()
        others: list[str] = []
        for relative in sorted(_walk(folder)):
            name, suffix = os.path.splitext(relative)
            if suffix.lower() not in SUFFIXES:
                others.append(relative)
                continue
            file = self._check(check_id(name, folder), relative, same)
            hasher.update(f"{relative}\0{file.sha256}\n".encode())
        if not self._files:
            raise ManifestError(
                f"{folder}: no features in this folder; files that count: {' '.join(SUFFIXES)}."
            )
        if others:
            self.notices.append(
                f"{folder}: {len(others)} other files were left, e.g. {others[0]!a}"
            )
        self.sha256 = hasher.hexdigest()
        self.ids = list(self._files)
        self.dim: int = same.dim
        self.dtype: np.dtype[Any] = same.dtype

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing: every file is closed after it was read."""

    def sample(self, name: str) -> Rows:
        """Return a sample's rows and times; see `Source`."""
        file = self._files[name]
        path = self._folder / file.relative
        status = regular_file(path)
        if (status.st_size, status.st_mtime_ns) != (file.num_bytes, file.modified_ns):
            raise ImportRefused(f"{path}: changed while it was imported; import again.")
        data, times = self._arrays(path, file.num_bytes)
        rows = read_all(data)
        return Rows(
            rows[None] if rows.ndim == 1 else rows, None if times is None else read_all(times)
        )

    def sample_sha256(self, name: str) -> str | None:
        """Return the digest of the sample's file."""
        return self._files[name].sha256

    def _check(self, name: str, relative: str, same: SameDim) -> _File:
        path = self._folder / relative
        if name in self._files:
            raise ImportRefused(
                f"{path}: the id '{name}' is that of {self._files[name].relative} too; ids must "
                "differ."
            )
        status = regular_file(path)
        data, times = self._arrays(path, status.st_size)
        num_rows, dim = rows_shape(data.shape, str(path))
        same.add(str(path), dim, data.dtype)
        if times is not None:
            check_times(times, num_rows, str(path))
        file = _File(relative, status.st_size, status.st_mtime_ns, sha256_file(path))
        self._files[name] = file
        return file

    def _arrays(self, path: Path, num_bytes: int) -> tuple[Array, Array | None]:
        """Return the rows of one file, and their times if it holds any."""
        suffix = path.suffix.lower()
        if suffix == ".npy":
            return open_npy(OpenFile(path), path), None
        budget = ByteBudget(path, num_bytes, self._max_bytes)
        if suffix == ".npz":
            archive = Npz(OpenFile(path), path, budget)
            arrays: dict[str, Array] = {name: archive.array(name) for name in archive.names}
        else:
            arrays = dict(read_tensors(path, budget))
        return arrays[self._chosen(path, list(arrays))], arrays.get(_TIMES)

    def _chosen(self, path: Path, names: list[str]) -> str:
        if self._key is not None:
            if self._key not in names:
                shown = ", ".join(map(ascii, names[:10])) or "nothing"
                raise ConfigError(f"--key: {path} has no '{self._key}'; it has {shown}.")
            return self._key
        if "data" in names:
            return "data"
        rest = [name for name in names if name != _TIMES]
        if len(rest) != 1:
            shown = ", ".join(map(ascii, rest[:10])) or "nothing"
            raise ConfigError(f"--key: say which array of {path} holds the rows; it has {shown}.")
        return rest[0]


def _walk(folder: Path, prefix: str = "") -> Iterator[str]:
    """Yield the files below a folder as paths relative to it; hidden ones are passed over.

    Raises:
        ImportRefused: If there is a symbolic link.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            relative = f"{prefix}{entry.name}"
            if entry.is_symlink():
                raise ImportRefused(
                    f"{folder}: {entry.name!a} is a symbolic link; put what it leads to in "
                    "its place, or import the folder that holds it."
                )
            if entry.is_dir():
                yield from _walk(folder / entry.name, f"{relative}/")
            else:
                yield relative
