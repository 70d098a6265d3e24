"""A feature store behind a URL; opened by `FeatureStore.open("s3://bucket/features")`.

What describes the store (samples, columns, receipts) is mirrored into a local folder when it is
looked at; shards come through `ShardCache`. So everything that reads a local store reads this one.
"""

import hashlib
import os
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from ..atomic import atomic_file, write_atomic
from ..column import COLUMN_FILE, ColumnInfo, column_name, read_column
from ..document import seal
from ..errors import CorruptShard, StoreError, StoreLocked, StoreNotFound, UnknownColumn
from ..files import FilePool
from ..header import (
    COLUMNS_FOLDER,
    SAMPLES_FILE,
    STORE_FILE,
    Header,
    read_header,
    read_store,
)
from ..lock import FolderLock
from ..reader import Column
from ..receipt import receipt_file
from ..samples import SampleTable
from ..shard import ShardFacts
from ..store import FeatureStore
from ..writer import ColumnWriter
from .cache import ShardCache
from .names import Names, until_done
from .objects import Objects, Version, create_once, get_many, open_objects
from .writer import RemoteColumnWriter

CACHE_BYTES: Final = 20 << 30
COLUMNS_FILE: Final = "columns.json"


class RemoteStore(FeatureStore):
    """A feature store behind a URL; see the package.

    Attributes:
        url: Where it is.
        objects: Its objects.
        names: Which columns it has, as `columns.json` says.
        path: Local folder that mirrors samples, columns and receipts.
    """

    def __init__(
        self,
        objects: Objects,
        path: Path,
        header: Header,
        *,
        samples: SampleTable,
        cache: ShardCache,
        pool: FilePool,
    ) -> None:
        super().__init__(path, header, samples=samples)
        self.url = objects.url
        self.objects = objects
        # Without `columns.json` it is a local store that was copied here.
        self.names = Names(objects, COLUMNS_FILE, lambda: objects.folders(COLUMNS_FOLDER))
        self._cache = cache
        self._pool = pool

    @classmethod
    def open_url(
        cls,
        url: str,
        *,
        cache: str | Path | None = None,
        cache_bytes: int = CACHE_BYTES,
        options: Mapping[str, Any] | None = None,
    ) -> Self:
        """Open a store behind a URL.

        Args:
            url: Such as `s3://bucket/features`.
            cache: Local folder for copies; by default one of the user's cache folder. Processes
                that share it get a part of their own each.
            cache_bytes: Most bytes of copied shards, for this process.
            options: See `open_objects`.

        Raises:
            StoreNotFound: If there is no store.
            StoreVersionError: If it was written by a newer version.
            CorruptShard: If what describes it is damaged.
            StoreError: If the server cannot be reached or refuses.
        """
        objects = open_objects(url, options)
        with ExitStack() as stack:
            folder = _own_folder(_cache_folder(objects.url, cache), stack)
            mirror = folder / "mirror"
            (mirror / COLUMNS_FOLDER).mkdir(parents=True, exist_ok=True)
            _mirror_samples(objects, mirror)
            header, samples = read_store(mirror)
            pool = FilePool()
            shards = ShardCache(objects, folder / "shards", max_bytes=cache_bytes, pool=pool)
            pool.fetch = shards.ensure
            # The folder is ours until the last column of this store is gone.
            weakref.finalize(shards, stack.pop_all().close)
            return cls(objects, mirror, header, samples=samples, cache=shards, pool=pool)

    @classmethod
    def create_url(cls, url: str, samples: SampleTable, data: bytes) -> Self:
        """Make a store without columns behind a URL.

        Args:
            url: Where nothing is.
            samples: The sample table.
            data: Its bytes.

        Raises:
            StoreError: If there is a store already.
        """
        objects = open_objects(url)
        header = Header.new(samples, data)
        objects.put(samples_key(header.samples_sha256), data)
        document = seal(header.model_dump())
        if not create_once(objects, STORE_FILE, document):
            raise StoreError(f"{objects.url} is a feature store already; open it instead.")
        return cls.open_url(url)

    @property
    def columns(self) -> dict[str, ColumnInfo]:
        """What columns there are now, by name, sorted."""
        names = self.column_names()
        found = get_many(self.objects, [_column_key(name, COLUMN_FILE) for name in names])
        for name in names:
            if (data := found.get(_column_key(name, COLUMN_FILE))) is not None:
                self._mirror(_column_key(name, COLUMN_FILE), data)
        folder = self.path / COLUMNS_FOLDER
        there = [name for name in names if _column_key(name, COLUMN_FILE) in found]
        return {name: read_column(folder / name) for name in there}

    def column(self, name: str) -> Column:
        """Return a column for reading, as it is now; see FeatureStore.column."""
        there = self.columns
        for wanted in (name, column_name(name)):
            if wanted in there:
                self._refuse_folders(there[wanted])
                self.fetch_receipts(wanted)
                return RemoteColumn(
                    self.path / COLUMNS_FOLDER / wanted,
                    there[wanted],
                    samples=self.samples,
                    pool=self._pool,
                    cache=self._cache,
                )
        raise UnknownColumn(self._no_column(name, list(there)))

    def add_column(self, info: ColumnInfo, *, replace: bool = False) -> ColumnWriter:
        """Return the writer of a column; see FeatureStore.add_column."""
        self._refuse_folders(info)
        if info.name in self.columns:
            self.fetch_receipts(info.name)
        else:
            self._forget(info.name)
        writer = RemoteColumnWriter(
            self.path / COLUMNS_FOLDER / info.name,
            info,
            samples=self.samples,
            is_replacing=replace,
            objects=self.objects,
            names=self.names,
        )
        writer.check()
        return writer

    @property
    def is_local(self) -> bool:
        """Return False."""
        return False

    def rename_column(self, old: str, new: str) -> None:
        """Give a column another name; see `remote.catalogue`."""
        from .catalogue import rename_column

        rename_column(self, old, new)

    def drop_column(self, name: str) -> None:
        """Remove a column, at once and for good; see `remote.catalogue`."""
        from .catalogue import drop_column

        drop_column(self, name)

    def column_bytes(self, name: str) -> int:
        """Return the bytes of a column's shards that have receipts."""
        from .catalogue import column_bytes

        return column_bytes(self, name)

    def pin(self, run: Path, columns: Mapping[str, str]) -> bool:
        """Pin what a run reads; see `remote.pins`."""
        from .pins import pin_url

        return pin_url(self.objects, run, columns)

    def _refuse_folders(self, info: ColumnInfo) -> None:
        if info.format == "zarr-dir":
            raise StoreError(
                f"{self.url}: shards of column '{info.name}' are folders (zarr-dir), which are no "
                "single objects, so a store behind a URL does not hold them; export or derive the "
                "column as zarr first."
            )

    def fetch_receipts(self, name: str) -> dict[int, bytes]:
        """Mirror the receipts of a column as they are now, and return them by shard."""
        keys = [_column_key(name, receipt_file(shard)) for shard in range(self.samples.num_shards)]
        found = get_many(self.objects, keys)
        for key in keys:
            if key in found:
                self._mirror(key, found[key])
            else:
                (self.path / key).unlink(missing_ok=True)
        return {shard: found[key] for shard, key in enumerate(keys) if key in found}

    def _forget(self, name: str) -> None:
        """Remove what the mirror still has of a column that was dropped or renamed."""
        folder = self.path / COLUMNS_FOLDER / name
        for path in (folder / COLUMN_FILE, *folder.glob("shard-*.json")):
            path.unlink(missing_ok=True)

    def refresh(self) -> None:
        """Take the sample table as it is now."""
        _mirror_samples(self.objects, self.path)
        self._header, self.samples = read_store(self.path)

    def _mirror(self, key: str, data: bytes) -> None:
        path = self.path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != data:
            with atomic_file(path, is_durable=False) as file:  # compared at each opening
                file.write(data)

    def column_names(self) -> list[str]:
        """Return the names of the columns there are now, sorted.

        Raises:
            CorruptShard: If the object that lists them is damaged.
        """
        return self.names.read()

    def _rewrite(self, change: Callable[[SampleTable], SampleTable]) -> None:
        def commit() -> bool:
            version = _mirror_samples(self.objects, self.path)
            before, old = read_store(self.path)
            samples = change(old)
            data = samples.to_bytes()
            header = before.replaced(samples, data)
            if header == before:
                return True
            self.objects.put(samples_key(header.samples_sha256), data)
            return self.objects.replace(STORE_FILE, seal(header.model_dump()), version)

        until_done(f"{self.url}/{STORE_FILE}", commit)
        self.refresh()


