"""The words of Zarr v3 that shards use, and the three arrays that make one.

A shard is a group of `offsets [n + 1]`, `times [R, 2]` and `data [R, D]`: sample i has the rows
`offsets[i]:offsets[i + 1]`. Floats are filled with NaN, since Zarr returns the fill value for a
missing chunk without a word.

Shapes: n samples of the shard, R rows of all of them, D features.
"""

import json
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from .container import ShardContents

AXES: Final = {"offsets": ["sample"], "times": ["row", "bound"], "data": ["row", "feature"]}
GROUP_FILE: Final = "zarr.json"
_BYTES = {"name": "bytes", "configuration": {"endian": "little"}}


class Described(NamedTuple):
    """What an array's metadata says.

    Attributes:
        shape: Of the array.
        dtype: Of its elements, little-endian.
        chunk: Shape of its chunks.
        codecs: Names of its codecs.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: tuple[int, ...]
    codecs: tuple[str, ...]


def arrays_of(contents: ShardContents) -> dict[str, npt.NDArray[Any]]:
    """Return a shard's arrays; `data` comes last, so that everything else is near the front."""
    return {"offsets": contents.offsets, "times": contents.times, "data": contents.data}


def group_json() -> bytes:
    """Return the metadata of a group."""
    return _json({"zarr_format": 3, "node_type": "group"})


def array_json(
    name: str,
    array: npt.NDArray[Any],
    *,
    chunk_rows: int | None = None,
    zstd_level: int | None = None,
) -> bytes:
    """Return the metadata of one of a shard's arrays.

    Args:
        name: Which one.
        array: Its contents.
        chunk_rows: Rows a chunk; None is one chunk.
        zstd_level: How hard chunks are compressed; None is not at all.
    """
    chunk = [max(1, size) for size in array.shape]
    if chunk_rows is not None:
        chunk[0] = chunk_rows
    codecs: list[dict[str, Any]] = [_BYTES]
    if zstd_level is not None:
        zstd = {"name": "zstd", "configuration": {"level": zstd_level, "checksum": False}}
        codecs = [_BYTES, zstd]
    return _json(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(array.shape),
            "data_type": array.dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunk}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": "NaN" if array.dtype.kind == "f" else 0,
            "codecs": codecs,
            "dimension_names": AXES[name],
        }
    )


def array_key(name: str) -> str:
    """Return where the metadata of an array lies in its group."""
    return f"{name}/zarr.json"


def chunk_key(name: str, number: int = 0) -> str:
    """Return where a chunk of rows of an array lies in its group.

    >>> chunk_key("data"), chunk_key("offsets", 2)
    ('data/c/0/0', 'offsets/c/2')
    """
    return f"{name}/c/" + "/".join([str(number), *["0"] * (len(AXES[name]) - 1)])


@lru_cache(maxsize=256)  # the shards of a column are described in much the same words
def described(name: str, text: bytes) -> Described:
    """Return what the metadata of an array says.

    Raises:
        ValueError: If it has not the axes of a shard's array of this name.
        KeyError: If a part of it is not there.
    """
    metadata = json.loads(text)
    shape = tuple(int(size) for size in metadata["shape"])
    if len(shape) != len(AXES[name]):
        raise ValueError(f"{name} has {len(shape)} axes")
    chunk = tuple(int(size) for size in metadata["chunk_grid"]["configuration"]["chunk_shape"])
    codecs = tuple(str(codec["name"]) for codec in metadata["codecs"])
    dtype = np.dtype(str(metadata["data_type"])).newbyteorder("<")
    return Described(shape, dtype, chunk, codecs)


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps({**document, "attributes": {}}, sort_keys=True).encode()
