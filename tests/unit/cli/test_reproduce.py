"""`scfae reproduce`: which data a table needs, and what is refused."""

import json
from pathlib import Path

import pytest

from scfae.cli.main import main
from scfae.cli.reproduce import run
from scfae.store.errors import ConfigError

from ..train.reproduce.small_data import paper_store


def test_what_is_missing_or_not_built_is_refused(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out")]
    with pytest.raises(ConfigError, match=r"data: missing\. It is: .*\(mosei for these tables\)"):
        run(["table5", *out])
    with pytest.raises(ConfigError, match="say which s/ is, as in fakeavceleb=s/"):
        run(["table4", "table5", "--data", "s/", *out])
    with pytest.raises(ConfigError, match="two stores of mosei: a and b"):
        run(["table5", "--data", "a", "mosei=b", *out])
    with pytest.raises(ConfigError, match="name a table, such as table5"):
        run([*out])
    for data in (["--demo"], []):
        with pytest.raises(ConfigError, match="jobs must be at least 1, not 0"):
            run(["table12", *data, "--jobs", "0", *out])
    assert main(["table6"]) == 2
    assert main(["reproduce", "table6", *out]) == 2
    assert not (tmp_path / "out").exists()


def test_a_table_as_one_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = paper_store(tmp_path / "store", num_samples=60)
    words = ["table14", "--data", str(store.path), "--out", str(tmp_path / "out"), "--seeds", "1"]
    words += ["--settings", "epochs=1", "batch_size=16", "device=cpu", "--bootstrap", "0", "--json"]
    assert run(words) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)["table14"]
    assert [row["state"] for row in document["rows"]] == ["measured"] * 3
    assert document["rows"][2]["printed"]["AUC (AV)"] == "98.70"
    assert f"report: {tmp_path / 'out' / 'report.html'}" in captured.err
    assert document["protocol"]["name"] == "honest"


def test_a_table_of_costs_needs_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert run(["table12", *out]) == 0
    assert "Table 12" in capsys.readouterr().out
    assert "24,141,824" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(ConfigError, match="these tables need none, so what is s/ for"):
        run(["table12", "--data", "s/", *out])
