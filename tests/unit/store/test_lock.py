"""One writer a folder; the kernel's lock counts and not the file."""

import json
import os
import socket
import threading
from pathlib import Path

import pytest

from scfae.store.errors import StoreLocked
from scfae.store.lock import LOCK_NAME, FolderLock


def test_the_file_names_its_holder_and_is_gone_on_release(tmp_path: Path) -> None:
    with FolderLock(tmp_path, "column 'ge2e'"):
        holder = json.loads((tmp_path / LOCK_NAME).read_text())
        assert holder == {"pid": os.getpid(), "host": socket.gethostname()}
    assert not (tmp_path / LOCK_NAME).exists()


def test_a_held_folder_is_refused_and_stays_held(tmp_path: Path) -> None:
    where = f"by process {os.getpid()} on {socket.gethostname()}; wait for it, or stop it"
    with FolderLock(tmp_path, "first"):
        for _ in range(2):
            with (
                pytest.raises(StoreLocked, match=f"second is being written {where}"),
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


@pytest.mark.parametrize("left", [b"", b"{", b"[]", b'{"pid": 1}', b'{"pid": 999999, "host": "x"}'])
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
            pytest.raises(StoreLocked, match="being written by another process"),
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
