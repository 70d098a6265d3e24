"""`kill -9` at any instant of writing a store: it opens or is not there, and loses nothing."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from scfae.store import FeatureStore, verify
from scfae.store.container import SUFFIXES, Format
from scfae.store.errors import StoreNotFound

from .store_writer import SHARED, START, create, describe, value

WRITER = Path(__file__).with_name("store_writer.py")
KILLS = 8
MAX_DELAY_S = 0.25

pytestmark = pytest.mark.fault


def ready(*words: object) -> "subprocess.Popen[str]":
    """Start a writer and wait until it is about to write."""
    command = [sys.executable, str(WRITER), *map(str, words)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(*processes: "subprocess.Popen[str]") -> None:
    """Let writers write, at the same time."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def lines_of(process: "subprocess.Popen[str]") -> list[list[str]]:
    """Wait for the end of a process; return what it said as words, whole lines only."""
    with process:
        assert process.stdout is not None
        out = process.stdout.read()
    whole = out[: out.rfind("\n") + 1]
    return [line.split() for line in whole.splitlines()]


def kill_after(
    process: "subprocess.Popen[str]", delay_s: float, *, is_begun: bool
) -> list[list[str]]:
    """Kill a writer some time after its start, or after it has said that something is done."""
    go(process)
    assert process.stdout is not None
    first = process.stdout.readline() if is_begun else ""
    time.sleep(delay_s)
    process.send_signal(signal.SIGKILL)
    said = [*([first.split()] if first else []), *lines_of(process)]
    assert process.returncode == -signal.SIGKILL
    return said


def assert_values(store: FeatureStore, column: str) -> None:
    """Check every row that is there against what its sample and generation say."""
    opened = store.column(column)
    generation = int(opened.info.weights.removeprefix("random:"))
    assert opened.info.fingerprint == describe(column, generation).fingerprint
    for i, name in enumerate(store.samples.ids):
        if opened.lengths[i]:
            assert (opened.rows(i) == value(str(name), generation)).all()


class Promises:
    """What a writer said it had done, and nothing may take back."""

    def __init__(self) -> None:
        self.ids = {f"s{i}" for i in range(START)}
        self.is_created = False
        self.shards: dict[tuple[str, int], str] = {}

    def hear(self, said: list[list[str]]) -> None:
        for word, *more in said:
            if word == "created":
                self.is_created = True
            elif word == "appended":
                self.ids.add(more[0])
            elif word == "commit":
                self.shards[more[0], int(more[2])] = more[3]
            elif word == "replacing":
                self.shards = {key: sha for key, sha in self.shards.items() if key[0] == "kept"}

    def check(self, path: Any) -> None:
        try:
            store = FeatureStore.open(path)
        except StoreNotFound:
            assert not self.is_created
            return
        self.is_created = True
        assert verify(path) == []
        assert self.ids <= set(store.samples.ids.tolist())
        assert len(set(store.samples.ids.tolist())) == len(store.samples)
        for (column, shard), sha256 in self.shards.items():
            receipt = store.column(column).receipt(shard)
            assert receipt is not None, (column, shard)
            assert receipt.sha256 == sha256
        for column in store.columns:
            assert_values(store, column)


def kill_again_and_again(path: Path, form: Format, kills: int) -> None:
    """Kill a writer so often; check the store after each, and that the next one completes it."""
    instants, promises = random.Random(0), Promises()
    num_said = 0
    for kill in range(kills):
        writer, delay_s = ready("grow", path, kill, 10_000, form), instants.uniform(0, MAX_DELAY_S)
        said = kill_after(writer, delay_s, is_begun=kill % 2 == 1)
        assert ["finished"] not in said
        num_said += len(said)
        promises.hear(said)
        promises.check(path)
    assert num_said >= kills // 2
    process = ready("grow", path, kills, 1, form)
    go(process)
    said = lines_of(process)
    assert (process.returncode, said[-1]) == (0, ["finished"])
    promises.hear(said)
    promises.check(path)
    store = FeatureStore.open(path)
    assert {info.format for info in store.columns.values()} == {form}
    assert store.column("kept").is_complete
    left = [p for p in path.rglob("*") if p.name.startswith((".tmp-", ".lock")) or "next" in p.name]
    assert left == []


@pytest.mark.parametrize("form", SUFFIXES)
def test_a_store_killed_at_any_instant_keeps_what_was_acknowledged(
    tmp_path: Path, form: Format
) -> None:
    kill_again_and_again(tmp_path / "store", form, KILLS)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("form", SUFFIXES)
def test_a_store_survives_a_hundred_kills(tmp_path: Path, form: Format) -> None:
    kill_again_and_again(tmp_path / "store", form, 100)


def test_a_creation_killed_at_any_instant_is_whole_or_not_there(tmp_path: Path) -> None:
    instants = random.Random(1)
    num_created = 0
    for kill in range(KILLS):
        folder = tmp_path / f"{kill}"
        folder.mkdir()
        writer, delay_s = ready("create", folder), instants.uniform(0, MAX_DELAY_S)
        said = kill_after(writer, delay_s, is_begun=kill % 2 == 1)
        created = {Path(line[1]).name for line in said}
        num_created += len(created)
        for path in folder.iterdir():
            try:
                store = FeatureStore.open(path)
            except StoreNotFound:
                assert path.name not in created
                store = create(path)
            assert len(store.samples) == START
            assert verify(path) == []
        assert created <= {path.name for path in folder.iterdir()}
    assert num_created > 0


def test_two_writers_at_once_do_every_shard_once_and_lose_no_sample(tmp_path: Path) -> None:
    path = tmp_path / "store"
    create(path)
    writers = [ready("share", path, who) for who in (1, 2)]
    go(*writers)
    said = [lines_of(writer) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0]
    together = [line for lines in said for line in lines]
    store = FeatureStore.open(path)
    appended = {line[1] for line in together if line[0] == "appended"}
    assert len(appended) == 2 * SHARED
    assert all(["commit", "kept"] in [line[:2] for line in lines] for lines in said)
    assert set(store.samples.ids.tolist()) == {f"s{i}" for i in range(START)} | appended
    commits = sorted(int(line[3]) for line in together if line[0] == "commit")
    assert commits == list(range(len(commits)))
    assert verify(path) == []
    assert_values(store, "kept")


def test_a_killed_writer_leaves_its_work_to_the_one_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "store"
    create(path)
    killed, other = (ready("share", path, who) for who in (1, 2))
    go(killed, other)
    assert killed.stdout is not None
    first = [killed.stdout.readline().split() for _ in range(SHARED // 2)]
    killed.send_signal(signal.SIGKILL)
    promises = Promises()
    for said in (first, lines_of(killed), lines_of(other)):
        promises.hear(said)
    assert (killed.returncode, other.returncode) == (-signal.SIGKILL, 0)
    promises.check(path)
    assert FeatureStore.open(path).column("kept").is_complete
