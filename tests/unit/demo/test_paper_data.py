"""The paper's tables on generated media, from nothing to the page, in small."""

import json
from pathlib import Path

import pytest

from scfae.cli.main import main
from scfae.demo import paper_data

pytestmark = pytest.mark.slow


def test_tables_of_all_three_sets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(paper_data, "COUNTS", {"train": 24, "val": 12, "test": 12})
    out = tmp_path / "out"
    words = ["reproduce", "table3", "table5", "table14", "--demo", "--out", str(out)]
    words += ["--methods", "scfae", "cmmp", "euar", "--seeds", "1", "--bootstrap", "10"]
    words += ["--settings", "epochs=1", "device=cpu"]
    assert main(words) == 0
    tables = {path.stem: json.loads(path.read_text()) for path in out.glob("*.json")}
    measured = {
        name: [row["name"] for row in table["rows"] if row["state"] == "measured"]
        for name, table in tables.items()
    }
    assert measured == {
        "table3": ["128-128 CMMP", "128-128 SCFAE", "4096-128 SCFAE"],
        "table5": ["EUAR", "SCFAE"],
        "table14": ["Specific-only", "Shared-only", "SCFAE (Full)"],
    }
    assert tables["table5"]["data"]["columns"]["image"].startswith("efficientnet-lite0")
    assert "Generated media" in (out / "report.html").read_text()
    capsys.readouterr()
    assert main(words) == 0  # nothing is made or run again
    assert "finished" not in capsys.readouterr().err
    assert main([*words, "--data", "s/"]) == 2
