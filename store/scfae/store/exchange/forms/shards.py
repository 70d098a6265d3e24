"""The store's own formats: a folder a column with one file a shard, as the store has them.

Where the store's own files are of this form already they are copied, byte for byte.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...atomic import copy_atomic
from ...container import Format, write_shard
from ...receipt import Receipt, shard_file
from ...samples import SampleTable
from ...shard import ShardReader
from ..fates import ShardFates
from ..manifest import COLUMNS_FOLDER, ExportedColumn, Manifest, file_of
from ..pieces import Piece
from ..source import ColumnSource, ShardRows, Source, gather


class Shards:
    """A file a shard; see the module.

    Args:
        form: The format of the files.
    """

    def __init__(self, form: Format) -> None:
        self._form = form

    def pieces(self, source: Source) -> Iterator[Piece]:
        """Yield a file for each shard that is extracted, column after column."""
        for column in source.columns:
            for shard in sorted(column.marks):
                yield Piece(
                    self.file(column.info.name, shard),
                    source.mark([column], [shard]),
                    self._writer(source, column, shard),
                )

    def files(self, manifest: Manifest, column: ExportedColumn) -> list[str]:
        """Return the shard files of a column."""
        folder = f"{COLUMNS_FOLDER}/{column.info.name}/"
        return [name for name in manifest.files if name.startswith(folder)]

    @contextmanager
    def open(
        self, root: Path, manifest: Manifest, column: ExportedColumn, *, samples: SampleTable
    ) -> Iterator["ShardsReader"]:
        """Open a column; see `ExportForm.open`."""
        yield ShardsReader(root, manifest, column, form=self)

    def file(self, column: str, shard: int) -> str:
        """Return the path of a shard's file in an export."""
        return f"{COLUMNS_FOLDER}/{column}/{shard_file(shard, self._form)}"

    def _writer(self, source: Source, column: ColumnSource, shard: int) -> Callable[[Path], None]:
        def write(path: Path) -> None:
            if column.info.format == self._form and source.split is None:
                file, _ = source.file(column, shard)
                copy_atomic(file, path)
            else:
                write_shard(path, source.contents(column, shard), form=self._form)

        return write


class ShardsReader:
    """Reads the shard files of one column.

    Args:
        root: The export's folder.
        manifest: What it holds.
        column: Which column.
        form: The form, which knows the names of the files.
    """

    def __init__(
        self, root: Path, manifest: Manifest, column: ExportedColumn, *, form: Shards
    ) -> None:
        self._root = root
        self._manifest = manifest
        self._info = column.info
        self._form = form

    def path(self, fates: ShardFates) -> Path:
        """Return the file of a shard."""
        return self._root / self._form.file(self._info.name, fates.shard)

    def read(self, fates: ShardFates) -> ShardRows:
        """Return the rows of a shard."""
        name = self._form.file(self._info.name, fates.shard)
        file = file_of(self._manifest.files, name)
        receipt = Receipt(
            column=self._info.name,
            shard=fates.shard,
            fingerprint=self._info.fingerprint,
            file=Path(name).name,
            bytes=file.bytes,
            sha256=file.sha256,
            rows=fates.rows,
            lengths=fates.lengths,
            status=fates.status,
            reasons=fates.reasons,
            media=fates.media,
            ids_sha256=fates.ids_sha256,
        )
        return gather(ShardReader(self._root / name, receipt), range(len(fates.lengths)))
