"""A column of a remote store for writing: shards are put, receipts are created once.

A shard is made as for a local store and put under a name of its own, so that no put can change an
object that a receipt names. Then the receipt is created, which the server refuses where
one is there already: another writer was first, and its shard is the one that counts.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from ..atomic import write_atomic
from ..column import COLUMN_FILE, ColumnInfo
from ..errors import FingerprintMismatch, StoreError, StoreLocked
from ..receipt import Receipt, parse_receipt, receipt_file, write_receipt
from ..samples import SampleTable
from ..writer import ColumnWriter, ShardSample
from .names import Names, object_name
from .objects import Objects, enforces_create
from .pins import refuse_pinned


class RemoteColumnWriter(ColumnWriter):
    """Writes shards of one column behind a URL; any number of processes may, side by side.

    Args:
        folder: The column's folder in the local mirror.
        info: What the column is.
        samples: The samples of the store.
        is_replacing: Throw away what is there under another fingerprint.
        objects: The store's objects.
        names: Which columns the store has.

    Raises:
        StoreLocked: On entering, if the server does not enforce conditional creation.
        FingerprintMismatch: On entering, if the column is there by another encoder or recipe.
    """

    is_local = False

    def __init__(
        self,
        folder: Path,
        info: ColumnInfo,
        *,
        samples: SampleTable,
        is_replacing: bool,
        objects: Objects,
        names: Names,
    ) -> None:
        super().__init__(folder, info, samples=samples, is_replacing=is_replacing)
        self._objects = objects
        self._names = names
        self._published = b""

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

    def commit(self, shard: int, samples: Sequence[ShardSample]) -> Receipt:
        """Write a shard, then its receipt; see ColumnWriter.commit.

        Returns:
            The receipt that counts, which is another writer's if that was first.

        Raises:
            StoreError: If the column was dropped, renamed or replaced meanwhile.
        """
        before = self._bytes_of(self.folder / receipt_file(shard))
        receipt = super().commit(shard, samples)
        local = self.folder / receipt.file
        receipt = receipt.model_copy(update={"file": object_name(receipt)})
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
                self._objects.delete(self._key(receipt.file))
                self._refuse_gone()
                return other
            self._refuse_gone()
            self._objects.delete(key)  # of the column that this one has replaced
        self._refuse_gone()
        return receipt

    def _has_file(self, receipt: Receipt) -> bool:
        return True  # a receipt names an object that was put before it

    def _publish(self) -> None:
        """Make `column.json` what the mirror says, and the column's name known.

        The name comes first: so a `column.json` whose name is not known is what a column leaves
        that was dropped or renamed, or that is about to get its name.
        """
        mine = self._published = (self.folder / COLUMN_FILE).read_bytes()
        key = self._key(COLUMN_FILE)
        there = self._get(key)
        if there is not None and self.info.name not in self._names.read():
            raise StoreError(
                f"{self._objects.url}: column '{self.info.name}' was dropped, or is being renamed, "
                "and its objects are not all gone: wait, or, if that was cut off, remove them by "
                f"`scfae store drop {self._objects.url} {self.info.name} --yes`."
            )
        self._names.change(lambda names: [*names, self.info.name])
        if there is None and not self._objects.create(key, mine):
            there = self._get(key)
        if there is not None and there != mine:
            if not self._is_replacing:
                raise FingerprintMismatch(
                    f"column '{self.info.name}' was just made by another writer; run again."
                )
            self._objects.put(key, mine)
        self._refuse_gone()

    def _refuse_gone(self) -> None:
        """Raise if the column is not the one that was begun: what was written does not count."""
        is_there = self.info.name in self._names.read()
        if not is_there or self._get(self._key(COLUMN_FILE)) != self._published:
            raise StoreError(
                f"{self._objects.url}: column '{self.info.name}' was dropped, renamed or replaced "
                "while it was being written; nothing more is written. Run the same again to write "
                "it anew."
            )

    def _refuse_pinned(self, fingerprint: str) -> None:
        refuse_pinned(self._objects, self.info.name, fingerprint)

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
