"""MATLAB files: version 5 by scipy, version 7.3, which is HDF5, by h5py.

A version 5 file is read whole, since scipy cannot read a part of a variable; its size unpacked is
measured first and counts against the byte limit.
"""

import struct
import zlib
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ..atomic import sha256_file
from ..errors import ConfigError, ImportRefused
from .archive import ArchiveSource
from .arrays import Array, MemoryArray
from .limits import ByteBudget, regular_file
from .source import Source

_HEADER_BYTES: Final = 128
_COMPRESSED: Final = 15
_NUMBERS: Final = frozenset(
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
) | {"double", "single", "logical"}
_BLOCK_BYTES = 1 << 20


class Mat5:
    """The variables of a MATLAB 5 file.

    Args:
        path: The file.
        budget: What its compressed variables may unpack to.

    Raises:
        ImportRefused: If it is damaged, or unpacks to more than the budget.
    """

    form = "mat"

    def __init__(self, path: Path, budget: ByteBudget) -> None:
        try:
            from scipy.io import loadmat, whosmat
        except ImportError:
            raise ConfigError(
                f"{path}: MATLAB files need scipy; install it with: pip install scipy."
            ) from None
        self.path = path
        _count_unpacked(path, budget)
        try:
            kinds = {name: kind for name, _, kind in whosmat(str(path))}
            wanted = [name for name, kind in kinds.items() if self._is_wanted(name, kind)]
            found = loadmat(str(path), variable_names=wanted) if wanted else {}
        except ImportRefused:
            raise
        except Exception as error:  # hostile files make the parser raise a dozen kinds
            raise ImportRefused(f"{path}: is not a readable MATLAB file ({error}).") from None
        self._values: dict[str, npt.NDArray[Any]] = {
            name: _names(found[name], path) if name == "ids" else np.asarray(found[name])
            for name in wanted
        }

    @property
    def names(self) -> list[str]:
        """Names of the variables."""
        return list(self._values)

    def array(self, name: str, *, often: bool = False) -> Array:
        """Return a variable; `often` makes no difference."""
        return MemoryArray(self._values[name])

    def close(self) -> None:
        """Do nothing: the file is closed already."""

    def _is_wanted(self, name: str, kind: str) -> bool:
        if kind in _NUMBERS or (name == "ids" and kind in ("cell", "char")):
            return True
        raise ImportRefused(
            f"{self.path}: the variable {name!a} is of class {kind}; features are arrays of "
            "numbers, and only `ids` may be text."
        )


def open_mat(path: Path, *, key: str | None, max_bytes: int | None) -> Source:
    """Return one `.mat` of many samples as a source; raises as `open_source`."""
    import h5py

    from .hdf5 import open_hdf5

    num_bytes = regular_file(path).st_size
    if h5py.is_hdf5(path):
        return open_hdf5(path, key=key, max_bytes=max_bytes)
    archive = Mat5(path, ByteBudget(path, num_bytes, max_bytes))
    return ArchiveSource(archive, key=key, sha256=sha256_file(path))


def _count_unpacked(path: Path, budget: ByteBudget) -> None:
    """Unpack every compressed variable without keeping it, and count its bytes."""
    with path.open("rb") as file:
        head = file.read(_HEADER_BYTES)
        order = {b"IM": "<", b"MI": ">"}.get(head[126:128])
        if order is None or struct.unpack(f"{order}H", head[124:126])[0] != 0x0100:
            raise ImportRefused(
                f"{path}: is not a MATLAB file of version 5 or 7.3; save it again with -v7.3."
            )
        while tag := file.read(8):
            if len(tag) < 8:
                raise ImportRefused(f"{path}: ends inside a variable.")
            kind, num_bytes = struct.unpack(f"{order}II", tag)
            end = file.tell() + num_bytes
            if end > path.stat().st_size:
                raise ImportRefused(f"{path}: ends inside a variable.")
            if kind == _COMPRESSED:
                _count_one(file.read, num_bytes, path, budget)
            file.seek(end)


def _count_one(read: Any, num_bytes: int, path: Path, budget: ByteBudget) -> None:
    unpacker = zlib.decompressobj()
    try:
        while num_bytes > 0 and not unpacker.eof:
            packed = read(min(num_bytes, _BLOCK_BYTES))
            num_bytes -= len(packed)
            while packed:
                budget.spend(
                    len(unpacker.decompress(packed, _BLOCK_BYTES)), "a compressed variable"
                )
                packed = unpacker.unconsumed_tail
    except zlib.error as error:
        raise ImportRefused(f"{path}: a variable cannot be unpacked ({error}).") from None


def _names(values: Any, path: Path) -> npt.NDArray[Any]:
    """Return MATLAB's cell array of text, or matrix of characters, as a list of names."""
    if values.dtype.kind != "O":
        stripped = [str(one).rstrip() for one in values.reshape(-1)]
        return np.array(stripped, dtype=np.str_) if values.dtype.kind == "U" else values
    names = []
    for cell in values.reshape(-1):
        text = np.asarray(cell)
        if text.size != 1 or text.dtype.kind != "U":
            raise ImportRefused(f"{path}: a cell of ids holds {text.dtype} {list(text.shape)}.")
        names.append(str(text.reshape(-1)[0]))
    return np.array(names, dtype=np.str_)
