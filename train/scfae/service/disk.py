"""What takes the disk: jobs, trash, stores. Folders are walked, so figures are kept for a while."""

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Final

from scfae.store.config import Frozen

KEPT_S: Final = 60.0


class Place(Frozen):
    """A folder's share of the disk.

    Attributes:
        name: runs, trash or a store's path.
        size_bytes: Of its files.
    """

    name: str
    size_bytes: int


class Disk(Frozen):
    """The disk of the service.

    Attributes:
        total_bytes: Of the file system that the service's folder is on.
        free_bytes: Of it.
        places: What takes how much.
        measured_s: When, in seconds since 1970.
    """

    total_bytes: int
    free_bytes: int
    places: tuple[Place, ...]
    measured_s: float


class DiskMeter:
    """Measures folders, and keeps what it found for a minute.

    Args:
        folder: The service's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._kept: Disk | None = None

    def measure(self, stores: list[Path], *, is_fresh: bool = False) -> Disk:
        """Return what takes the disk.

        Args:
            stores: Folders of the stores.
            is_fresh: Look again, even if it was measured a moment ago.
        """
        with self._lock:
            kept = self._kept
            if kept is not None and not is_fresh and time.time() - kept.measured_s < KEPT_S:
                return kept
            usage = shutil.disk_usage(self._folder)
            names = {name: self._folder / name for name in ("runs", "trash")}
            names |= {str(path): path for path in stores}
            self._kept = Disk(
                total_bytes=usage.total,
                free_bytes=usage.free,
                places=tuple(Place(name=n, size_bytes=bytes_in(p)) for n, p in names.items()),
                measured_s=time.time(),
            )
            return self._kept


def bytes_in(path: Path) -> int:
    """Return the bytes of all files in a folder; of what is gone meanwhile, none."""
    total = 0
    try:
        entries = os.scandir(path)
    except (FileNotFoundError, NotADirectoryError):
        return 0
    with entries:
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    total += bytes_in(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
            except FileNotFoundError:
                continue
    return total
