"""Which machine figures come from, and its page cache."""

import os
import platform
from collections.abc import Iterable
from pathlib import Path

_BLOCK_BYTES = 1 << 20


def machine() -> str:
    """Return the processor's name, how many of its cores this process may use, and the system."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    return f"{name}, {cores} cores, {platform.system()}, Python {platform.python_version()}"


def refill_page_cache(files: Iterable[Path]) -> None:
    """Drop files from the page cache and read each of them into it from front to back.

    Pages that were written lie in larger folios than pages that were read, and are up to 1.6 times
    faster to copy from: so all files get into the cache in the same way.
    """
    os.sync()  # only clean pages can be dropped
    for file in files:
        descriptor = os.open(file, os.O_RDONLY)
        try:
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            while os.read(descriptor, _BLOCK_BYTES):
                pass
        finally:
            os.close(descriptor)
