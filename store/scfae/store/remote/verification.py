"""Re-read a remote store against its checksums, without the local cache."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..atomic import sha256_file
from ..column import COLUMN_FILE
from ..errors import CorruptShard
from ..files import FilePool
from ..pins import read_pin
from ..receipt import parse_receipt, receipt_file
from ..shard import ShardReader
from ..verification import Damage
from .objects import get_many
from .pins import pin_keys
from .store import RemoteStore


def verify_url(url: str) -> list[Damage]:
    """Download every object that a receipt names and return all damage; see `store.verify`.

    Objects that no receipt names are not looked for: nothing is listed.

    Raises:
        StoreNotFound: If there is no store.
        StoreVersionError: If it was written by a newer version.
        CorruptShard: If the sample table is damaged.
    """
    store = RemoteStore.open_url(url)
    damage: list[Damage] = []
    for pin, data in get_many(store.objects, pin_keys(store.objects)).items():
        try:
            read_pin(Path(f"{store.url}/{pin}"), data)
        except CorruptShard as error:
            damage.append(Damage(None, None, pin, str(error)))
    with tempfile.TemporaryDirectory(prefix="scfae-verify-") as folder:
        for name in store.column_names():
            try:
                store.column(name)
            except CorruptShard as error:
                damage.append(Damage(name, None, f"columns/{name}/{COLUMN_FILE}", str(error)))
                continue
            damage += _verify_column(store, name, Path(folder))
    return damage


def requeue_url(url: str, damage: Sequence[Damage]) -> list[tuple[str, int]]:
    """Remove the receipts of damaged shards; see `verification.requeue`."""
    objects = RemoteStore.open_url(url).objects
    shards = sorted({(d.column, d.shard) for d in damage if d.column and d.shard is not None})
    for column, shard in shards:
        objects.delete(f"columns/{column}/{receipt_file(shard)}")
    return shards


def _verify_column(store: RemoteStore, name: str, folder: Path) -> list[Damage]:
    damage: list[Damage] = []
    info = store.columns[name]
    for shard, data in store.fetch_receipts(name).items():
        key = f"columns/{name}/{receipt_file(shard)}"
        try:
            receipt = parse_receipt(data, Path(name), shard)
        except CorruptShard as error:
            damage.append(Damage(name, shard, key, str(error)))
            continue
        if receipt.fingerprint != info.fingerprint:
            continue  # left over from a column that was replaced
        if receipt.ids_sha256 != store.samples.ids_sha256(shard):
            damage.append(Damage(name, shard, key, "it is the receipt of other samples"))
        key = f"columns/{name}/{receipt.file}"
        path = folder / receipt.file
        try:
            store.objects.download(key, path)
            ShardReader(path, receipt, pool=FilePool(capacity=1)).verify()
        except FileNotFoundError:
            damage.append(Damage(name, shard, key, "the object is gone"))
        except CorruptShard:
            what = f"its sha256 is {sha256_file(path)}, its receipt says {receipt.sha256}"
            damage.append(Damage(name, shard, key, what))
        path.unlink(missing_ok=True)
    return damage
