"""Processes of jobs: told apart by number and start time, started in a session of their own."""

import os
import signal
import socket
import subprocess
import sys
from functools import cache
from pathlib import Path

from scfae.train.processors import sharing_environment

from .folder import JobFolder
from .record import Process

JOB_MODULE = "scfae.cli.job"
"""What a job's process runs, named and not imported: the command line stands above the service."""


@cache
def machine() -> str:
    """Return what process numbers count in: host, its boot and the space of numbers."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()} {boot} {os.readlink('/proc/self/ns/pid')}"


def process_of(pid: int) -> Process:
    """Return the process of a number: this one, or a child that was not waited for yet."""
    start = _start_of(pid)
    assert start is not None, "such a process has a line in /proc, even if it has ended"
    return Process(pid=pid, start=start, machine=machine())


def is_alive(process: Process) -> bool | None:
    """Return whether a process runs; None if that cannot be seen from here."""
    if process.machine == machine():
        return _is_running(process.pid) and _start_of(process.pid) == process.start
    # After a reboot of this host nothing of before runs; of another host nothing is known.
    host, boot, _ = process.machine.split(" ", 2)
    here, now, _ = machine().split(" ", 2)
    return False if host == here and boot != now else None


def spawn(folder: JobFolder, attempt: int, gpu: str | None) -> subprocess.Popen[bytes]:
    """Start a job's process; it outlives the caller.

    Args:
        folder: Of the job.
        attempt: Which start of the job this is.
        gpu: The GPU that it sees; None leaves what this process sees.
    """
    environment = sharing_environment()
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    job = folder.submitted().request.job
    prints = folder.artifacts / job.prints if job.prints else folder.log_path
    folder.artifacts.mkdir(exist_ok=True)
    mode = "wb" if job.prints else "ab"
    with open(folder.log_path, "ab") as log, open(prints, mode) as output:
        return subprocess.Popen(
            [sys.executable, "-m", JOB_MODULE, str(folder.path), str(attempt)],
            cwd=folder.path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=log,
            start_new_session=True,
        )


def send(process: Process, signum: signal.Signals) -> None:
    """Send a signal to all of a job's processes, if they still run."""
    if is_alive(process):
        try:
            os.killpg(process.pid, signum)
        except ProcessLookupError:
            return


def _start_of(pid: int) -> int | None:
    """Return when a process began, in clock ticks since the boot; None if there is none."""
    fields = _stat(pid)
    return None if fields is None else int(fields[19])


def _is_running(pid: int) -> bool:
    """Return whether a process has not ended; one that nobody has waited for yet has."""
    fields = _stat(pid)
    return fields is not None and fields[0] not in ("Z", "X")


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()  # the name before it may hold anything
