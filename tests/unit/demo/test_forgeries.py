"""Forged clips: how many of which kind, and that a forgery changes what it says and no more."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from scfae.demo.forgeries import (
    CLASSES,
    GRID_LEVELS,
    LEAST_TRACE,
    deal_classes,
    draw_trace,
    forge_picture,
    forge_voice,
    make_forgeries,
)
from scfae.store.errors import RunStateError

COUNTS = {"train": 20, "val": 10, "test": 10}


def test_half_are_genuine_in_every_split() -> None:
    splits = [name for name, count in COUNTS.items() for _ in range(count)]
    dealt = deal_classes(splits, seed=1)
    for name, count in COUNTS.items():
        kinds = Counter(k for k, split in zip(dealt, splits, strict=True) if split == name)
        assert kinds["RvRa"] == count // 2
        assert max(kinds[k] for k in CLASSES[1:]) - min(kinds[k] for k in CLASSES[1:]) <= 1
    assert dealt == deal_classes(splits, seed=1)
    assert dealt != deal_classes(splits, seed=2)


def test_a_forged_picture_is_coarser_and_has_a_grid() -> None:
    pixels = np.random.default_rng(0).integers(20, 235, size=(120, 160, 3)).astype(np.uint8)
    forged = forge_picture(pixels)
    assert forged.shape == pixels.shape
    assert np.array_equal(forged[::2], forged[1::2])
    assert np.array_equal(forged[:, ::2], forged[:, 1::2])
    assert abs(float(forged.mean()) - float(pixels.mean())) < 1.0
    grey = forge_picture(np.full((120, 160, 3), 100, dtype=np.uint8))
    assert np.unique(grey).tolist() == [100 - GRID_LEVELS, 100 + GRID_LEVELS]
    assert np.array_equal(grey[4:], 200 - grey[:-4])


def test_a_good_forger_leaves_few_traces() -> None:
    pixels = np.random.default_rng(0).integers(20, 235, size=(120, 160, 3)).astype(np.uint8)
    assert np.array_equal(forge_picture(pixels, 0.0), pixels)
    off = [
        np.abs(forge_picture(pixels, trace).astype(int) - pixels).mean()
        for trace in (0.1, 0.5, 1.0)
    ]
    assert off[0] < off[1] / 4 < off[2] / 7
    sound = np.ones(22_050, dtype=np.float32)
    assert np.array_equal(forge_voice(sound, 22_050, 0.0), sound)
    assert float(forge_voice(sound, 22_050, 0.5).min()) == pytest.approx(0.6, abs=0.01)
    generator = np.random.default_rng(0)
    assert draw_trace(generator, "train") == 1.0
    traces = np.array([draw_trace(generator, "test") for _ in range(1000)])
    assert LEAST_TRACE <= traces.min() < 1.1 * LEAST_TRACE
    assert 0.9 < traces.max() <= 1.0
    assert np.median(traces) == pytest.approx(np.sqrt(LEAST_TRACE), rel=0.1)


def test_a_forged_voice_swings() -> None:
    sound = np.ones(22_050, dtype=np.float32)
    forged = forge_voice(sound, 22_050)
    assert forged.dtype == np.float32
    assert float(forged.min()) < 0.21
    assert float(forged.max()) > 0.99


def test_the_manifest_has_every_label(tmp_path: Path) -> None:
    manifest = make_forgeries(tmp_path / "media", COUNTS, seed=1)
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(COUNTS.values())
    for row in rows:
        assert row["fake_video"] == str(int(row["class"].startswith("Fv")))
        assert row["fake_audio"] == str(int(row["class"].endswith("Fa")))
        assert row["fake"] == str(int(row["class"] != "RvRa"))
        assert float(row["value"]) == round((int(row["digit"]) - 4.5) / 1.5, 6)
        assert (manifest.parent / row["video"]).is_file()
        assert (float(row["trace"]) > 0) == (row["class"] != "RvRa")
    groups = {name: {r["group"] for r in rows if r["split"] == name} for name in COUNTS}
    assert not groups["train"] & groups["test"]
    before = {path: path.stat().st_mtime_ns for path in manifest.parent.glob("*.mp4")}
    make_forgeries(tmp_path / "media", COUNTS, seed=1)
    assert before == {path: path.stat().st_mtime_ns for path in before}
    manifest.write_text("id,video,image\n")
    with pytest.raises(RunStateError, match="media of another version of the demo: remove"):
        make_forgeries(tmp_path / "media", COUNTS, seed=1)
