"""The rows of one column of an export, read in any form and checked before anyone uses them.

The checksums say that the files are what was exported; this says that they make sense, for an
export may come from anyone: as many rows as the fates say and as the file can hold, of the
column's type, finite.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..errors import CorruptShard, ScfaeError
from ..samples import SampleTable
from .fates import ShardFates, fates_file, read_fates
from .forms import RowsReader, form_of
from .forms.shards import ShardsReader
from .manifest import ExportedColumn, Manifest
from .source import ShardRows

_TIMES_BYTES = 16  # start and end of a row
_MOST_UNPACKING = 2000  # to so many times its size: a chunk of nothing but zeros


class ExportedRows:
    """One column of an export, open for reading. Made by `open_column`.

    Args:
        root: The export's folder.
        manifest: What it holds.
        column: Which column.
        reader: Its rows.
        samples: The export's sample table.
    """

    def __init__(
        self,
        root: Path,
        manifest: Manifest,
        column: ExportedColumn,
        *,
        reader: RowsReader,
        samples: SampleTable,
    ) -> None:
        self.info = column.info
        self._root = root
        self._reader = reader
        self._samples = samples
        files = form_of(manifest.form, joined=manifest.joined).files(manifest, column)
        self._unpacking = _MOST_UNPACKING if manifest.form == "zarr-zstd" else 1
        self._num_bytes = sum(manifest.files[name].bytes for name in files)

    def fates(self) -> Iterator[ShardFates]:
        """Yield what became of each shard's samples, for the shards that were extracted.

        Raises:
            CorruptShard: If they are of other samples or more than the files can hold.
        """
        for fates in read_fates(self._root / fates_file(self.info.name), self._samples):
            row_bytes = self.info.dim * np.dtype(self.info.dtype).itemsize + _TIMES_BYTES
            if fates.rows * row_bytes > self._num_bytes * self._unpacking:
                raise self._corrupt(fates, f"{fates.rows} rows are more than its files can hold")
            yield fates

    def rows(self, fates: ShardFates) -> ShardRows:
        """Return the rows of a shard.

        Raises:
            CorruptShard: If they are not what the fates say, or not finite.
        """
        try:
            rows = self._reader.read(fates)
        except ScfaeError as error:
            raise self._corrupt(fates, str(error)) from None
        except Exception as error:  # bytes from outside make parsers raise a dozen kinds
            raise self._corrupt(fates, f"its file is not readable ({error})") from None
        shape = (fates.rows, self.info.dim)
        if (rows.data.dtype, rows.data.shape) != (np.dtype(self.info.dtype), shape):
            found = f"{rows.data.dtype} {list(rows.data.shape)}"
            raise self._corrupt(fates, f"it holds {found}, not {self.info.dtype} {list(shape)}")
        if rows.times.shape != (fates.rows, 2):
            raise self._corrupt(fates, f"its times are {list(rows.times.shape)}")
        if not np.isfinite(rows.data).all():
            raise self._corrupt(fates, "it holds values that are not finite, as no store does")
        return rows

    def file(self, fates: ShardFates) -> Path | None:
        """Return the file of a shard, None where the form has no file a shard and column."""
        return self._reader.path(fates) if isinstance(self._reader, ShardsReader) else None

    def _corrupt(self, fates: ShardFates, what: str) -> CorruptShard:
        return CorruptShard(
            f"the export {self._root}, column '{self.info.name}', shard {fates.shard}: {what}. "
            "Export it again."
        )


@contextmanager
def open_column(
    root: Path, manifest: Manifest, column: ExportedColumn, *, samples: SampleTable
) -> Iterator[ExportedRows]:
    """Open a column of an export for reading.

    Args:
        root: The export's folder.
        manifest: What it holds.
        column: Which column.
        samples: The export's sample table.

    Raises:
        CorruptShard: If its file cannot be opened as what it should be.
    """
    opened = form_of(manifest.form, joined=manifest.joined).open(
        root, manifest, column, samples=samples
    )
    try:
        reader = opened.__enter__()
    except Exception as error:  # as above
        raise CorruptShard(
            f"the export {root}, column '{column.info.name}': its file is not readable ({error}). "
            "Export it again."
        ) from None
    try:
        yield ExportedRows(root, manifest, column, reader=reader, samples=samples)
    finally:
        opened.__exit__(None, None, None)
