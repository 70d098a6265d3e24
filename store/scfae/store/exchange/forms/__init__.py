"""The forms of an export: each says which files it is made of, and reads a shard back from them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ...samples import SampleTable
from ..fates import ShardFates
from ..manifest import ExportedColumn, Form, Manifest
from ..pieces import Piece
from ..source import ShardRows, Source


class RowsReader(Protocol):
    """Reads the rows of one column of an export, in any order of shards.

    Whatever `read` raises means that the file is not what the manifest and the fates say.
    """

    def read(self, fates: ShardFates) -> ShardRows:
        """Return the rows of a shard; their lengths are checked against `fates`."""


class ExportForm(Protocol):
    """One form of an export."""

    def pieces(self, source: Source) -> Iterator[Piece]:
        """Yield the files with features, in the order they are written."""

    def files(self, manifest: Manifest, column: ExportedColumn) -> list[str]:
        """Return the files of an export that hold a column's rows."""

    def open(
        self, root: Path, manifest: Manifest, column: ExportedColumn, *, samples: SampleTable
    ) -> AbstractContextManager[RowsReader]:
        """Open a column of an export for reading.

        Args:
            root: The export's folder.
            manifest: What it holds.
            column: Which column.
            samples: The export's sample table.
        """


def form_of(name: Form, *, joined: bool = False) -> ExportForm:
    """Return a form by name; `joined` is known only to webdataset and parquet."""
    if name == "npz":
        from .npz import Npz

        return Npz()
    if name == "parquet":
        from .parquet import Parquet

        return Parquet(is_joined=joined)
    if joined:
        from .joined_tar import JoinedTar

        return JoinedTar()
    from .shards import Shards

    return Shards(name)


__all__ = ["ExportForm", "RowsReader", "form_of"]
