"""The README's commands for each table, on miniatures in the official layouts."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from scfae.cli.main import main

from ..data.layouts import write_apivr, write_clip, write_fakeavceleb, write_gcnet

pytestmark = pytest.mark.slow

QUICK = ("--methods", "scfae", "--seeds", "1", "--bootstrap", "10")
SETTINGS = ("--settings", "epochs=1", "batch_size=4", "device=cpu", "options.map_groups=64")
"""In 64 groups the maps of 1024-d features are small enough for a test."""


SMALL = (
    *SETTINGS[:-1],
    "encoders.video.encoder=r2plus1d-18@random:1:every=8,side=14",
    "encoders.video.width=2",
    "encoders.audio.encoder=resnetse34l@random:1:window_s=0.1",
    "encoders.audio.width=2",
)


def reproduced(out: Path, *words: str, settings: Sequence[str] = SETTINGS) -> dict[str, Any]:
    """Run the command; return its tables by name."""
    assert main(["reproduce", *words, "--out", str(out), *QUICK, *settings]) == 0
    return {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}


def measured(table: dict[str, Any]) -> list[str]:
    return [row["name"] for row in table["rows"] if row["state"] == "measured"]


def test_tables_of_activitynet(tmp_path: Path) -> None:
    write_apivr(tmp_path / "apivr", videos=(24, 2, 140))
    store = tmp_path / "activitynet"
    assert main(["data", "activitynet", str(tmp_path / "apivr"), str(store)]) == 0
    tables = reproduced(
        tmp_path / "out", "table3", "table8", "table9", "--data", str(store), "--protocol", "paper"
    )
    assert measured(tables["table3"]) == ["128-128 SCFAE", "4096-128 SCFAE"]
    assert len(measured(tables["table8"])) == 2
    assert len(measured(tables["table9"])) == 4


def test_tables_of_mosei(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = write_gcnet(tmp_path / "utt")
    store = tmp_path / "mosei"
    words = ["data", "mosei", str(tmp_path / "utt"), str(store), "--labels", str(labels)]
    assert main(words) == 0
    names = ("table5", "table7", "table10", "table11")
    tables = reproduced(tmp_path / "out", *names, "--data", str(store))
    assert [len(measured(tables[name])) for name in names] == [1, 3, 9, 5]
    said = capsys.readouterr().err
    for name, others in zip(names[1:], (2, 8, 4), strict=True):
        found = re.search(
            rf"^{name}: by .+ SCFAE is ahead of (\d+) other rows beyond noise, behind (\d+), and "
            r"not to be told from (\d+) \(",
            said,
            re.MULTILINE,
        )
        assert found is not None
        assert sum(map(int, found.groups())) == others


def test_tables_of_fakeavceleb(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4")
    write_fakeavceleb(tmp_path / "FakeAVCeleb_v1.2", clip, identities=8)
    manifest, store = str(tmp_path / "fakeavceleb.csv"), tmp_path / "fakeavceleb"
    shares = ["--test", "0.34", "--val", "0.25"]
    root = str(tmp_path / "FakeAVCeleb_v1.2")
    assert main(["data", "fakeavceleb", root, manifest, *shares]) == 0
    encoders = ["-e", "efficientnet-lite0", "-e", "ge2e"]
    assert main(["extract", manifest, str(store), *encoders, "--workers", "1"]) == 0
    windows = ["input:r2plus1d-18:every=8,side=14", "input:resnetse34l:window_s=0.1"]
    words = ["extract", manifest, str(store), "--workers", "1"]
    assert main([*words, *(word for one in windows for word in ("-e", one))]) == 0
    whole = reproduced(tmp_path / "six", "table6", "adapters", "--data", str(store), settings=SMALL)
    assert measured(whole["table6"]) == [
        f"R(2+1)D-18 + ResNetSE-34 {name}"
        for name in ("0. Standalone Unimodal Baseline", "4. SCFAE (Ours)")
    ]
    assert measured(whole["adapters"]) == ["0. Standalone Unimodal Baseline", "4. SCFAE (Ours)"]
    tables = reproduced(tmp_path / "out", "table4", "table14", "--data", str(store))
    assert measured(tables["table4"]) == ["SCFAE"]
    assert len(measured(tables["table14"])) == 3
