"""A feature store: samples in shards, and columns of rows over them.

```
features/
  store.json                 format, partition, digest of the sample table
  samples.parquet            id, shard, split, group, labels, media references
  pins/DIGEST.json           a run and the columns it reads
  columns/NAME/
    column.json              what the column is, with its fingerprint
    shard-00017.zarr.zip     rows and times, a Zarr v3 group
    shard-00017.json         the receipt, written last
```

The sample table is replaced in three steps, and a kill between any two of them is whole: the new
table is written as `samples.next.parquet`; `store.json` with its digest is the commit; then it is
renamed. `open` takes whichever of the two tables `store.json` names; the next writer finishes the
renaming.
"""

import difflib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from .atomic import TEMPORARY, clean_temporaries, fsync_folder, remove, sha256_file, write_atomic
from .column import COLUMN_FILE, SAFE_NAME, ColumnInfo, column_name, read_column
from .config import digest
from .document import write_document
from .errors import (
    ConfigError,
    StoreError,
    UnknownColumn,
)
from .files import Check, FilePool
from .header import (
    COLUMNS_FOLDER,
    NEXT_SAMPLES_FILE,
    SAMPLES_FILE,
    STORE_FILE,
    Header,
    read_store,
)
from .joined import JOINT, JoinedColumn
from .lock import LOCK_NAME, FolderLock
from .reader import Column
from .sample_row import SampleRow
from .samples import SampleTable
from .view import StoreView
from .writer import ColumnWriter


