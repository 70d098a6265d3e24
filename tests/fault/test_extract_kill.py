"""`kill -9` during extraction, then the same command again: the store is byte-identical."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scfae.demo.clips import make_media
from scfae.store import verify

SCFAE = Path(sys.executable).parent / "scfae"
ENCODERS = ("-e", "efficientnet-lite0", "-e", "ge2e")
SHARDS = 8
MAX_KILLS = 4

pytestmark = pytest.mark.fault


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    return make_media(folder, {"train": 2 * SHARDS}, fake_ratio=0.0, seed=5)


def command(manifest: Path, store: Path, *more: str) -> list[str]:
    words = [SCFAE, "extract", manifest, store, *ENCODERS, "--shard-size", "2", *more]
    return [str(word) for word in words]


def digests(store: Path) -> dict[str, str]:
    """Return the sha256 of every file, which must not hold temporaries or locks."""
    return {
        str(path.relative_to(store)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(store.rglob("*"))
        if path.is_file()
    }


def running(process: "subprocess.Popen[bytes]", seconds: float) -> Iterator[None]:
    end = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < end:
        yield
        time.sleep(0.02)


@pytest.mark.timeout(600)
def test_killed_extractions_end_in_the_same_bytes(manifest: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    subprocess.run(command(manifest, whole), check=True, capture_output=True)
    expected = digests(whole)
    assert sum(name.endswith(".zarr.zip") for name in expected) == 2 * SHARDS

    store = tmp_path / "killed"
    kills = 0
    while True:
        process = subprocess.Popen(
            command(manifest, store, "--workers", str(1 + kills % 3)),
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        before = len(list(store.rglob("shard-*.json")))
        for _ in running(process, seconds=90):
            # Killed after it committed something new, each time at another place of its work.
            done = len(list(store.rglob("shard-*.json"))) - before
            if kills < MAX_KILLS and done >= 1 + kills % 2:
                time.sleep(0.03 * kills)
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                break
        _, stderr = process.communicate()  # closes the pipe too
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, stderr
        assert verify(store) == []
    assert kills >= 3
    assert digests(store) == expected


@pytest.mark.slow
def test_another_number_of_workers_gives_the_same_bytes(manifest: Path, tmp_path: Path) -> None:
    stores = []
    for workers in (1, 4):
        store = tmp_path / f"workers-{workers}"
        words = [SCFAE, "extract", manifest, store, "-e", "ge2e", "-e", "efficientnet-lite0"]
        words += ["--shard-size", "7", "--workers", str(workers)]
        subprocess.run([str(word) for word in words], check=True, capture_output=True)
        stores.append(digests(store))
    assert stores[0] == stores[1]


def test_decoding_children_die_with_their_killed_parent(manifest: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(manifest, tmp_path / "store"), stderr=subprocess.DEVNULL, start_new_session=True
    )
    children: list[int] = []
    for _ in running(process, seconds=60):
        children = children_of(process.pid)
        if children:
            break
    assert children
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 10
    while any(is_alive(child) for child in children) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(is_alive(child) for child in children)


def test_sigterm_stops_and_says_how_to_go_on(manifest: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    process = subprocess.Popen(command(manifest, store), stderr=subprocess.PIPE, text=True)
    for _ in running(process, seconds=90):  # type: ignore[arg-type]
        if list(store.rglob("shard-*.json")):
            process.terminate()
            break
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    assert "Run the same command again" in stderr
    assert "Traceback" not in stderr
    subprocess.run(command(manifest, store), check=True, capture_output=True)
    assert verify(store) == []
    shutil.rmtree(store)


def children_of(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    tasks = Path(f"/proc/{pid}/task")
    if not path.exists():
        return []
    found = []
    for task in tasks.iterdir():
        try:
            found += [int(word) for word in (task / "children").read_text().split()]
        except FileNotFoundError:
            continue  # the thread has ended
    return found


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
