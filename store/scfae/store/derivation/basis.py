"""Principal components kept beside the shards of their column, as `basis.npy`.

`column.json` holds the digest of the numbers. So new rows can be taken through the same projection
without the rows that it was fitted on.

Shapes: D features, K features made.
"""

from pathlib import Path

import numpy as np

from ..atomic import atomic_file
from ..column import BASIS_FILE, ColumnInfo
from ..errors import CorruptShard
from .projection import Projection


def write_basis(folder: Path, projection: Projection) -> None:
    """Write a projection into a column's folder, atomically: `[D, 1 + K]`, the mean first."""
    with atomic_file(folder / BASIS_FILE) as file:
        np.save(file, np.column_stack([projection.mean, projection.matrix]), allow_pickle=False)


def read_basis(folder: Path, info: ColumnInfo) -> Projection | None:
    """Return the projection in a column's folder, None if there is none.

    Raises:
        CorruptShard: If its numbers are not those that the column was made with.
    """
    path = folder / BASIS_FILE
    if not path.is_file():
        return None
    try:
        values = np.load(path, allow_pickle=False)
        found = Projection(
            np.ascontiguousarray(values[:, 0], dtype=np.float64),
            np.ascontiguousarray(values[:, 1:], dtype=np.float64),
        )
    except (ValueError, OSError, IndexError, EOFError) as error:
        raise CorruptShard(f"{path} is damaged: {error}.") from None
    if found.sha256 != info.compute.get("basis_sha256"):
        raise CorruptShard(
            f"{path} holds other numbers than the column was made with; remove the file, and they "
            "are fitted again when they are needed."
        )
    return found
