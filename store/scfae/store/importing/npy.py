"""The header of a `.npy`: shape and dtype, checked against the bytes that are there.

numpy's own reader trusts the header: it would allocate what a few bytes declare, or unpickle.
"""

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ..errors import ImportRefused
from ..files import FileWindow, OpenFile
from .arrays import FileArray

HEAD_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class NpyHeader:
    """What a `.npy` says about itself.

    Attributes:
        shape: Its shape.
        dtype: Its dtype: numbers or text, never objects.
        is_fortran: The first axis runs fastest.
        offset: Where the values begin, in bytes.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    is_fortran: bool
    offset: int


def parse_header(head: bytes, num_bytes: int, where: str) -> NpyHeader:
    """Read the header of a `.npy`.

    Args:
        head: The first `HEAD_BYTES` bytes, or all there are.
        num_bytes: Size of the whole `.npy`.
        where: Opens the message.

    Raises:
        ImportRefused: If it is none, holds objects, or is not as long as it says.
    """
    file = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            read = np.lib.format.read_array_header_1_0
        elif version == (2, 0):
            read = np.lib.format.read_array_header_2_0
        else:  # 3.0 differs in the names of fields, and arrays with fields are no features
            raise ValueError(f"version {version} is not read")
        shape, is_fortran, dtype = read(file)
    except Exception as error:  # hostile headers make the parser raise a dozen kinds
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImportRefused(f"{where}: is not a .npy file ({why[:200]}).") from None
    if dtype.hasobject:
        raise ImportRefused(
            f"{where}: holds pickled objects, which are not read since they can run code; save it "
            "as an array of numbers."
        )
    if dtype.kind not in "fiubcSU" or dtype.itemsize == 0:
        raise ImportRefused(f"{where}: holds {dtype}, not real numbers.")
    shape = tuple(int(n) for n in shape)
    wanted = file.tell() + math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or wanted > num_bytes:
        raise ImportRefused(
            f"{where}: says it is {dtype} {list(shape)}, which is {wanted} bytes, but has "
            f"{num_bytes}; it was cut short or is not what it says."
        )
    return NpyHeader(shape, dtype, is_fortran, file.tell())


def open_npy(file: OpenFile, path: Path) -> FileArray:
    """Return the array of an open `.npy` file; raises as `parse_header`."""
    head = FileWindow(file).read(HEAD_BYTES)
    header = parse_header(head, file.num_bytes, str(path))
    return FileArray(
        file, path, header.offset, header.shape, header.dtype, is_fortran=header.is_fortran
    )
