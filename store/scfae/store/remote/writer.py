"""A column of a remote store for writing: shards are put, receipts are created once.

A shard is made as for a local store and put under a name with its digest, so that no put can
change an object that a receipt names. Then the receipt is created, which the server refuses where
one is there already: another writer was first, and its shard is the one that counts.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ..atomic import write_atomic
from ..column import COLUMN_FILE, ColumnInfo
from ..errors import FingerprintMismatch, StoreLocked
from ..receipt import Receipt, parse_receipt, receipt_file, write_receipt
from ..samples import SampleTable
from ..writer import ColumnWriter, ShardSample
from .objects import Objects, enforces_create


class RemoteColumnWriter(ColumnWriter):
    """Writes shards of one column behind a URL; any number of processes may, side by side.

    Args:
        folder: The column's folder in the local mirror.
        info: What the column is.
        samples: The samples of the store.
        is_replacing: Throw away what is there under another fingerprint.
        objects: The store's objects.
        announce: Tells the store of a new column's name.

    Raises:
        StoreLocked: On entering, if the server does not enforce conditional creation.
        FingerprintMismatch: On entering, if the column is there by another encoder or recipe.
    """

    def __init__(
        self,
        folder: Path,
        info: ColumnInfo,
        *,
        samples: SampleTable,
        is_replacing: bool,
        objects: Objects,
        announce: Callable[[str], None],
    ) -> None:
        super().__init__(folder, info, samples=samples, is_replacing=is_replacing)
        self._objects = objects
        self._announce = announce

    def __enter__(self) -> Self:
        if not enforces_create(self._objects):
            raise StoreLocked(
                f"{self._objects.url} does not enforce conditional creation, so two writers could "
                "overwrite each other unseen: extract into a local folder and copy it there."
            )
        super().__enter__()
        try:
            self._publish()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        if error is None:
            self._announce(self.info.name)

    def commit(self, shard: int, samples: Sequence[ShardSample]) -> Receipt:
        """Write a shard, then its receipt; see ColumnWriter.commit.

        Returns:
            The receipt that counts, which is another writer's if that was first.
        """
        before = self._bytes_of(self.folder / receipt_file(shard))
        receipt = super().commit(shard, samples)
        local = self.folder / receipt.file
        stem, suffix = receipt.file.split(".", 1)
        receipt = receipt.model_copy(update={"file": f"{stem}.{receipt.sha256[:16]}.{suffix}"})
        self._objects.put(self._key(receipt.file), local)
        local.unlink()  # readers fetch it through the cache like any other
        write_receipt(self.folder, receipt)
        data = (self.folder / receipt_file(shard)).read_bytes()
        key = self._key(receipt_file(shard))
        if before is not None and self._get(key) == before:
            self._objects.delete(key)  # the one that this commit was to replace
        while not self._objects.create(key, data):
            winner = self._get(key)
            if winner is None:
                continue
            other = parse_receipt(winner, self.folder, shard)
            if _subject(other) == _subject(receipt):
                write_atomic(self.folder / receipt_file(shard), winner)
                return other
            self._objects.delete(key)  # of the column that this one has replaced
        return receipt

    def _has_file(self, receipt: Receipt) -> bool:
        return True  # a receipt names an object that was put before it

    def _publish(self) -> None:
        """Make `column.json` what the mirror says, and withdraw the receipts it does not have."""
        mine = (self.folder / COLUMN_FILE).read_bytes()
        key = self._key(COLUMN_FILE)
        there = self._get(key)
        if there != mine:
            if there is None and not self._objects.create(key, mine):
                there = self._get(key)
            if there is not None:
                if not self._is_replacing:
                    raise FingerprintMismatch(
                        f"column '{self.info.name}' was just made by another writer; run again."
                    )
                self._objects.put(key, mine)
        self._announce(self.info.name)

    def _get(self, key: str) -> bytes | None:
        try:
            return self._objects.get(key)
        except FileNotFoundError:
            return None

    def _key(self, file: str) -> str:
        return f"columns/{self.info.name}/{file}"

    @staticmethod
    def _bytes_of(path: Path) -> bytes | None:
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None


def _subject(receipt: Receipt) -> tuple[str, str, list[str | None]]:
    """Return what a shard is of: two that agree in it are as good as each other."""
    return receipt.fingerprint, receipt.ids_sha256, receipt.media
