"""The header of a `.npy` file, written and checked: the shape is known before anything is read."""

import io
from typing import IO, Any

import numpy as np


def npy_header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    """Return the header of a C-ordered little-endian array."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out,
        {
            "descr": np.lib.format.dtype_to_descr(dtype.newbyteorder("<")),
            "fortran_order": False,
            "shape": shape,
        },
    )
    return out.getvalue()


def check_npy_header(file: IO[bytes], dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Read the header at the file's position; the array's bytes come next.

    Args:
        file: Any readable file.
        dtype: What the array must be.
        shape: What its shape must be.

    Returns:
        The length of the header in bytes.

    Raises:
        ValueError: If it is another array, or none.
    """
    start = file.tell()
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("it is of another version of the npy format")
    found = np.lib.format.read_array_header_1_0(file)
    wanted = (shape, False, dtype.newbyteorder("<"))
    if found != wanted:
        raise ValueError(f"it holds {found[2]} {list(found[0])}, not {dtype} {list(shape)}")
    return file.tell() - start
