"""Decoding children: results in order, and a hang or a crash costs one file."""

import importlib
from collections.abc import Callable
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
import os, time
from dataclasses import dataclass


class Cutter:
    def __init__(self, does):
        self.does = does

    def push(self, frame):
        if self.does == "hang":
            time.sleep(60)
        if self.does == "die":
            os._exit(7)
        return []

    def end(self):
        return []


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
    # The first file of a child may take longer, for imports: hang on a later one.
    found = fates(clips, [odd("hang" if k == 3 else "nothing") for k in range(4)], timeout_s=2.0)
    assert [one.status for one in found] == ["missing", "missing", "missing", "failed"]
    assert "2 s (--timeout)" in found[3].reason


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
