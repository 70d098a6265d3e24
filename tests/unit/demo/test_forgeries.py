"""Forged clips: how many of which kind, and that a forgery changes what it says and no more."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np

from scfae.demo.forgeries import CLASSES, deal_classes, forge_picture, forge_voice, make_forgeries

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
    assert np.unique(grey).tolist() == [88, 112]
    assert np.array_equal(grey[4:], 200 - grey[:-4])


def test_a_forged_voice_swings() -> None:
    sound = np.ones(22_050, dtype=np.float32)
    forged = forge_voice(sound, 22_050)
    assert forged.dtype == np.float32
    assert float(forged.min()) < 0.41
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
    groups = {name: {r["group"] for r in rows if r["split"] == name} for name in COUNTS}
    assert not groups["train"] & groups["test"]
    before = {path: path.stat().st_mtime_ns for path in manifest.parent.glob("*.mp4")}
    make_forgeries(tmp_path / "media", COUNTS, seed=1)
    assert before == {path: path.stat().st_mtime_ns for path in before}