class FeatureStore:
    """Samples and the columns that encoders gave them. Make one with `create` or `open`.

    Attributes:
        path: The store's folder.
        url: Where the store is, for people: its folder, or its URL.
        samples: All samples, in shard order.
    """

    def __init__(
        self, path: Path, header: Header, *, samples: SampleTable, check: Check = "never"
    ) -> None:
        self.path = path
        self.url = str(path)
        self.samples = samples
        self._header = header
        self._pool = FilePool(check=check)

    @classmethod
    def create(
        cls,
        path: str | Path,
        rows: Sequence[SampleRow],
        *,
        shard_size: int = 256,
        seed: int = 0,
    ) -> "FeatureStore":
        """Make a store without columns.

        Args:
            path: A folder that is empty or does not exist, or a URL.
            rows: The samples, in any order.
            shard_size: Samples a shard.
            seed: Decides which sample is in which shard.

        Raises:
            StoreError: If there is something at `path` already.
            ManifestError: If ids repeat.
        """
        samples = SampleTable.create(rows, shard_size, seed=seed)
        return cls.create_with(path, samples, samples.to_bytes())

    @classmethod
    def create_with(cls, path: str | Path, samples: SampleTable, data: bytes) -> "FeatureStore":
        """Make a store without columns over a sample table that was dealt to shards before.

        Args:
            path: A folder that is empty or does not exist, or a URL.
            samples: The table.
            data: Its bytes, as `samples.parquet` will hold them.

        Raises:
            StoreError: If there is something at `path` already.
        """
        if _is_remote(path):
            from .remote import RemoteStore

            return RemoteStore.create_url(os.fspath(path), samples, data)
        path = _local(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise StoreError(f"{path} is, or lies in, a file; give another folder.") from None
        with FolderLock(path, f"store {path}"):
            if (path / STORE_FILE).exists():
                raise StoreError(f"{path} is a feature store already; open it instead.")
            names = {p.name for p in path.iterdir() if not p.name.startswith(TEMPORARY)}
            if names - {LOCK_NAME, SAMPLES_FILE}:
                raise StoreError(f"{path} is not empty and no feature store; give another folder.")
            clean_temporaries(path)
            write_atomic(path / SAMPLES_FILE, data)
            header = Header.new(samples, data)
            write_document(path / STORE_FILE, header.model_dump())
            fsync_folder(path.parent)
        return cls(path, header, samples=samples)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        cache: str | Path | None = None,
        cache_bytes: int | None = None,
        options: Mapping[str, Any] | None = None,
        check: Check = "never",
    ) -> "FeatureStore":
        """Open a store for reading and writing.

        Args:
            path: Its folder, or a URL such as `s3://bucket/features`.
            cache: Local folder for copies of remote shards; by default in the user's cache folder.
            cache_bytes: Most bytes of copied shards; 20 GiB if not given.
            options: Of the remote file system, e.g. `endpoint`; the rest is from the environment.
            check: When a shard is compared with its checksum before any of its rows is given:
                `first-read`, the first time that this process reads it (shards are read whole,
                once, at about 2 GB/s); `always`, whenever it is opened; `never`, where damage to
                rows is found by `verify`, and other damage where a file does not parse. Copies of
                remote shards are checked when they arrive, whichever it is.

        Raises:
            StoreNotFound: If there is no store.
            StoreVersionError: If it was written by a newer version.
            CorruptShard: If `store.json` or `samples.parquet` is damaged.
            StoreError: If a remote store cannot be reached.
            ConfigError: If `check` is none of these.
        """
        if check not in get_args(Check):
            raise ConfigError(f"check: must be {' or '.join(get_args(Check))}, not {check!r}.")
        if _is_remote(path):
            from .remote import RemoteStore
            from .remote.store import CACHE_BYTES

            limit = CACHE_BYTES if cache_bytes is None else cache_bytes
            return RemoteStore.open_url(
                os.fspath(path), cache=cache, cache_bytes=limit, options=options
            )
        path = _local(path)
        header, samples = read_store(path)
        return cls(path, header, samples=samples, check=check)

    @property
    def format_version(self) -> int:
        """Version of the format on disk."""
        return self._header.format_version

    @property
    def columns(self) -> dict[str, ColumnInfo]:
        """What columns there are now, by name, sorted."""
        folder = self.path / COLUMNS_FOLDER
        return {name: read_column(folder / name) for name in self.column_names()}

    @property
    def fingerprint(self) -> str:
        """Digest of the samples and of every column's fingerprint."""
        columns = {name: info.fingerprint for name, info in self.columns.items()}
        return digest({"samples": self._header.samples_sha256, "columns": columns})

    def column(self, name: str) -> Column:
        """Return a column for reading.

        Args:
            name: Its name, or the encoder string it was extracted with.

        Raises:
            UnknownColumn: If there is none; the message suggests near names.
        """
        for folder in (self._folder(name), self._folder(column_name(name))):
            if folder is not None and (folder / COLUMN_FILE).exists():
                return Column(folder, read_column(folder), samples=self.samples, pool=self._pool)
        raise UnknownColumn(self._no_column(name, list(self.columns)))

    def branch(self, name: str) -> Column | JoinedColumn:
        """Return a column for reading, or several side by side: `dinov3-vits16+videomaev2-s`.

        Raises:
            UnknownColumn: If there is none of that name, nor of a part of it.
            SchemaMismatch: If the columns cannot stand side by side; see `joined`.
        """
        if JOINT not in name or name in self.column_names():
            return self.column(name)
        return JoinedColumn([self.column(part.strip()) for part in name.split(JOINT)])

    def add_column(self, info: ColumnInfo, *, replace: bool = False) -> ColumnWriter:
        """Return the writer of a column, new or begun before; use it in a `with` block.

        Args:
            info: What the column is.
            replace: Throw away a column of this name that was made differently.

        Raises:
            FingerprintMismatch: If the column is there and was made differently.
        """
        folder = self.path / COLUMNS_FOLDER / info.name
        writer = ColumnWriter(folder, info, samples=self.samples, is_replacing=replace)
        writer.check()
        return writer

    def view(
        self,
        split: str | Sequence[str] | None = None,
        labels: Sequence[str] = (),
        *,
        where: Mapping[str, Any] | None = None,
        **columns: str,
    ) -> StoreView:
        """Return samples with one column for each modality, e.g. `video="videomaev2-s"`.

        Args:
            split: Only samples of this split, or of these.
            labels: Labels that samples and batches carry.
            where: Only samples whose label, `split`, `group` or `id` is the value, or among the
                values of a list.
            **columns: The column of each modality, or several side by side (`A+B`), in the order
                that models see. A modality may have several branches: `**{"video:motion": …}`.

        Raises:
            UnknownColumn: If there is no such column, label or split.
            SchemaMismatch: If a column is not complete, or columns cannot stand side by side.
        """
        if not columns:
            raise ConfigError("columns: a view needs at least one, e.g. video='videomaev2-s'.")
        chosen = {modality: self.branch(name) for modality, name in columns.items()}
        return StoreView.select(
            self.samples, chosen, split=split, labels=tuple(labels), where=where or {}
        )

    def append_samples(self, rows: Sequence[SampleRow]) -> list[str]:
        """Add samples in new shards; existing shards stay as they are.

        Args:
            rows: Samples; those whose id is known are left alone.

        Returns:
            The new ids.
        """
        known: set[str] = set()

        def append(samples: SampleTable) -> SampleTable:
            known.update(samples.ids.tolist())
            return samples.append(rows)

        self._rewrite(append)
        return [row.id for row in rows if row.id not in known]

    def update_labels(self, rows: Sequence[SampleRow]) -> None:
        """Take split, group, media references and labels of known samples from `rows`.

        Raises:
            SchemaMismatch: If an id is not in the store.
        """
        self._rewrite(lambda samples: samples.updated(rows))

    @property
    def is_local(self) -> bool:
        """Whether the store is a folder, and not behind a URL."""
        return True

    def rename_column(self, old: str, new: str) -> None:
        """Give a column another name; see `catalogue.rename_column`."""
        from .catalogue import rename_column

        rename_column(self, old, new)

    def drop_column(self, name: str) -> None:
        """Remove a column, at once and for good; see `catalogue.drop_column`."""
        from .catalogue import drop_column

        drop_column(self, name)

    def column_names(self) -> list[str]:
        """Return the names of the columns there are now, sorted, damaged ones too."""
        folder = self.path / COLUMNS_FOLDER
        names = [path.parent.name for path in folder.glob(f"*/{COLUMN_FILE}")]
        # Temporary: being renamed or dropped.
        return sorted(name for name in names if not name.startswith(TEMPORARY))

    def column_bytes(self, name: str) -> int:
        """Return the bytes of all files of a column; see `catalogue.column_bytes`."""
        from .catalogue import column_bytes

        return column_bytes(self, name)

    def pin(self, run: Path, columns: Mapping[str, str]) -> bool:
        """Pin what a run reads; see `pins.pin_run`, and `pins.pinned`, which renews the pin."""
        from .pins import pin_run

        return pin_run(self.path, run, columns)

    def status(self) -> dict[str, Any]:
        """Return each sample's fate in each column; see `report.status`."""
        from .report import status

        return status(self)

    def _no_column(self, name: str, there: list[str]) -> str:
        near = difflib.get_close_matches(name, there, n=3, cutoff=0.4)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        there_text = ", ".join(there) or "none"
        return f"{self.url} has no column '{name}'.{hint} Its columns: {there_text}."

    def _folder(self, name: str) -> Path | None:
        return self.path / COLUMNS_FOLDER / name if SAFE_NAME.fullmatch(name) else None

    def _rewrite(self, change: Callable[[SampleTable], SampleTable]) -> None:
        with FolderLock(self.path, f"store {self.path}"):
            clean_temporaries(self.path)
            header, samples = read_store(self.path)  # another process may have changed it
            _finish_renaming(self.path, header)
            samples = change(samples)
            data = samples.to_bytes()
            new = header.replaced(samples, data)
            if new != header:
                write_atomic(self.path / NEXT_SAMPLES_FILE, data)
                write_document(self.path / STORE_FILE, new.model_dump())
                _finish_renaming(self.path, new)
            self._header, self.samples = read_store(self.path)


def _finish_renaming(path: Path, header: Header) -> None:
    """Do what a writer that was killed left undone; the caller holds the store's lock.

    Readers never do it: the table that they would move may be that of the next writer already.
    """
    table = path / NEXT_SAMPLES_FILE
    if not table.exists():
        return
    if sha256_file(table) == header.samples_sha256:
        os.replace(table, path / SAMPLES_FILE)
        fsync_folder(path)
    else:
        remove(table)  # its writer was killed before the commit


def _is_remote(path: str | Path) -> bool:
    return "://" in os.fspath(path) and not os.fspath(path).startswith("file://")


def _local(path: str | Path) -> Path:
    text = os.fspath(path)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    return Path(text).expanduser()
