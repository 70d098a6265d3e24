"""A file is the old one or the new one, never half of either."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from scfae.store.atomic import (
    TEMPORARY,
    atomic_file,
    clean_temporaries,
    remove,
    sha256_file,
    write_atomic,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_half(path: Path, error: BaseException) -> None:
    with atomic_file(path) as file:
        file.write(b"half of the n")
        file.flush()
        raise error


def test_a_new_file_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")
    write_atomic(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()], ids=repr)
def test_a_writer_that_fails_leaves_the_old_file_and_no_temporary(
    tmp_path: Path, error: BaseException
) -> None:
    path = tmp_path / "a"
    with pytest.raises(type(error)):
        write_half(path, error)
    assert names(tmp_path) == []
    write_atomic(path, b"old")
    with pytest.raises(type(error)):
        write_half(path, error)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_the_old_file_is_read_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")
    with atomic_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        assert [name.startswith(TEMPORARY) for name in names(tmp_path)] == [True, False]
    assert path.read_bytes() == b"new"


def test_a_killed_writer_leaves_the_old_file_and_a_temporary_that_cleaning_removes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")
    code = f"""
import os, signal
from pathlib import Path
from scfae.store.atomic import atomic_file
with atomic_file(Path({str(path)!r})) as file:
    file.write(b"new")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert path.read_bytes() == b"old"
    assert len(names(tmp_path)) == 2
    clean_temporaries(tmp_path)
    assert names(tmp_path) == ["a"]


def test_two_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with atomic_file(path) as one:
        one.write(b"one, which ends last")
        with atomic_file(path) as other:
            other.write(b"other")
        assert path.read_bytes() == b"other"
    assert path.read_bytes() == b"one, which ends last"


def test_remove_takes_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    write_atomic(tmp_path / "a", b"")
    remove(tmp_path / "a")
    remove(tmp_path / "a")
    assert names(tmp_path) == []


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1])
def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path, size: int) -> None:
    data = b"x" * size
    write_atomic(tmp_path / "a", data)
    assert sha256_file(tmp_path / "a") == hashlib.sha256(data).hexdigest()