class RemoteColumn(Column):
    """A column as its receipts were when it was opened; its shards come through the cache."""

    _is_shared = False  # an object is named by its contents

    def __init__(
        self,
        folder: Path,
        info: ColumnInfo,
        *,
        samples: SampleTable,
        pool: FilePool,
        cache: ShardCache,
    ) -> None:
        super().__init__(folder, info, samples=samples, pool=pool)
        self.cache = cache
        _ = self._index  # now, while the mirror is what was just fetched

    def shard_path(self, shard: int) -> Path | None:
        """Return where the copy of a shard will lie, None if the shard is not extracted yet."""
        facts = self._line(shard)
        return None if facts is None else self._shard_path(facts)

    def over(self, samples: SampleTable) -> Column:
        """See Column.over."""
        return RemoteColumn(
            self.folder, self.info, samples=samples, pool=self._pool, cache=self.cache
        )

    def local_file(self, facts: ShardFacts) -> Path:
        """See Column.local_file; the copy stays until the cache needs its room."""
        path = self._shard_path(facts)
        try:
            self.cache.ensure(path)
        except FileNotFoundError:
            raise CorruptShard(
                f"column '{self.info.name}', shard {facts.shard}: {facts.file} is gone. Run "
                "`scfae store verify --repair` and extract again."
            ) from None
        return path

    def _shard_path(self, facts: ShardFacts) -> Path:
        return self.cache.path(_column_key(facts.column, facts.file), facts)


