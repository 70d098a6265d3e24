"""One writer a folder; the kernel's lock counts and not the file."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scfae.store import lock as lock_module
from scfae.store.errors import StoreLocked
from scfae.store.lock import EXPIRY_S, LOCK_NAME, FolderLock

ELSEWHERE = json.dumps({"pid": 7, "host": "elsewhere", "since": "2026-01-02T03:04:05Z"})


def left_behind(folder: Path, text: str, *, still_s: float) -> None:
    """Write a lock file whose holder has not touched it for so long."""
    (folder / LOCK_NAME).write_text(text)
    os.utime(folder / LOCK_NAME, (time.time() - still_s,) * 2)


def test_the_file_names_its_holder_and_is_gone_on_release(tmp_path: Path) -> None:
    with FolderLock(tmp_path, "column 'ge2e'"):
        holder = json.loads((tmp_path / LOCK_NAME).read_text())
        assert (holder["pid"], holder["host"]) == (os.getpid(), socket.gethostname())
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", holder["since"])
    assert not (tmp_path / LOCK_NAME).exists()


def test_a_held_folder_is_refused_and_stays_held(tmp_path: Path) -> None:
    where = rf"by process {os.getpid()} on {socket.gethostname()} since \S+Z; wait for it"
    with FolderLock(tmp_path, "first"):
        for _ in range(2):
            with (
                pytest.raises(StoreLocked, match=f"second is being written: locked {where}"),
                FolderLock(tmp_path, "second"),
            ):
                pass
    with FolderLock(tmp_path, "third"):
        pass


def test_an_error_in_the_block_releases(tmp_path: Path) -> None:
    with pytest.raises(KeyError), FolderLock(tmp_path, "it"):
        raise KeyError
    with FolderLock(tmp_path, "it"):
        pass


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b'{"pid": 1}', b'"x"', b'{"host": ""}'])
def test_a_file_without_a_holder_is_taken_over_whatever_it_says(
    tmp_path: Path, left: bytes
) -> None:
    (tmp_path / LOCK_NAME).write_bytes(left)
    with FolderLock(tmp_path, "it"):
        assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == os.getpid()
    assert not (tmp_path / LOCK_NAME).exists()


def test_a_holder_that_cannot_be_read_is_still_a_holder(tmp_path: Path) -> None:
    with FolderLock(tmp_path, "it"):
        (tmp_path / LOCK_NAME).write_bytes(b"?")
        with (
            pytest.raises(StoreLocked, match="locked by another process"),
            FolderLock(tmp_path, "it"),
        ):
            pass


def test_two_folders_are_two_locks(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with FolderLock(tmp_path, "one"), FolderLock(tmp_path / "a", "other"):
        pass


def test_no_two_hold_it_at_once_while_many_try(tmp_path: Path) -> None:
    holding = most = entered = 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal holding, most, entered
        done = 0
        while done < 10:
            try:
                with FolderLock(tmp_path, "it"):
                    with guard:
                        holding += 1
                        most = max(most, holding)
                    done += 1
                    with guard:
                        holding -= 1
                        entered += 1
            except StoreLocked:
                continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, entered) == (1, 40)


def test_the_lock_of_a_killed_process_of_this_host_is_free_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from scfae.store.lock import FolderLock\n"
        "with FolderLock(Path(sys.argv[1]), 'it'): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreLocked, match=f"process {holder.pid} on "):
            FolderLock(tmp_path, "it").__enter__()
        holder.send_signal(signal.SIGKILL)
    assert (tmp_path / LOCK_NAME).exists()
    with FolderLock(tmp_path, "it"):
        pass


def test_another_hosts_lock_counts_until_it_has_been_still_for_long(tmp_path: Path) -> None:
    left_behind(tmp_path, ELSEWHERE, still_s=EXPIRY_S / 2)
    where = r"process 7 on elsewhere since 2026-01-02T03:04:05Z, seen \d+ s ago; .* expires 60 s"
    with pytest.raises(StoreLocked, match=where):
        FolderLock(tmp_path, "it").__enter__()
    assert (tmp_path / LOCK_NAME).read_text() == ELSEWHERE
    left_behind(tmp_path, ELSEWHERE, still_s=EXPIRY_S + 1)
    with FolderLock(tmp_path, "it") as held:
        held.check()
    assert not list(tmp_path.iterdir())


def test_a_holder_touches_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "BEAT_S", 0.01)
    with FolderLock(tmp_path, "it"):
        os.utime(tmp_path / LOCK_NAME, (0, 0))
        deadline_s = time.monotonic() + 5
        while (tmp_path / LOCK_NAME).stat().st_mtime < 1 and time.monotonic() < deadline_s:
            time.sleep(0.01)
        assert time.time() - (tmp_path / LOCK_NAME).stat().st_mtime < EXPIRY_S


@pytest.mark.parametrize("is_removed", [False, True])
def test_who_was_taken_over_finds_out_and_leaves_the_others_file(
    tmp_path: Path, is_removed: bool
) -> None:
    with FolderLock(tmp_path, "column 'ge2e'") as held:
        held.check()
        if is_removed:
            (tmp_path / LOCK_NAME).unlink()
        (tmp_path / LOCK_NAME).write_text(ELSEWHERE)
        with pytest.raises(StoreLocked, match="column 'ge2e' is no longer held by this process"):
            held.check()
    assert (tmp_path / LOCK_NAME).read_text() == ELSEWHERE
