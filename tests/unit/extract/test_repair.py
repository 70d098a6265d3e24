"""Damage, `scfae store verify --repair`, the same extraction again: the same bytes as before."""

import json
import shutil
from pathlib import Path

import pytest

from scfae.cli.main import main
from scfae.store import verify

from .small_jobs import run, shard_files


@pytest.fixture
def voices(kept_media: Path, tmp_path: Path) -> Path:
    """Six inputs that are quick to extract, one of which fails."""
    folder = tmp_path / "voices"
    folder.mkdir()
    for number in range(6):
        shutil.copy(kept_media / ("voice.wav" if number else "nan.wav"), folder / f"{number}.wav")
    return folder


def test_exactly_the_damaged_shards_are_extracted_again_to_the_same_bytes(
    voices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    run(voices, store, ["ge2e"], shard_size=1, workers=1)
    whole = shard_files(store)
    column = store / "columns/ge2e"
    flipped = bytearray((column / "shard-00001.zarr.zip").read_bytes())
    flipped[len(flipped) // 2] ^= 1
    (column / "shard-00001.zarr.zip").write_bytes(flipped)
    (column / "shard-00003.zarr.zip").unlink()
    (column / "shard-00000.json").write_bytes(b"{")
    others = {path: path.stat().st_mtime_ns for path in column.glob("shard-0000[245]*")}
    assert len(others) == 6

    assert main(["store", "verify", str(store), "--repair", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"]
    assert len(report["damage"]) == 3
    assert report["requeued"] == [{"column": "ge2e", "shard": shard} for shard in (0, 1, 3)]
    assert verify(store) == []

    run(voices, store, ["ge2e"], workers=1)
    assert shard_files(store) == whole
    assert {path: path.stat().st_mtime_ns for path in others} == others
    assert main(["store", "verify", str(store), "--repair"]) == 0
    assert "every file agrees" in capsys.readouterr().out


def test_what_cannot_be_repaired_is_said_and_ends_with_status_1(
    voices: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    run(voices, store, ["ge2e"], shard_size=5, workers=1)
    shutil.copy(voices / "1.wav", store / "1.wav")
    (store / "columns/ge2e/shard-00000.zarr.zip").write_bytes(b"")
    assert main(["store", "verify", str(store), "--repair"]) == 1
    out, said = capsys.readouterr()
    assert "requeued: column ge2e, shard 0" in out
    assert "1.wav was put there by somebody else: move it out of the store." in said
