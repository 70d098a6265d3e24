"""The local pool: several processes that share one extraction, one for each GPU.

Each is the same extraction with `claim`, on a device of its own; what one of them is at when it
dies, another takes over at once. The parent adds up what they tell and waits.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import torch

from scfae.store import errors
from scfae.store.errors import ScfaeError, StoreError

from .device import choose_device
from .done import Done
from .meter import Progress
from .preparation import Prepared, prepare
from .running import run_here
from .settings import ExtractSettings

_STOP_S = 30.0


def devices_of(settings: ExtractSettings) -> list[str]:
    """Return the device of each process: every GPU, or the one that was named, or the CPU."""
    if settings.device in ("auto", "cuda") and torch.cuda.is_available():
        found = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    else:
        found = [settings.device]
    count = len(found) if settings.processes is None else settings.processes
    return [found[i % len(found)] for i in range(count)]


def run_processes(prepared: Prepared, devices: Sequence[str], progress: Progress | None) -> Done:
    """Run an extraction in one process for each device; return what all have done.

    Args:
        prepared: What to do.
        devices: Of each process.
        progress: Told what all have done together.

    Raises:
        ScfaeError: Of the first process that failed.
        KeyboardInterrupt: If the parent was stopped; the processes are stopped first.
    """
    settings = prepared.settings
    if not prepared.work.shards:
        return Done()
    workers = max(1, settings.num_workers // len(devices))
    pool = [
        _Child(replace(settings, device=device, claim=True, processes=1, workers=workers))
        for device in devices
    ]
    tally = _Tally(progress, len(pool))
    listeners = [
        threading.Thread(target=child.listen, args=(tally, number), daemon=True)
        for number, child in enumerate(pool)
    ]
    try:
        for listener in listeners:
            listener.start()
        for listener in listeners:
            listener.join()
    finally:
        for child in pool:
            child.stop()
    for child in pool:
        if child.error is not None:
            raise child.error
    done = Done()
    for number, child in enumerate(pool):
        if child.done is not None:
            done.add(child.done)
        else:
            done.notices.append(f"process {number} died ({child.ending}); others did its part")
    if all(child.done is None for child in pool):
        raise StoreError(f"{settings.store}: every process of the extraction died; run it again.")
    return done


class _Tally:
    """Adds up the progress of all processes."""

    def __init__(self, progress: Progress | None, count: int) -> None:
        self._progress = progress
        self._done = [0] * count
        self._total = 0
        self._lock = threading.Lock()

    def tell(self, number: int, done: int, total: int, text: str) -> None:
        with self._lock:
            self._done[number] = done
            self._total = max(self._total, total)
            if self._progress is not None:
                now = sum(self._done)
                self._progress(now, max(now, self._total), f"process {number}: {text}")


class _Child:
    """One process; it is told its settings on stdin and answers in lines of JSON on stdout."""

    def __init__(self, settings: ExtractSettings) -> None:
        self.done: Done | None = None
        self.error: ScfaeError | None = None
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(settings)) + "\n")
        self._process.stdin.flush()

    def listen(self, tally: _Tally, number: int) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message: Mapping[str, Any] = json.loads(line)
            if "progress" in message:
                tally.tell(number, *message["progress"])
            elif "error" in message:
                kind = getattr(errors, message["kind"], StoreError)
                self.error = kind(message["error"])
            else:
                self.done = Done.from_json(message["done"])
        self._process.wait()

    @property
    def ending(self) -> str:
        """How the process ended."""
        status = self._process.returncode
        return signal.Signals(-status).name if status < 0 else f"exit status {status}"

    def stop(self) -> None:
        """Let the process end at its next safe point, if it has not ended."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


def main() -> None:
    """Do one process's part: settings as one line of JSON on stdin, what is done on stdout."""

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt(signum)

    # Ctrl-C reaches the whole process group; stopping is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        settings = ExtractSettings.from_json(json.loads(sys.stdin.readline()))
        threading.Thread(target=_end_with_parent, daemon=True).start()
        device = choose_device(settings.device, where=f"--device {settings.device}")
        prepared = prepare(settings, device=device)
        done = run_here(prepared, lambda *told: _say({"progress": told}))
        _say({"done": done.to_json()})
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGTERM)
    except ScfaeError as error:
        _say({"kind": type(error).__name__, "error": str(error)})
        sys.exit(error.exit_status)
    except OSError as error:
        text = f"{error.strerror or error}: {error.filename or settings.store}"
        _say({"kind": "StoreError", "error": text})
        sys.exit(1)


def _end_with_parent() -> None:
    """End when the parent has: its end of stdin is closed then, however it ended."""
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _say(message: Mapping[str, Any]) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    main()
