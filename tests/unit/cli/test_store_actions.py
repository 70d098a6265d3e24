"""`scfae store diff|derive|rename|drop|gc`: status, figures on stdout, one sentence on stderr."""

import json
from pathlib import Path

import pytest

from scfae.cli.main import main
from scfae.cli.store_gc import seconds
from scfae.store import FeatureStore, pin_run
from scfae.store.errors import ConfigError
from scfae.store.receipt import receipt_file
from scfae.store.testing import make_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make_store(tmp_path / "store", num_samples=12, shard_size=4).path


def test_derive_reports_and_info_tells_when_it_is_stale(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "store",
        "derive",
        str(store),
        "video",
        "--as",
        "small",
        "--pool",
        "mean",
        "--pca",
        "2",
    ]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["column"], report["dim"], report["shards_done"]) == ("small", 2, 3)
    assert report["encoder"] == "derived:pool=mean,pca=2,fit_split=train"
    assert main(words) == 0
    assert "0 of 3 shards written now" in capsys.readouterr().err
    (store / "columns/video" / receipt_file(1)).unlink()
    assert main(["store", "info", str(store)]) == 0
    assert "small is stale: the rows of its parent 'video' have changed" in capsys.readouterr().out
    assert main(["store", "derive", str(store), "audio", "--as", "x"]) == 2
    assert "nothing to do: give --pool" in capsys.readouterr().err


def test_diff_is_a_document_or_a_table(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["store", "diff", str(store), "video", "audio", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] is None
    assert main(["store", "diff", str(store), "video", "audio"]) == 0
    assert "the dims differ" in capsys.readouterr().out
    assert main(["store", "diff", str(store), "video", "audi"]) == 2
    assert "Did you mean audio" in capsys.readouterr().err
    assert main(["store", "diff", str(store), "video", "video"]) == 2
    assert "name two columns" in capsys.readouterr().err


def test_rename_and_drop_change_the_store_and_ask_first(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["store", "rename", str(store), "video", "film"]) == 0
    assert list(FeatureStore.open(store).columns) == ["audio", "film"]
    assert main(["store", "drop", str(store), "film"]) == 2
    assert "--yes: give it to remove column 'film'" in capsys.readouterr().err
    run = tmp_path / "run"
    run.mkdir()
    pin_run(store, run, {"film": FeatureStore.open(store).columns["film"].fingerprint})
    assert main(["store", "drop", str(store), "film", "--yes"]) == 1
    assert f"the run {run}" in capsys.readouterr().err
    assert main(["store", "derive", str(store), "audio", "--as", "mean", "--pool", "mean"]) == 0
    assert main(["store", "drop", str(store), "audio", "--yes"]) == 0
    assert "column 'mean' was derived from it" in capsys.readouterr().err
    assert list(FeatureStore.open(store).columns) == ["film", "mean"]


def test_gc_says_what_would_go_and_removes_it_on_demand(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = store / "columns/video/.tmp-0123"
    left.write_bytes(b"half")
    assert main(["store", "gc", str(store), "--delete"]) == 0
    assert "kept columns/video/.tmp-0123" in capsys.readouterr().out
    assert main(["store", "gc", str(store), "--grace", "0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [one["file"] for one in report["garbage"]] == ["columns/video/.tmp-0123"]
    assert (report["bytes"], report["is_deleted"], left.exists()) == (4, False, True)
    assert main(["store", "gc", str(store), "--grace", "0s", "--delete"]) == 0
    assert "removed 1 files and folders" in capsys.readouterr().out
    assert not left.exists()
    assert main(["store", "gc", str(store), "--grace", "soon"]) == 2
    assert "--grace: 'soon' is no time" in capsys.readouterr().err


def test_times_are_read_with_their_units() -> None:
    given = {"0": 0.0, "90s": 90.0, "1.5m": 90.0, "12h": 43_200.0, "1d": 86_400.0}
    assert {text: seconds(text) for text in given} == given
    for text in ("", "5", "-1d", "1w", "d"):
        with pytest.raises(ConfigError, match="--grace"):
            seconds(text)
