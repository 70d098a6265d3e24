"""Older versions of the format, brought forward one version at a time.

A step takes the documents of version v to those of version v + 1: the body of `store.json` and
that of each `column.json`. Steps are applied in memory whenever a store is opened, so every older
store reads as one of today, and written to disk only when asked for (`migrate`). Shards and
receipts are never touched: what a version changes must be sayable in the two documents.

A `column.json` says its own version where that is not 1, since columns may be written by another
scfae than the store was made by. Version 1 is the only one so far, so there are no steps yet.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from .document import read_document, write_document
from .errors import StoreVersionError
from .lock import FolderLock

FORMAT_VERSION: Final = 1
VERSION_KEY: Final = "format_version"
_STORE_FILE: Final = "store.json"
_COLUMNS = "columns/*/column.json"
Body = Mapping[str, Any]


class Step(NamedTuple):
    """What takes documents of one version to the next.

    Attributes:
        store: Of the body of `store.json`; the version itself is not its business.
        column: Of the body of a `column.json`.
    """

    store: Callable[[Body], dict[str, Any]]
    column: Callable[[Body], dict[str, Any]]


STEPS: Final[dict[int, Step]] = {}
"""By the version that a step begins with."""


def forward_store(body: Body, path: Path) -> dict[str, Any]:
    """Return the body of a `store.json` of any known version as one of today.

    Args:
        body: As it was read.
        path: The file, for the message.

    Raises:
        StoreVersionError: If it is of a version that is not known.
    """
    version = body.get(VERSION_KEY)
    new = _forward(body, version, path, is_store=True)
    return new | {VERSION_KEY: FORMAT_VERSION}


def forward_column(body: Body, path: Path) -> dict[str, Any]:
    """Return the body of a `column.json` of any known version as one of today, without a version.

    Args:
        body: As it was read.
        path: The file, for the message.

    Raises:
        StoreVersionError: If it is of a version that is not known.
    """
    rest = {key: value for key, value in body.items() if key != VERSION_KEY}
    return _forward(rest, body.get(VERSION_KEY, 1), path, is_store=False)


def migrate(path: Path) -> list[str]:
    """Write the documents of a store anew as those of today; return the files that were written.

    `store.json` comes last: until then an older scfae reads what it knows, and refuses columns
    that it does not. Killed in between, the same again does the rest.

    Args:
        path: The store's folder.

    Raises:
        StoreLocked: If the store or a column is being written.
        StoreVersionError: If it is of a version that is not known.
        CorruptShard: If a document is damaged.
    """
    written = []
    with FolderLock(path, f"store {path}"):
        for file in sorted(path.glob(_COLUMNS)):
            if file.parent.name.startswith("."):
                continue  # being renamed or dropped
            with FolderLock(file.parent, f"column '{file.parent.name}'"):
                old = read_document(file)
                if old.get(VERSION_KEY, 1) != FORMAT_VERSION:
                    write_document(file, _stamped(forward_column(old, file)))
                    written.append(str(file.relative_to(path)))
        file = path / _STORE_FILE
        old = read_document(file)
        if old.get(VERSION_KEY) != FORMAT_VERSION:
            write_document(file, forward_store(old, file))
            written.append(_STORE_FILE)
    return written


def _forward(body: Body, version: object, path: Path, *, is_store: bool) -> dict[str, Any]:
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise StoreVersionError(
            f"{path} has format version {version}, but this scfae reads versions up to "
            f"{FORMAT_VERSION}; upgrade scfae to open it."
        )
    for number in range(version, FORMAT_VERSION):
        step = STEPS.get(number)
        if step is None:
            raise StoreVersionError(
                f"{path} has format version {version}, from which nothing leads to version "
                f"{FORMAT_VERSION}; it was written by no release of scfae."
            )
        body = (step.store if is_store else step.column)(body)
    return dict(body)


def _stamped(body: dict[str, Any]) -> dict[str, Any]:
    return body if FORMAT_VERSION == 1 else body | {VERSION_KEY: FORMAT_VERSION}