def _column_key(name: str, file: str) -> str:
    return f"{COLUMNS_FOLDER}/{name}/{file}"


def samples_key(sha256: str) -> str:
    """Return the object of the sample table with this digest."""
    return f"samples.{sha256[:16]}.parquet"


def _mirror_samples(objects: Objects, mirror: Path) -> Version:
    """Mirror `store.json` and the table that it names; return the version of the first."""
    try:
        document, version = objects.get_versioned(STORE_FILE)
    except FileNotFoundError:
        raise StoreNotFound(
            f"there is no feature store at {objects.url}: it has no {STORE_FILE}. "
            f"`scfae extract MEDIA {objects.url} -e ENCODER` makes one."
        ) from None
    write_atomic(mirror / STORE_FILE, document)
    header = read_header(mirror)
    local = mirror / SAMPLES_FILE
    if local.exists() and _sha256(local.read_bytes()) == header.samples_sha256:
        return version
    found = get_many(objects, [samples_key(header.samples_sha256), SAMPLES_FILE])
    for data in found.values():
        if _sha256(data) == header.samples_sha256:
            write_atomic(local, data)
            return version
    raise CorruptShard(f"{objects.url}: the sample table that {STORE_FILE} names is not there.")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _cache_folder(url: str, cache: str | Path | None) -> Path:
    if cache is not None:
        return Path(cache).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "scfae" / "stores" / _sha256(url.encode())[:16]


def _own_folder(root: Path, stack: ExitStack) -> Path:
    """Return the first part of a cache folder that no other process uses, locked."""
    number = 0
    while True:
        folder = root / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            stack.enter_context(FolderLock(folder, f"the cache {folder}"))
        except StoreLocked:
            number += 1
        else:
            return folder
