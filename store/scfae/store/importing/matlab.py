"""MATLAB files: version 5, and version 7.3, which is HDF5."""

from pathlib import Path

from ..atomic import sha256_file
from ..files import OpenFile
from .archive import ArchiveSource
from .limits import ByteBudget, regular_file
from .mat5 import Mat5
from .source import Source


def open_mat(path: Path, *, key: str | None, max_bytes: int | None) -> Source:
    """Return one `.mat` of many samples as a source; raises as `open_source`."""
    import h5py

    from .hdf5 import open_hdf5

    num_bytes = regular_file(path).st_size
    if h5py.is_hdf5(path):
        return open_hdf5(path, key=key, max_bytes=max_bytes)
    archive = Mat5(OpenFile(path), path, ByteBudget(path, num_bytes, max_bytes))
    return ArchiveSource(archive, key=key, sha256=sha256_file(path))
