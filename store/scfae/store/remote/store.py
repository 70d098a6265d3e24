"""A feature store behind a URL; opened by `FeatureStore.open("s3://bucket/features")`.

What describes the store (samples, columns, receipts) is mirrored into a local folder when it is
looked at; shards come through `ShardCache`. So everything that reads a local store reads this one.
"""

import hashlib
import json
import os
import random
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Self

from ..atomic import write_atomic
from ..column import COLUMN_FILE, SAFE_NAME, ColumnInfo, column_name, read_column
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
from ..samples import SampleRow, SampleTable
from ..shard import ShardFacts
from ..store import FeatureStore
from ..writer import ColumnWriter
from .cache import ShardCache
from .objects import Objects, Version, get_many, open_objects
from .writer import RemoteColumnWriter

CACHE_BYTES: Final = 20 << 30
COLUMNS_FILE: Final = "columns.json"
_ATTEMPTS = 30
_PAUSE_S = 0.05


class RemoteStore(FeatureStore):
    """A feature store behind a URL; see the package.

    Attributes:
        url: Where it is.
        objects: Its objects.
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
    def create_url(
        cls,
        url: str,
        rows: Sequence[SampleRow],
        *,
        shard_size: int = 256,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        **opening: Any,
    ) -> Self:
        """Make a store without columns behind a URL; arguments as `create` and `open_url`.

        Raises:
            StoreError: If there is a store already.
            ManifestError: If ids repeat.
        """
        objects = open_objects(url, options)
        samples = SampleTable.create(rows, shard_size, seed=seed)
        data = samples.to_bytes()
        header = Header.new(samples, data)
        objects.put(_samples_key(header), data)
        document = seal(header.model_dump())
        try:
            is_new = objects.create(STORE_FILE, document)
        except NotImplementedError:
            is_new = not get_many(objects, [STORE_FILE])
            if is_new:
                objects.put(STORE_FILE, document)
        if not is_new:
            raise StoreError(f"{objects.url} is a feature store already; open it instead.")
        return cls.open_url(url, options=options, **opening)

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
        writer = RemoteColumnWriter(
            self.path / COLUMNS_FOLDER / info.name,
            info,
            samples=self.samples,
            is_replacing=replace,
            objects=self.objects,
            announce=self._announce,
        )
        writer.check()
        return writer

    @property
    def is_local(self) -> bool:
        """Return False."""
        return False

    def rename_column(self, old: str, new: str) -> None:
        """Raise StoreError: objects have no names to change."""
        raise self._only_local("renamed")

    def drop_column(self, name: str) -> None:
        """Raise StoreError: nobody could tell who still reads it."""
        raise self._only_local("dropped")

    def _refuse_folders(self, info: ColumnInfo) -> None:
        if info.format == "zarr-dir":
            raise StoreError(
                f"{self.url}: shards of column '{info.name}' are folders (zarr-dir), which are no "
                "single objects, so a store behind a URL does not hold them; export or derive the "
                "column as zarr first."
            )

    def _only_local(self, what: str) -> StoreError:
        return StoreError(
            f"{self.url}: columns behind a URL are not {what}; do it in a local copy, or remove "
            "the objects by the tools of the server."
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

    def _mirror(self, key: str, data: bytes) -> None:
        path = self.path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != data:
            write_atomic(path, data)

    def column_names(self) -> list[str]:
        """Return the names of the columns there are now, sorted.

        Raises:
            CorruptShard: If the object that lists them is damaged.
        """
        return self._listed()[0]

    def _listed(self) -> tuple[list[str], Version | None]:
        """Return the names of the columns, and the version of `columns.json`, None without one."""
        version: Version | None = None
        try:
            data, version = self.objects.get_versioned(COLUMNS_FILE)
            names = json.loads(data)
        except FileNotFoundError:
            names = self.objects.folders(COLUMNS_FOLDER)  # a local store that was copied here
        except ValueError:
            raise CorruptShard(f"{self.url}/{COLUMNS_FILE} is damaged; remove it.") from None
        return sorted(name for name in names if SAFE_NAME.fullmatch(str(name))), version

    def _announce(self, name: str) -> None:
        """Put a column's name into `columns.json`, beside others who do the same."""

        def add() -> bool:
            names, version = self._listed()
            if name in names:
                return True
            data = json.dumps(sorted([*names, name])).encode()
            if version is not None:
                return self.objects.replace(COLUMNS_FILE, data, version)
            try:
                return self.objects.create(COLUMNS_FILE, data)
            except NotImplementedError:
                self.objects.put(COLUMNS_FILE, data)
                return True

        self._until_done(add, COLUMNS_FILE)

    def _rewrite(self, change: Callable[[SampleTable], SampleTable]) -> None:
        def commit() -> bool:
            version = _mirror_samples(self.objects, self.path)
            before, old = read_store(self.path)
            samples = change(old)
            data = samples.to_bytes()
            header = before.replaced(samples, data)
            if header == before:
                return True
            self.objects.put(_samples_key(header), data)
            return self.objects.replace(STORE_FILE, seal(header.model_dump()), version)

        self._until_done(commit, STORE_FILE)
        _mirror_samples(self.objects, self.path)
        self._header, self.samples = read_store(self.path)

    def _until_done(self, attempt: Callable[[], bool], key: str) -> None:
        """Read, change and write an object again whenever another writer was faster."""
        for number in range(_ATTEMPTS):
            if attempt():
                return
            time.sleep(random.uniform(0, _PAUSE_S * (number + 1)))
        raise StoreLocked(
            f"{self.url}/{key} was changed by other writers {_ATTEMPTS} times while it was to be "
            "changed here; nothing is lost, run the same again when they are done."
        )


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

    def _shard_path(self, facts: ShardFacts) -> Path:
        return self.cache.path(_column_key(facts.column, facts.file), facts)


def _column_key(name: str, file: str) -> str:
    return f"{COLUMNS_FOLDER}/{name}/{file}"


def _samples_key(header: Header) -> str:
    return f"samples.{header.samples_sha256[:16]}.parquet"


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
    found = get_many(objects, [_samples_key(header), SAMPLES_FILE])
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
