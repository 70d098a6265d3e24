"""Shards as stored zips that are plain Zarr v3 groups; zarr-python opens them with `ZipStore`.

Every array (see `zarr_meta`) is one uncompressed chunk, so its bytes lie in the file as they lie in
memory, and a sample is one read. The same features give the same bytes.
"""

import math
import struct
import zipfile
from pathlib import Path

from .atomic import atomic_file
from .container import (
    ALIGNMENT_BYTES,
    Layout,
    Place,
    ShardContents,
    flat_layout,
    little_endian,
)
from .files import OpenFile
from .stored_zip import StoredZip
from .zarr_meta import (
    AXES,
    GROUP_FILE,
    array_json,
    array_key,
    arrays_of,
    chunk_key,
    described,
    group_json,
)

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold
_LOCAL_HEADER_BYTES = 30
_ALIGNMENT_TAG = 0xD935  # the extra field that zipalign uses for padding


class ZarrZip:
    """The default format; see the module."""

    def write(self, path: Path, contents: ShardContents) -> None:
        """Write a shard atomically."""
        arrays = arrays_of(contents)
        with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            add_member(archive, GROUP_FILE, group_json())
            for name, array in arrays.items():
                add_member(archive, array_key(name), array_json(name, array))
            for name, array in arrays.items():
                if array.size:
                    add_member(archive, chunk_key(name), little_endian(array).data.cast("B"))

    def open(self, path: Path) -> OpenFile:
        """Open a shard's file for reading."""
        return OpenFile(path)

    def locate(self, file: OpenFile) -> Layout:
        """Parse the zip's directory and the arrays' metadata, and read `offsets`."""
        archive = StoredZip(file)
        places = {name: _place(archive, name) for name in AXES}
        return flat_layout(file, **places)


def add_member(archive: zipfile.ZipFile, name: str, contents: bytes | memoryview) -> None:
    """Add a member without a time, whose contents begin aligned.

    Args:
        archive: A zip that is being written.
        name: Of the member.
        contents: Its bytes.
    """
    member = zipfile.ZipInfo(name, date_time=_EPOCH)
    member.external_attr = 0o644 << 16
    member.file_size = len(contents)
    start = archive.start_dir + _LOCAL_HEADER_BYTES + len(name.encode())
    # An extra field is 4 bytes and its payload: pad so that the contents start aligned.
    padding = -(start + 4) % ALIGNMENT_BYTES
    member.extra = struct.pack("<HH", _ALIGNMENT_TAG, padding) + bytes(padding)
    with archive.open(member, "w") as entry:
        entry.write(contents)


def _place(archive: StoredZip, name: str) -> Place:
    array = described(name, archive.read(array_key(name)))
    num_bytes = math.prod(array.shape) * array.dtype.itemsize
    if num_bytes == 0:
        return Place(0, array.shape, array.dtype)
    start, held = archive.place(chunk_key(name))
    if held != num_bytes:
        raise ValueError(f"the chunk of {name} has {held} bytes")
    return Place(start, array.shape, array.dtype)
