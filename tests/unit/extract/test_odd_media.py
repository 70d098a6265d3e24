"""Every class of odd media through `scfae extract`: each file has its fate, and none stops it."""

import json
import os
import time
from pathlib import Path

import pytest

from scfae.cli.extract import run as scfae_extract
from scfae.extract.files import printable
from scfae.store import FeatureStore, verify

from . import odd_media as odd
from .small_jobs import BOTH, fates

LONGEST_S = 120.0


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, int, float]:
    """The media, the store, the exit status and how long it took."""
    folder = tmp_path_factory.mktemp("odd")
    odd.make_all(folder)
    store = folder.parent / f"{folder.name}-store"
    began_s = time.monotonic()
    encoders = [text for name in BOTH for text in ("-e", name)]
    sizes = ["--batch-size", "8", "--shard-size", "16", "--workers", "2"]
    status = scfae_extract([str(folder), str(store), *encoders, *sizes, "--json"])
    return folder, store, status, time.monotonic() - began_s


def test_making_them_leaves_this_process_its_place_among_others(tmp_path: Path) -> None:
    make, _ = odd.FILES["av1.mkv"]
    make(tmp_path / "av1.mkv")
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_there_are_files_of_every_class() -> None:
    assert len(odd.FILES) >= 70
    assert len({Path(file).stem for file in odd.FILES}) == len(odd.FILES)  # a sample each


def test_the_run_ends_and_says_that_files_failed(
    extracted: tuple[Path, Path, int, float],
) -> None:
    _, _, status, seconds = extracted
    assert status == 3
    assert seconds < LONGEST_S


@pytest.mark.parametrize("file", odd.FILES, ids=printable)
def test_each_file_has_its_fate(extracted: tuple[Path, Path, int, float], file: str) -> None:
    found = fates(extracted[1])[printable(Path(file).stem)]
    for column, (status, reason) in zip(BOTH, odd.FILES[file][1], strict=True):
        what = found[column]
        assert what[0] == status, what
        assert reason in (what[1] or "")
        assert (what[1] or "").isprintable()
        assert status == "ok" or what[1]


def test_the_counts_add_up_to_the_inputs(extracted: tuple[Path, Path, int, float]) -> None:
    store = FeatureStore.open(extracted[1])
    assert len(store.samples) == len(odd.FILES)
    wanted = [[by[k][0] for _, by in odd.FILES.values()] for k in range(2)]
    for name, statuses in zip(BOTH, wanted, strict=True):
        column = store.column(name)
        counts = {one: int((column.status == one).sum()) for one in set(statuses)}
        assert counts == {one: statuses.count(one) for one in set(statuses)}
        assert sum(counts.values()) == len(odd.FILES)
        has_rows = column.lengths > 0
        assert [bool(one) for one in has_rows] == [
            status in ("ok", "partial") for status in column.status
        ]
    assert verify(extracted[1]) == []


def test_run_again_it_has_nothing_to_do(
    extracted: tuple[Path, Path, int, float], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, store, _, _ = extracted
    encoders = [text for name in BOTH for text in ("-e", name)]
    allowed = ["--max-failures", str(len(odd.FILES))]
    assert scfae_extract([str(folder), str(store), *encoders, *allowed, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files_decoded"] == 0
