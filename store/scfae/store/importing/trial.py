"""A first reading of an HDF5 file in a child process that can be stopped.

A few altered bytes make the HDF5 library loop without end inside a call that no signal handler of
Python reaches, or may crash it. So the child reads everything that the importer will, with limits
on time and memory; what it got through, this process reads too.
"""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from ..errors import ImportRefused
from .limits import ByteBudget

TRIAL_S: Final = 60.0
TRIAL_BYTES_PER_S: Final = 4 << 20
MEMORY_BYTES: Final = 8 << 30
_BLOCK_BYTES: Final = 16 << 20


def try_reading(path: Path, *, max_bytes: int | None, limit_s: float = TRIAL_S) -> None:
    """Read an HDF5 file once in a child process.

    Args:
        path: The file.
        max_bytes: What it may unpack to; None is 20 times its size, at least 1 GiB.
        limit_s: Seconds that the child may take, beside those for the file's size.

    Raises:
        ImportRefused: If the child crashed or did not end in time.
    """
    limit_s += path.stat().st_size / TRIAL_BYTES_PER_S
    words = [sys.executable, "-P", "-m", __name__, os.fspath(path), str(max_bytes or 0)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise ImportRefused(
            f"{path}: reading it did not end in {limit_s:.0f} s and was stopped; it is damaged."
        ) from None
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise ImportRefused(f"{path}: reading it crashed HDF5 ({name}); it is damaged.")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ImportRefused(f"{path}: cannot be read ({last[:200]}).")


def read_everything(path: Path, max_bytes: int | None) -> None:
    """Read all arrays of an HDF5 file in blocks, as far as they are such as can be imported."""
    from .hdf5 import Hdf5

    try:
        archive = Hdf5(path, ByteBudget(path, path.stat().st_size, max_bytes))
    except ImportRefused:
        return  # the parent will find the same, and say it
    for name in archive.names:
        try:
            array = archive.array(name)
            count = array.shape[0] if array.shape else 0
            bytes_each = array.dtype.itemsize
            for size in array.shape[1:]:
                bytes_each *= size
            step = max(1, _BLOCK_BYTES // max(1, bytes_each))
            for first in range(0, count, step):
                array.read(first, min(first + step, count))
        except ImportRefused:
            continue


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(hard, MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    read_everything(Path(sys.argv[1]), int(sys.argv[2]) or None)
