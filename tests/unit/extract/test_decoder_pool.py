"""Decoding children: results in order, and a hang or a crash costs one file."""

import importlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scfae.demo.clips import make_media
from scfae.extract.decoder_pool import DecoderPool, Request
from scfae.extract.limits import Limits
from scfae.extract.media import Decoded

Make = Callable[[str], Any]

# A recipe of its own module: children unpickle it by name.
SOURCE = """
import os, signal, threading, time
from dataclasses import dataclass

import numpy as np

from scfae.extract.recipe import Window


def kill_soon(seconds):
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


class Cutter:
    def __init__(self, does):
        self.does = does

    def push(self, frame):
        if self.does == "hang":
            time.sleep(60)
        if self.does == "die":
            os._exit(7)
        if self.does == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.does == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.does == "raise":
            raise ValueError("no such luck")
        return []

    def end(self):
        if self.does == "killed while it sends":
            threading.Thread(target=kill_soon, args=(0.6,), daemon=True).start()
        if self.does in ("killed while it sends", "much"):
            # Each is a part of its own: more than the parent takes ahead.
            large = np.ones(17 << 20, dtype=np.uint8)
            return [Window(large * k, np.array([[k, k + 1.0]])) for k in range(8)]
        return [Window(np.array([os.getpid()]), np.zeros((1, 2)))] if self.does == "pid" else []


@dataclass(frozen=True)
class Odd:
    does: str
    kind: str = "audio"
    sample_rate_hz: int = 16000

    def begin(self, info):
        return Cutter(self.does)
"""


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    (tmp_path / "odd_recipes.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    make: Make = importlib.import_module("odd_recipes").Odd
    return make


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("media")
    make_media(folder, {"train": 4}, fake_ratio=0.0, seed=2)
    return sorted(folder.glob("*.mp4"))


def fates(clips: list[Path], recipes: list[Any], *, timeout_s: float = 20.0) -> list[Any]:
    with DecoderPool(2, Limits(timeout_s=timeout_s)) as pool:
        requests = [
            Request(path, {"odd": recipe}) for path, recipe in zip(clips, recipes, strict=True)
        ]
        ends = [one for one in pool.decode(requests) if isinstance(one, Decoded)]
    return [one.fates["odd"] for one in ends]


def test_a_crash_costs_one_file(clips: list[Path], odd: Make) -> None:
    found = fates(clips, [odd("die" if k == 1 else "nothing") for k in range(4)])
    assert [one.status for one in found] == ["missing", "failed", "missing", "missing"]
    assert "exit status 7" in found[1].reason
    assert str(clips[1]) in found[1].reason


def test_a_hang_is_cut_at_the_limit(clips: list[Path], odd: Make) -> None:
    # Also on the first file of a child: its imports do not count.
    found = fates(clips, [odd("hang" if k == 0 else "nothing") for k in range(4)], timeout_s=0.5)
    assert [one.status for one in found] == ["failed", "missing", "missing", "missing"]
    assert "0.5 s (--timeout)" in found[0].reason


def test_results_come_in_the_order_of_the_requests(clips: list[Path], odd: Make) -> None:
    paths = [clips[k] for k in (2, 0, 3, 1)] * 3
    with DecoderPool(3) as pool:
        ends = [
            one.sha256
            for one in pool.decode(Request(path, {"odd": odd("nothing")}) for path in paths)
            if isinstance(one, Decoded)
        ]
    assert len(set(ends)) == 4
    assert ends == ends[:4] * 3


def test_leaving_early_leaves_no_child(clips: list[Path], odd: Make) -> None:
    with DecoderPool(2) as pool:
        next(pool.decode([Request(path, {"odd": odd("nothing")}) for path in clips]))
        children = [child.process for child in pool._children]
        assert children
    assert all(child.poll() is not None for child in children)


def test_killed_and_stopped_children_cost_their_file(clips: list[Path], odd: Make) -> None:
    deeds = ["nothing", "nothing", "killed", "stopped"]
    found = fates(clips, [odd(deed) for deed in deeds], timeout_s=1.0)
    assert [one.status for one in found] == ["missing", "missing", "failed", "failed"]
    assert "the decoder died (SIGKILL)" in found[2].reason
    assert "longer than 1 s (--timeout)" in found[3].reason


def test_a_recipe_that_raises_costs_its_file(
    clips: list[Path], odd: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    found = fates(clips, [odd("raise" if k == 0 else "nothing") for k in range(4)])
    assert [one.status for one in found] == ["failed", "missing", "missing", "missing"]
    reason = f"decoding failed (ValueError: no such luck): {clips[0]}"
    assert found[0].reason == reason
    assert "no such luck" in capfd.readouterr().err


def test_a_child_is_used_for_many_files(clips: list[Path], odd: Make) -> None:
    with DecoderPool(1) as pool:
        requests = [Request(path, {"odd": odd("pid")}) for path in clips * 2]
        ends = [one.fates["odd"] for one in pool.decode(requests) if isinstance(one, Decoded)]
    assert len({int(end.windows[0].array[0]) for end in ends}) == 1


def test_a_long_file_comes_in_parts(clips: list[Path], odd: Make) -> None:
    with DecoderPool(1) as pool:
        *parts, end = pool.decode([Request(clips[0], {"odd": odd("much")})])
    assert len(parts) == 8
    assert isinstance(end, Decoded)
    assert end.fates["odd"].windows == []
    assert end.fates["odd"].status == "ok"
    values = [int(window.array[0]) for part in parts for window in part["odd"]]  # type: ignore[index]
    assert values == list(range(8))


def test_waiting_for_the_consumer_is_not_counted(clips: list[Path], odd: Make) -> None:
    with DecoderPool(1, Limits(timeout_s=4.0)) as pool:
        ends, has_waited = [], False
        for message in pool.decode([Request(clips[0], {"odd": odd("much")})]):
            if isinstance(message, Decoded):
                ends.append(message.fates["odd"].reason or "ok")
            elif not has_waited:
                time.sleep(4.2)  # longer than the limit, with parts still to come
                has_waited = True
    assert ends == ["ok"]


def test_a_child_that_dies_in_the_middle_of_a_message_costs_its_file(
    clips: list[Path], odd: Make
) -> None:
    recipes = [odd("killed while it sends"), odd("nothing")]
    with DecoderPool(1) as pool:
        messages = pool.decode(
            Request(path, {"odd": recipe}) for path, recipe in zip(clips, recipes, strict=False)
        )
        next(messages)
        time.sleep(1.2)  # the child is killed while it waits to send
        ends = [one.fates["odd"] for one in messages if isinstance(one, Decoded)]
    assert [end.status for end in ends] == ["failed", "missing"]
    assert "SIGKILL" in str(ends[0].reason)


def test_closing_while_files_wait_starts_no_new_child(clips: list[Path], odd: Make) -> None:
    for _ in range(5):
        with DecoderPool(2, ahead=20) as pool:
            messages = pool.decode(Request(path, {"odd": odd("nothing")}) for path in clips * 6)
            next(messages)
            began_s = time.monotonic()
        assert time.monotonic() - began_s < 5.0
        assert pool._children == set()
        threads = [thread.name for thread in threading.enumerate()]
        assert not any(name.startswith("decoder") for name in threads)


def test_a_failure_of_the_requests_reaches_the_consumer(clips: list[Path], odd: Make) -> None:
    def requests() -> Iterator[Request]:
        yield Request(clips[0], {"odd": odd("nothing")})
        raise KeyboardInterrupt

    with DecoderPool(1) as pool, pytest.raises(KeyboardInterrupt):
        list(pool.decode(requests()))


def test_no_requests_no_children() -> None:
    with DecoderPool(2) as pool:
        assert list(pool.decode([])) == []
        assert pool._children == set()


def test_a_child_ends_when_its_parent_is_killed(tmp_path: Path, clips: list[Path]) -> None:
    code = f"""
import sys, time
from pathlib import Path
from scfae.extract.decoder_pool import DecoderPool, Request
from scfae.extract.speech import Speech
pool = DecoderPool(1)
next(pool.decode([Request(Path({str(clips[0])!r}), {{"a": Speech()}})]))
print(next(iter(pool._children)).process.pid, flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert Path(f"/proc/{child}").exists()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    end_s = time.monotonic() + 5.0
    while is_running(child):
        assert time.monotonic() < end_s, "the child outlives its parent"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
