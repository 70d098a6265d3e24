"""`scfae store export` and the way back: statuses, sentences and one JSON document."""

import json
from pathlib import Path

import pytest

from scfae.cli import main, store_restore
from scfae.store import FeatureStore
from scfae.store.testing import make_store


def test_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = make_store(tmp_path / "store", num_samples=20)
    out, back = str(tmp_path / "out"), str(tmp_path / "back")
    assert main(["store", "export", str(store.path), out, "--to", "npz", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["samples"] == 20
    assert set(report["columns"]) == {"audio", "video"}
    assert store_restore.is_meant([out, back])
    assert not store_restore.is_meant([str(store.path), back])
    assert main(["store", "import", out, back, "--columns", "audio", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["columns"]["audio"]["same_bytes"] is True
    assert FeatureStore.open(back).columns == {"audio": store.columns["audio"]}


def test_text_says_what_was_written_and_what_was_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path / "store", num_samples=9)
    words = ["store", "export", str(store.path), str(tmp_path / "out"), "--to", "parquet"]
    for there in ("", "(5 were there already)"):
        assert main([*words, "--joined", "--columns", "audio", "video"]) == 0
        text = capsys.readouterr().out
        assert "9 samples as parquet" in text
        assert there in text


def test_wrong_words_end_with_status_2_and_failures_with_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path / "store", num_samples=9)
    words = ["store", "export", str(store.path), str(tmp_path / "out")]
    assert main([*words, "--to", "hdf5", "--joined"]) == 2
    assert "only webdataset and parquet join" in capsys.readouterr().err
    assert main([*words, "--to", "npz", "--columns", "vidoe"]) == 2
    assert "Did you mean video" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        main([*words, "--to", "csv"])
    (tmp_path / "out").write_text("")
    assert main([*words, "--to", "npz"]) == 1
    assert "is a file" in capsys.readouterr().err


def test_a_damaged_export_ends_with_status_1_and_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = make_store(tmp_path / "store", num_samples=9)
    out, back = str(tmp_path / "out"), tmp_path / "back"
    assert main(["store", "export", str(store.path), out, "--to", "hdf5"]) == 0
    (tmp_path / "out" / "columns" / "audio" / "shard-00000.h5").unlink()
    capsys.readouterr()
    assert main(["store", "import", out, str(back)]) == 1
    assert "columns/audio/shard-00000.h5 is gone" in capsys.readouterr().err
    assert not back.exists()
