"""HDF5 files, also those of MATLAB 7.3: only what lies in the file itself is read.

HDF5 can point elsewhere in four ways: soft links, external links, virtual data sets and external
storage. The first is refused since it can make a circle, the others since they name files of the
reader's machine.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ..atomic import sha256_file
from ..errors import ConfigError, ImportRefused
from .archive import ArchiveSource
from .arrays import Array, MemoryArray
from .limits import ByteBudget, regular_file
from .source import Source

if TYPE_CHECKING:
    import h5py

_MATLAB_OWN: Final = ("#refs#", "#subsystem#")
_MAX_DEPTH = 32
_MAX_NAMES = 10_000


class Hdf5Array:
    """A data set, read in parts.

    Args:
        dataset: The data set.
        path: The file, for messages.
        is_matlab: MATLAB wrote it, whose first axis is HDF5's last.
    """

    def __init__(self, dataset: "h5py.Dataset", path: Path, *, is_matlab: bool = False) -> None:
        self._dataset = dataset
        self._path = path
        self._is_matlab = is_matlab
        shape = tuple(int(n) for n in dataset.shape)
        self.shape = shape[::-1] if is_matlab else shape
        self.dtype: np.dtype[Any] = dataset.dtype

    def read(self, first: int, last: int) -> npt.NDArray[Any]:
        """Return entries `first` to `last` of the first axis.

        Raises:
            ImportRefused: If the file is damaged.
        """
        try:
            if self._is_matlab:
                return np.asarray(self._dataset[..., first:last]).T
            return np.asarray(self._dataset[first:last])
        except Exception as error:  # HDF5 reports damage as OSError, RuntimeError and others
            raise ImportRefused(
                f"{self._path}, {self._dataset.name!a}: cannot be read ({error})."
            ) from None


class Hdf5:
    """The arrays of an open HDF5 file.

    Args:
        path: The file.
        budget: What its data sets may unpack to.

    Raises:
        ImportRefused: If it is no HDF5 file, or anything in it leads out of it.
    """

    def __init__(self, path: Path, budget: ByteBudget) -> None:
        import h5py

        self.path = path
        self._budget = budget
        self._file_bytes = path.stat().st_size
        try:
            self.file = h5py.File(path, "r", locking="best-effort")
        except OSError as error:
            raise ImportRefused(f"{path}: is not a readable HDF5 file ({error}).") from None
        self._datasets: dict[str, h5py.Dataset] = {}
        self._seen: set[Any] = set()
        try:
            self.walk(self.file, "")
            datasets = self._datasets.values()
            self._is_matlab = any("MATLAB_class" in one.attrs for one in datasets)
        except ImportRefused:
            self.close()
            raise
        except Exception as error:  # what damage makes of HDF5
            self.close()
            raise ImportRefused(f"{path}: is a damaged HDF5 file ({error}).") from None
        self.form = "mat" if self._is_matlab else "hdf5"

    @property
    def names(self) -> list[str]:
        """Paths of the data sets below the root, without the first slash."""
        return list(self._datasets)

    def array(self, name: str, *, often: bool = False) -> Array:
        """Return a data set; `often` makes no difference."""
        import h5py

        dataset = self._datasets[name]
        where = f"{self.path}, {name!a}"
        if dataset.shape is None:
            raise ImportRefused(f"{where}: holds nothing.")
        if h5py.check_ref_dtype(dataset.dtype) is h5py.Reference:
            return MemoryArray(self._matlab_names(dataset, where))
        if dataset.dtype.kind == "O" and h5py.check_string_dtype(dataset.dtype) is None:
            raise ImportRefused(f"{where}: holds lists of different lengths, not numbers.")
        return Hdf5Array(dataset, self.path, is_matlab=self._is_matlab)

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def walk(self, group: "h5py.Group", prefix: str, depth: int = 0) -> None:
        """Find and check every data set below a group."""
        import h5py

        place = h5py.h5o.get_info(group.id)
        if (place.fileno, place.addr) in self._seen or depth > _MAX_DEPTH:
            raise ImportRefused(f"{self.path}: the group {group.name!a} is in a circle.")
        self._seen.add((place.fileno, place.addr))
        for name in group:
            full = f"{prefix}{name}"
            if not prefix and name in _MATLAB_OWN:
                continue
            link = group.get(name, getlink=True)
            if not isinstance(link, h5py.HardLink):
                self._refuse_link(full, link)
            entry = group[name]
            if isinstance(entry, h5py.Group):
                self.walk(entry, f"{full}/", depth + 1)
            elif isinstance(entry, h5py.Dataset):
                self._check(entry, full)
                self._datasets[full] = entry

    def _refuse_link(self, name: str, link: Any) -> None:
        import h5py

        if isinstance(link, h5py.ExternalLink):
            raise ImportRefused(
                f"{self.path}: {name!a} is a link to another file, {link.filename!a}; "
                "only what is in the file itself is read."
            )
        raise ImportRefused(f"{self.path}: {name!a} is a link, not data; copy the data there.")

    def _check(self, dataset: "h5py.Dataset", name: str) -> None:
        where = f"{self.path}: {name!a}"
        if dataset.is_virtual or dataset.external:
            raise ImportRefused(
                f"{where} takes its data from other files; only what is in the file itself is read."
            )
        if dataset.shape is None:
            return
        declared = math.prod(int(n) for n in dataset.shape) * dataset.dtype.itemsize
        chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
        packed = min(int(dataset.id.get_storage_size()), self._file_bytes)
        if max(declared, chunk) > packed:
            self._budget.spend(max(declared, chunk) - packed, ascii(name))

    def _matlab_names(self, dataset: "h5py.Dataset", where: str) -> npt.NDArray[Any]:
        """Return a cell array of text: references to arrays of UTF-16 units."""
        if dataset.size > _MAX_NAMES * 1000:
            raise ImportRefused(f"{where}: has {dataset.size} names.")
        names = []
        for reference in dataset[()].T.reshape(-1):
            try:
                units = self.file[reference]
                if units.dtype != np.uint16 or units.size > _MAX_NAMES or units.external:
                    raise ValueError("not text")
                names.append(units[()].T.reshape(-1).astype("<u2").tobytes().decode("utf-16-le"))
            except Exception as error:  # a hostile reference may lead to anything
                raise ImportRefused(f"{where}: a cell holds no text ({error}).") from None
        return np.array(names, dtype=np.str_)


def open_tried(path: Path, max_bytes: int | None) -> Hdf5:
    """Return the arrays of a file that a child process has read before.

    Raises:
        ImportRefused: If it is no HDF5 file that ends, or anything in it leads out of it.
    """
    from .trial import try_reading

    num_bytes = regular_file(path).st_size
    try_reading(path, max_bytes=max_bytes)
    return Hdf5(path, ByteBudget(path, num_bytes, max_bytes))


def open_hdf5(path: Path, *, key: str | None, max_bytes: int | None) -> Source:
    """Return one HDF5 file of many samples as a source; raises as `open_source`."""
    archive = open_tried(path, max_bytes)
    if key is not None and key not in archive.names:
        inside = [name for name in archive.names if name.startswith(f"{key.strip('/')}/")]
        if not inside:
            archive.close()
            shown = ", ".join(ascii(name) for name in archive.names[:10]) or "nothing"
            raise ConfigError(f"--key: {path} has no data set or group '{key}'; it has {shown}.")
        return ArchiveSource(
            _Below(archive, f"{key.strip('/')}/"), key=None, sha256=sha256_file(path)
        )
    return ArchiveSource(archive, key=key, sha256=sha256_file(path))


class _Below:
    """The part of an archive below one group."""

    def __init__(self, archive: Hdf5, prefix: str) -> None:
        self.path, self.form = archive.path, archive.form
        self._archive, self._prefix = archive, prefix

    @property
    def names(self) -> list[str]:
        """Names below the group."""
        there = self._archive.names
        return [name.removeprefix(self._prefix) for name in there if name.startswith(self._prefix)]

    def array(self, name: str, *, often: bool = False) -> Array:
        """Return a data set."""
        return self._archive.array(self._prefix + name, often=often)

    def close(self) -> None:
        """Close the file."""
        self._archive.close()
