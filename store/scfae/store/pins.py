"""Pins: which columns a run was started with, so that nobody takes them away under it.

`pins/<digest of the run's path>.json` is written by the run when it starts. Replacing or dropping a
pinned column is refused, and `gc` keeps what is pinned. A pin whose run folder is gone is stale:
it holds until `gc` removes it, after the grace period.

A pin stops the commands, not the bytes: a column that is replaced in the same instant as a run
starts makes that run fail, since readers never mix old and new (see `reader`).
"""

import errno
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from .atomic import TEMPORARY
from .config import Frozen, digest
from .document import read_document, write_document
from .errors import ColumnPinned, CorruptShard

PINS_FOLDER: Final = "pins"
_READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class Pin(Frozen):
    """What one run reads.

    Attributes:
        run: The run's folder, absolute.
        host: Where it was started last.
        columns: The fingerprint of each column, by name.
        created: When it was started last, UTC.
    """

    run: str
    host: str
    columns: dict[str, str]
    created: str

    @property
    def is_stale(self) -> bool:
        """The run's folder is not there any more, as seen from here."""
        return not Path(self.run).is_dir()


def pin_run(store: Path, run: Path, columns: Mapping[str, str]) -> bool:
    """Pin what a run reads; a run that goes on pins again.

    Args:
        store: The store's folder.
        run: The run's folder.
        columns: The fingerprint of each column, by name.

    Returns:
        False where the store is read-only for this user, and so cannot be changed either.
    """
    path = os.path.abspath(run)
    pin = Pin(
        run=path,
        host=socket.gethostname(),
        columns=dict(columns),
        created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    try:
        (store / PINS_FOLDER).mkdir(exist_ok=True)
        write_document(store / PINS_FOLDER / f"{digest(path)}.json", pin.model_dump())
    except OSError as error:
        if error.errno in _READ_ONLY:
            return False
        raise
    return True


def read_pins(store: Path) -> dict[Path, Pin]:
    """Return a store's pins by their files.

    Raises:
        CorruptShard: If one is damaged: what it pins is not known.
    """
    paths = sorted((store / PINS_FOLDER).glob("*"))
    return {path: read_pin(path) for path in paths if not path.name.startswith(TEMPORARY)}


def read_pin(path: Path) -> Pin:
    """Return one pin.

    Raises:
        CorruptShard: If it is damaged.
    """
    try:
        return Pin(**read_document(path))
    except CorruptShard as error:
        raise CorruptShard(f"{error} Remove it if no run needs it.") from None
    except (ValidationError, OSError) as error:
        why = str(error).splitlines()[0]
        raise CorruptShard(f"{path} is no pin ({why}). Remove it if no run needs it.") from None


def refuse_pinned(folder: Path, fingerprint: str | None = None) -> None:
    """Raise if a run reads a column.

    Args:
        folder: The column's folder.
        fingerprint: Of the column as it is; None if any pin of its name counts.

    Raises:
        ColumnPinned: Names the run.
    """
    for path, pin in read_pins(folder.parent.parent).items():
        pinned = pin.columns.get(folder.name)
        if pinned is None or fingerprint not in (None, pinned):
            continue
        if pin.is_stale:
            what = "is gone from here: `scfae store gc --delete` removes its pin after --grace"
        else:
            what = "needs it as it is: remove the run first, or write the new rows under --as NAME"
        raise ColumnPinned(
            f"column '{folder.name}' is pinned by {path}: the run {pin.run} (on {pin.host}, "
            f"{pin.created}) {what}."
        )
