"""Shards as stored zips that are plain Zarr v3 groups; zarr-python opens them with `ZipStore`.

The group holds `data [R, D]`, `times [R, 2]` and `offsets [n + 1]`: sample i has the rows
`offsets[i]:offsets[i + 1]`. Every array is one uncompressed chunk, so its bytes lie in the file as
they lie in memory, and a sample is one read. Floats are filled with NaN, since Zarr returns the
fill value for a missing chunk without a word. The same features give the same bytes.

Shapes: n samples of the shard, R rows of all of them, D features.
"""

import json
import math
import struct
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold
_LOCAL_HEADER_BYTES = 30
_ALIGNMENT_TAG = 0xD935  # the extra field that zipalign uses for padding
_AXES = {"offsets": ["sample"], "times": ["row", "bound"], "data": ["row", "feature"]}


class ZarrZip:
    """The default format; see the module."""

    def write(self, path: Path, contents: ShardContents) -> None:
        """Write a shard atomically."""
        # The chunk of `data` comes last, so that everything else is near the front.
        arrays: dict[str, npt.NDArray[Any]] = {
            "offsets": contents.offsets,
            "times": contents.times,
            "data": contents.data,
        }
        with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            _add(archive, "zarr.json", _json({"zarr_format": 3, "node_type": "group"}))
            for name, array in arrays.items():
                _add(archive, f"{name}/zarr.json", _json(_metadata(array, _AXES[name])))
            for name, array in arrays.items():
                if array.size:
                    _add(archive, _chunk(name, array.ndim), little_endian(array).data.cast("B"))

    def locate(self, file: OpenFile) -> Layout:
        """Parse the zip's directory and the arrays' metadata, and read `offsets`."""
        archive = StoredZip(file)
        places = {name: _place(archive, name) for name in _AXES}
        return flat_layout(file, **places)


def _chunk(name: str, num_axes: int) -> str:
    return f"{name}/c/" + "/".join("0" * num_axes)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps({**document, "attributes": {}}, sort_keys=True).encode()


def _metadata(array: npt.NDArray[Any], axes: list[str]) -> dict[str, Any]:
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(array.shape),
        "data_type": array.dtype.name,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [max(1, size) for size in array.shape]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN" if array.dtype.kind == "f" else 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}],
        "dimension_names": axes,
    }


def _add(archive: zipfile.ZipFile, name: str, contents: bytes | memoryview) -> None:
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
    shape, dtype = _described(archive.read(f"{name}/zarr.json"))
    if len(shape) != len(_AXES[name]):
        raise ValueError(f"{name} has {len(shape)} axes")
    num_bytes = math.prod(shape) * dtype.itemsize
    if num_bytes == 0:
        return Place(0, shape, dtype)
    start, held = archive.place(_chunk(name, len(shape)))
    if held != num_bytes:
        raise ValueError(f"the chunk of {name} has {held} bytes")
    return Place(start, shape, dtype)


@lru_cache(maxsize=256)  # the shards of a column are described in much the same words
def _described(text: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    metadata = json.loads(text)
    shape = tuple(int(size) for size in metadata["shape"])
    return shape, np.dtype(str(metadata["data_type"])).newbyteorder("<")
