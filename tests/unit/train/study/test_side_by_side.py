"""Questions side by side: all are done, one that fails is no other's end, a signal stops them."""

import os
import signal
import time
from pathlib import Path

from scfae.train.study.side_by_side import Report, run_side_by_side


def count_up(folder: Path, name: str, report: Report) -> None:
    """Report three runs, or raise, or wait to be stopped."""
    if name == "bad":
        raise ValueError("as asked")
    for number in range(1, 4):
        report(number, name)
    while name == "slow":
        time.sleep(0.05)
    (folder / name).touch()


def test_all_are_done_and_counted_together(tmp_path: Path) -> None:
    heard: list[tuple[int, int, str]] = []
    words = [(tmp_path, name) for name in ("a", "bad", "b")]
    signum = run_side_by_side(
        count_up, words, jobs=2, progress=lambda *told: heard.append(told), total=9
    )
    assert signum is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert max(heard)[:2] == (6, 9)


def test_a_signal_stops_what_runs(tmp_path: Path) -> None:
    def progress(done: int, total: int, text: str) -> None:
        if done == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    words = [(tmp_path, "slow"), (tmp_path, "a")]
    signum = run_side_by_side(count_up, words, jobs=1, progress=progress, total=6)
    assert signum == signal.SIGTERM
    assert not list(tmp_path.iterdir())
