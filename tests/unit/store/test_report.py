"""Every input has a row in every column's report, and the counts add up."""

import json
from pathlib import Path

import numpy as np
import pytest

from scfae.store import ColumnInfo, FeatureStore, SampleRow, ShardSample
from scfae.store.report import info, info_text, status, status_text

N = 7


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """`video` has every fate; `audio` only its first shard of three."""
    rows = [
        SampleRow(f"s{i}", split="train" if i < 5 else "test", labels={"y": i % 2, "x": i / 2})
        for i in range(N - 1)
    ]
    made = FeatureStore.create(tmp_path / "store", [*rows, SampleRow("bare")], shard_size=3)
    fates = [
        ShardSample(np.ones((2, 4))),
        ShardSample(np.ones((1, 4)), status="partial", reason="3 damaged packets"),
        ShardSample(status="missing", reason="no video"),
        ShardSample(status="failed", reason="cannot be decoded"),
        ShardSample(np.full((1, 4), np.nan)),
        ShardSample(np.ones((5, 4))),
        ShardSample(status="missing", reason="no video"),
    ]
    for name, num_shards in (("video", 3), ("audio", 1)):
        column = ColumnInfo.create(
            name, name, encoder=name, dim=4, weights="random:0", is_random=name == "audio"
        )
        with made.add_column(column) as writer:
            for shard in range(num_shards):
                writer.commit(shard, [fates[i] for i in made.samples.rows_of(shard)])
    return made


def test_every_input_has_a_row_with_its_fate_in_every_column(store: FeatureStore) -> None:
    report = status(store)
    assert json.loads(json.dumps(report)) == report == store.status()
    assert sorted(row["id"] for row in report["samples"]) == sorted(store.samples.ids.tolist())
    video = [row["columns"]["video"] for row in report["samples"]]
    assert video == [
        {"status": "ok", "reason": None, "rows": 2},
        {"status": "partial", "reason": "3 damaged packets", "rows": 1},
        {"status": "missing", "reason": "no video", "rows": 0},
        {"status": "failed", "reason": "cannot be decoded", "rows": 0},
        {"status": "failed", "reason": "the encoder gave values that are not finite", "rows": 0},
        {"status": "ok", "reason": None, "rows": 5},
        {"status": "missing", "reason": "no video", "rows": 0},
    ]
    audio = [row["columns"]["audio"] for row in report["samples"]]
    pending = {"status": "missing", "reason": "not extracted yet", "rows": 0}
    assert audio == [*video[:3], *[pending] * 4]


def test_counts_add_up_to_the_samples(store: FeatureStore) -> None:
    report = status(store)
    assert report["counts"] == {
        "audio": {"ok": 1, "partial": 1, "missing": 5, "failed": 0},
        "video": {"ok": 2, "partial": 1, "missing": 2, "failed": 2},
    }
    assert report["not_extracted"] == {"audio": 4, "video": 0}
    for name, counts in report["counts"].items():
        assert sum(counts.values()) == N
        fates = [row["columns"][name]["status"] for row in report["samples"]]
        assert {fate: fates.count(fate) for fate in counts} == counts


def test_info_says_what_is_there(store: FeatureStore) -> None:
    report = info(store)
    assert json.loads(json.dumps(report)) == report
    assert (report["samples"], report["shards"], report["shard_size"]) == (N, 3, 3)
    assert report["splits"] == {"test": 1, "train": 5}
    assert report["labels"] == {
        "x": {"kind": "float", "known": 6},
        "y": {"kind": "int", "known": 6, "classes": 2},
    }
    audio, video = report["columns"]["audio"], report["columns"]["video"]
    assert (video["complete"], video["shards_done"], video["rows"]) == (True, 3, 8)
    assert (audio["complete"], audio["shards_done"], audio["rows"]) == (False, 1, 3)
    assert video["bytes"] == sum(
        p.stat().st_size for p in (store.path / "columns/video").glob("*.zip")
    )
    assert video["fingerprint"] == store.columns["video"].fingerprint


def test_texts_hold_the_same_figures_and_mark_noise(store: FeatureStore) -> None:
    text = info_text(store)
    assert f"{N} samples in 3 shards" in text
    assert "splits: test 1, train 5" in text
    audio, video = text.splitlines()[-2:]
    assert audio.split()[:7] == ["audio", "audio", "zarr", "float32", "x", "4", "3"]
    assert audio.endswith("1/3     random weights")
    assert video.endswith("random:0")
    lines = [line.split() for line in status_text(store).splitlines()]
    assert ["audio", "1", "1", "1", "0", "4"] in lines
    assert ["video", "2", "1", "2", "2", "0"] in lines
    assert "video: 2 missing: no video" in status_text(store)
    assert "audio: 4 missing: not extracted yet" in status_text(store)


def test_a_store_without_columns_has_a_row_a_sample(tmp_path: Path) -> None:
    bare = FeatureStore.create(tmp_path / "bare", [SampleRow("a"), SampleRow("b")])
    assert len(status(bare)["samples"]) == 2
    assert status(bare)["counts"] == {}
    assert "splits: none" in info_text(bare)
    assert "2 samples" in status_text(bare)
