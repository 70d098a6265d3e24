"""What a command would do, by its own `--dry-run`, in a process of its own: it takes memory."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from scfae.store.errors import ConfigError, ServiceBusy
from scfae.train.processors import sharing_environment

CLI_MODULE: Final = "scfae.cli"
"""Named and not imported: the command line stands above the service."""
TIMEOUT_S: Final = 300.0
_POLL_S: Final = 0.5


class DryRuns:
    """Makes dry runs, one at a time: each loads encoders or a model.

    Args:
        is_stopping: Whether the server is about to end.
    """

    def __init__(self, *, is_stopping: Callable[[], bool]) -> None:
        self._is_stopping = is_stopping
        self._lock = threading.Lock()

    def report(self, words: Sequence[str]) -> dict[str, Any]:
        """Return what `scfae … --dry-run --json` says.

        Args:
            words: The command's, without these two.

        Raises:
            ConfigError: The command refuses; in its own words.
            ServiceBusy: Another dry run is being made, or this one took too long.
        """
        if not self._lock.acquire(blocking=False):
            raise ServiceBusy("another estimate is being made; ask again when it is done.")
        try:
            status, output, errors = self._run([*words, "--dry-run", "--json"])
        finally:
            self._lock.release()
        if status:
            said = [line for line in errors.splitlines() if line.strip()]
            why = said[-1].removeprefix("scfae: ") if said else f"status {status}"
            raise ConfigError(why)
        report: dict[str, Any] = json.loads(output)
        return report

    def _run(self, words: Sequence[str]) -> tuple[int, str, str]:
        """Run a command; it ends with the server, or after so long."""
        command = [sys.executable, "-m", CLI_MODULE, *words]
        until = time.monotonic() + TIMEOUT_S
        with subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=sharing_environment(),  # as a job has it: what is timed is to be what it takes
            start_new_session=True,
        ) as process:
            while True:
                try:
                    output, errors = process.communicate(timeout=_POLL_S)
                    return process.returncode, output, errors
                except subprocess.TimeoutExpired:
                    if time.monotonic() < until and not self._is_stopping():
                        continue
                    os.killpg(process.pid, signal.SIGKILL)
                    process.communicate()
                    break
        raise ServiceBusy(
            f"the estimate was given up: it took {TIMEOUT_S:g} s, or the server ends."
        )
