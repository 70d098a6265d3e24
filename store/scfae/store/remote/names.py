"""Names: of columns and pins, in one object each; of shards, never the same twice.

A list of names in one object is changed by compare-and-swap, so nothing has to be listed:
`columns.json` says which columns there are, `pins.json` which runs have a pin. Whoever changes one
reads it, and replaces it only if it is still what was read; otherwise the same again.
"""

import json
import random
import secrets
import time
from collections.abc import Callable
from typing import Final

from ..column import SAFE_NAME
from ..container import format_of
from ..errors import CorruptShard, StoreLocked
from ..receipt import Receipt, shard_file
from .objects import Objects, Version, create_once

ATTEMPTS: Final = 30
_PAUSE_S = 0.05


class Names:
    """The names in one object.

    Args:
        objects: The store's objects.
        key: The object.
        unlisted: Gives the names where there is no such object.
    """

    def __init__(
        self, objects: Objects, key: str, unlisted: Callable[[], list[str]] = list
    ) -> None:
        self._objects = objects
        self._key = key
        self._unlisted = unlisted

    def read(self) -> list[str]:
        """Return the names there are now, sorted.

        Raises:
            CorruptShard: If the object is damaged.
        """
        return self._versioned()[0]

    def change(self, change: Callable[[list[str]], list[str]]) -> None:
        """Replace the names by what `change` makes of them; it may be called several times.

        Raises:
            CorruptShard: If the object is damaged.
            StoreLocked: If other writers were faster each time.
        """

        def attempt() -> bool:
            before, version = self._versioned()
            after = sorted(set(change(before)))
            if after == before and (version is not None or not before):
                return True
            data = json.dumps(after).encode()
            if version is None:
                return create_once(self._objects, self._key, data)
            return self._objects.replace(self._key, data, version)

        until_done(f"{self._objects.url}/{self._key}", attempt)

    def _versioned(self) -> tuple[list[str], Version | None]:
        version: Version | None = None
        try:
            data, version = self._objects.get_versioned(self._key)
            names = json.loads(data)
        except FileNotFoundError:
            names = self._unlisted()
        except ValueError:
            raise CorruptShard(f"{self._objects.url}/{self._key} is damaged; remove it.") from None
        return sorted(name for name in names if SAFE_NAME.fullmatch(str(name))), version


def object_name(receipt: Receipt) -> str:
    """Return a name for a shard's object that was never there before.

    It has a part of the digest, for people, and chance. So no put can change an object that a
    receipt names, and `gc` can remove one without a receipt while writers are at work: none of them
    will come to write it again.
    """
    form = format_of(receipt.file)
    whole = shard_file(receipt.shard, "zarr" if form is None else form)
    stem, suffix = whole.split(".", 1)
    return f"{stem}.{receipt.sha256[:8]}{secrets.token_hex(4)}.{suffix}"


def until_done(what: str, attempt: Callable[[], bool]) -> None:
    """Read, change and write an object again whenever another writer was faster.

    Args:
        what: Its URL.
        attempt: Does it once; returns whether it was in time.

    Raises:
        StoreLocked: If it never was.
    """
    for number in range(ATTEMPTS):
        if attempt():
            return
        time.sleep(random.uniform(0, _PAUSE_S * (number + 1)))
    raise StoreLocked(
        f"{what} was changed by other writers {ATTEMPTS} times while it was to be changed here; "
        "nothing is lost, run the same again when they are done."
    )
