"""Pins: which columns a run was started with, so that nobody takes them away under it.

`pins/<digest of the run's path>.json` is written by the run when it starts. Replacing or dropping a
pinned column is refused, and `gc` keeps what is pinned. A pin whose run folder is gone is stale:
it holds until `gc` removes it, after the grace period.

A pin stops the commands, not the bytes: a column that is replaced in the same instant as a run
starts makes that run fail, since readers never mix old and new (see `reader`).
"""

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from pydantic import ValidationError

from .atomic import TEMPORARY
from .config import Frozen, digest
from .document import read_document, unseal, write_document
from .errors import ColumnPinned, CorruptShard, StoreError

if TYPE_CHECKING:
    from .store import FeatureStore

logger = logging.getLogger("scfae.store")

PINS_FOLDER: Final = "pins"
RENEWAL_S: Final = 3600.0
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

    @classmethod
    def of(cls, run: Path, columns: Mapping[str, str]) -> Self:
        """Return the pin of a run that starts here and now."""
        return cls(
            run=os.path.abspath(run),
            host=socket.gethostname(),
            columns=dict(columns),
            created=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )

    @property
    def name(self) -> str:
        """What the pin is called: of one run there is one pin."""
        return digest(self.run)

    @property
    def is_from_here(self) -> bool:
        """The run was started on this machine."""
        return self.host == socket.gethostname()

    @property
    def is_stale(self) -> bool:
        """The run's folder is not there any more, as seen from here."""
        return not Path(self.run).is_dir()

    def holds(self, column: str, fingerprint: str | None) -> bool:
        """Return whether the run reads a column; of this fingerprint, or of any if it is None."""
        held = self.columns.get(column)
        return held is not None and fingerprint in (None, held)

    def refusal(self, column: str, where: str) -> ColumnPinned:
        """Return the error that names the run.

        Args:
            column: What it pins.
            where: The pin's file or object.
        """
        if self.is_stale:
            what = "is gone from here: `scfae store gc --delete` removes its pin after --grace"
        else:
            what = "needs it as it is: remove the run first, or write the new rows under --as NAME"
        return ColumnPinned(
            f"column '{column}' is pinned by {where}: the run {self.run} (on {self.host}, "
            f"{self.created}) {what}."
        )


def pin_run(store: Path, run: Path, columns: Mapping[str, str]) -> bool:
    """Pin what a run reads; a run that goes on pins again.

    Args:
        store: The store's folder.
        run: The run's folder.
        columns: The fingerprint of each column, by name.

    Returns:
        False where the store is read-only for this user, and so cannot be changed either.
    """
    pin = Pin.of(run, columns)
    try:
        (store / PINS_FOLDER).mkdir(exist_ok=True)
        write_document(store / PINS_FOLDER / f"{pin.name}.json", pin.model_dump())
    except OSError as error:
        if error.errno in _READ_ONLY:
            return False
        raise
    return True


@contextmanager
def pinned(store: "FeatureStore", run: Path, columns: Mapping[str, str]) -> Iterator[bool]:
    """Pin what a run reads, and renew the pin as long as the block lasts.

    The pin outlives the block: of a local store for as long as the run's folder is there, behind a
    URL for a day after it was last renewed (see `remote.pins`).

    Args:
        store: The store.
        run: The run's folder.
        columns: The fingerprint of each column, by name.

    Yields:
        False where the store is read-only for this user.
    """
    is_pinned = store.pin(run, columns)
    if store.is_local or not is_pinned:
        yield is_pinned
        return
    is_over = threading.Event()

    def renew() -> None:
        while not is_over.wait(RENEWAL_S):
            try:
                store.pin(run, columns)
            except StoreError as error:
                logger.warning("the pin of %s was not renewed: %s", run, error)

    thread = threading.Thread(target=renew, name="scfae-pin", daemon=True)
    thread.start()
    try:
        yield True
    finally:
        is_over.set()
        thread.join()


def read_pins(store: Path) -> dict[Path, Pin]:
    """Return a store's pins by their files.

    Raises:
        CorruptShard: If one is damaged: what it pins is not known.
    """
    paths = sorted((store / PINS_FOLDER).glob("*"))
    return {path: read_pin(path) for path in paths if not path.name.startswith(TEMPORARY)}


def read_pin(path: Path, data: bytes | None = None) -> Pin:
    """Return one pin.

    Args:
        path: Its file.
        data: What the file holds, if that was read already.

    Raises:
        CorruptShard: If it is damaged.
    """
    try:
        return Pin(**(read_document(path) if data is None else unseal(data, path)))
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
        if pin.holds(folder.name, fingerprint):
            raise pin.refusal(folder.name, str(path))
