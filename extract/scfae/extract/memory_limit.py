"""A bound on the memory that one file adds to its decoding child.

Linux counts what a process may write to (`RLIMIT_DATA`); beyond the bound an allocation fails,
which FFmpeg, Pillow and numpy report, so that the child lives on and the file is `failed`.
Elsewhere there is no bound but the machine's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_STATM = Path("/proc/self/statm")
_DATA_PAGES = 5


@contextmanager
def memory_limit(more_bytes: int | None) -> Iterator[None]:
    """Let the process take so many bytes more than it has; None lets it take any.

    Raises:
        MemoryError: In the block, where it wants more.
    """
    if more_bytes is None or not _STATM.exists():
        yield
        return
    import resource

    pages = int(_STATM.read_text().split()[_DATA_PAGES])
    before, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = pages * resource.getpagesize() + more_bytes
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (before, hard))
