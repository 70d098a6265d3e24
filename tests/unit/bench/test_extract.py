"""`scfae bench extract` measures what it says, on rows that it checked."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from scfae.bench import extract
from scfae.bench.extract import DECODE, FEWER, ONE_BY_ONE, TOGETHER, measure
from scfae.cli import main
from scfae.store.errors import ConfigError

ENCODERS = ("ge2e@random:0", "resnetse34l@random:0")


def test_every_way_is_timed_and_every_promise_judged(tmp_path: Path) -> None:
    said: list[str] = []
    result = measure(2, 1, encoders=ENCODERS, clip_s=1.0, folder=tmp_path, say=said.append)
    ways = [TOGETHER, FEWER, DECODE, *(f"forward, {text}" for text in ENCODERS), ONE_BY_ONE]
    assert list(result.best_s) == ways
    assert all(0 < best < 60 for best in result.best_s.values())
    bare = sum(best for way, best in result.best_s.items() if way == DECODE or "forward" in way)
    assert result.targets[0].ratio == pytest.approx(result.best_s[TOGETHER] / bare)
    wanted = ["<= 1.1", ">= 1", "<= 1.05", "<= 1.05"]
    assert [target.wanted for target in result.targets] == wanted
    # A pass and its decoding children cannot take less of the processors than the pass alone.
    assert list(result.cpu_s) == ways
    assert result.cpu_s[TOGETHER] > result.cpu_s["forward, resnetse34l@random:0"] > 0
    text = result.to_text()
    assert all(target.outcome in text for target in result.targets)
    assert json.loads(json.dumps(result.to_json()))["targets"][0]["outcome"]
    assert list(tmp_path.iterdir()) == []
    assert "checking the engine's rows" in said


def test_promises_are_of_the_times_measured() -> None:
    best = {TOGETHER: 11.0, FEWER: 5.9, DECODE: 2.0, "forward, a": 3.0, "forward, b": 5.0}
    cpu = best | {TOGETHER: 16.4}
    targets = extract._targets(best | {ONE_BY_ONE: 22.0}, cpu, ("a", "b"))
    assert [target.ratio for target in targets] == [
        pytest.approx(1.1),
        2.0,
        pytest.approx(1.02),
        pytest.approx(2.1),
    ]
    assert [target.outcome for target in targets[2:]] == ["reached", "missed"]


def test_wrong_rows_stop_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = extract._Bare.encode

    def wrong(self: extract._Bare, name: str, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        return encode(self, name, batch) + 1

    monkeypatch.setattr(extract._Bare, "encode", wrong)
    with pytest.raises(RuntimeError, match=r"other rows of clip-0000\.mp4 by ge2e"):
        measure(1, 1, encoders=ENCODERS, clip_s=0.5, folder=tmp_path)


def test_one_encoder_cannot_be_added_to_others(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "extract", "-e", "ge2e"]) == ConfigError.exit_status
    assert "at least two" in capsys.readouterr().err
