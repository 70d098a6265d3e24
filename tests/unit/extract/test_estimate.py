"""A dry run's estimate: what is counted is what a run then does."""

from pathlib import Path

import pytest

from scfae.extract import estimate as module
from scfae.store import FeatureStore

from . import media_kit as kit
from .small_jobs import BOTH, run

FILES = 6


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for i in range(FILES):
        kit.write_clip(folder / f"{i}.mp4", frames=25, sound_s=1.0)
    return folder


def test_an_estimate_is_what_a_run_then_does(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_FILES", 3)
    store = tmp_path / "store"
    dry = run(clips, store, BOTH, dry_run=True)
    assert not store.exists()
    expected = dry.estimate
    assert expected is not None
    assert (expected.files, expected.probed) == (FILES, 3)
    assert expected.media_hours == pytest.approx(FILES * 1.0 / 3600, rel=0.1)
    assert 0 < expected.seconds < 600
    assert f"{FILES} files to decode; from a probe of 3 of them" in dry.text()
    body = dry.as_dict()["estimate"]
    assert body["clips"] == expected.clips

    real = run(clips, store, BOTH)
    assert real.estimate is None
    assert real.clips == expected.clips
    columns = [FeatureStore.open(store).column(name) for name in BOTH]
    stored = sum(4 * int(one.lengths.sum()) * one.info.dim for one in columns)
    assert stored == expected.feature_bytes
    assert run(clips, store, BOTH, dry_run=True).estimate is None  # nothing to do


def test_a_probe_of_files_that_all_fail_says_what_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "a.mp4").write_text("no film at all")
    found = run(folder, tmp_path / "store", ["ge2e"], dry_run=True).estimate
    assert found is not None
    assert (found.files, found.clips, found.feature_bytes) == (1, 0, 0)
