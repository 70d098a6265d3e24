"""From an official layout to a trained and evaluated run, from the command line, task by task."""

import json
from pathlib import Path
from typing import Any

import pytest

from scfae.cli.main import main
from scfae.train.runs import RunFolder

from .layouts import write_apivr, write_fakeavceleb, write_gcnet, write_mmsa

pytestmark = pytest.mark.slow


def trained(store: Path, run: Path, *flags: str) -> dict[str, Any]:
    """Train and evaluate from the command line; return the evaluation."""
    command = ["train", "--store", str(store), "--run", str(run), "--device", "cpu"]
    assert main([*command, "--epochs", "2", "--batch-size", "4", *flags]) == 0
    assert main(["evaluate", str(run), "--bootstrap", "20"]) == 0
    return RunFolder(run).read("evaluation.json")


def test_fakeavceleb_to_deepfake_detection_and_back_to_a_file(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, store, run = tmp_path / "FakeAVCeleb_v1.2", tmp_path / "features", tmp_path / "run"
    write_fakeavceleb(root, clip, identities=6)
    manifest = str(tmp_path / "favc.csv")
    shares = ["--test", "0.34", "--val", "0.25"]
    assert main(["data", "fakeavceleb", str(root), manifest, *shares]) == 0
    encoders = ["-e", "efficientnet-lite0", "-e", "ge2e"]
    assert main(["extract", manifest, str(store), *encoders, "--workers", "1"]) == 0
    found = trained(
        store,
        run,
        *("--columns", "video=efficientnet-lite0", "audio=ge2e"),
        *("--task", "deepfake", "--label", "fake"),
        *("--modality-labels", "video=fake_video", "audio=fake_audio"),
    )
    assert set(found["conditions"]) == {"video", "audio", "video+audio"}
    assert found["conditions"]["video+audio"]["n"] == 8
    capsys.readouterr()
    assert main(["predict", str(run), str(clip)]) == 0
    line = json.loads(capsys.readouterr().out)
    assert line["present"] == ["video", "audio"]


@pytest.mark.parametrize("layout", ["mmsa", "gcnet"])
def test_mosei_to_sentiment_regression(tmp_path: Path, layout: str) -> None:
    store = tmp_path / "mosei"
    if layout == "mmsa":
        write_mmsa(tmp_path / "aligned_50.pkl")
        source = [str(tmp_path / "aligned_50.pkl"), str(store), "--nonfinite", "zero"]
        columns = ["text=mmsa-text", "audio=mmsa-audio", "video=mmsa-vision"]
    else:
        labels = write_gcnet(tmp_path / "utt")
        source = [str(tmp_path / "utt"), str(store), "--labels", str(labels)]
        columns = ["audio=wav2vec-large-c-UTT", "text=deberta-large-4-UTT", "video=manet_UTT"]
    assert main(["data", "mosei", *source]) == 0
    task = ["--task", "regression", "--label", "sentiment", "--fusion", "concat"]
    found = trained(store, tmp_path / "run", "--columns", *columns, *task)
    assert len(found["conditions"]) == 7
    assert "mae" in found["conditions"]["audio"]


def test_activitynet_to_retrieval(tmp_path: Path) -> None:
    write_apivr(tmp_path / "apivr", videos=(24, 2, 40))
    assert main(["data", "activitynet", str(tmp_path / "apivr"), str(tmp_path / "store")]) == 0
    found = trained(
        tmp_path / "store",
        tmp_path / "run",
        *("--columns", "video=apivr-video", "image=apivr-image"),
        *("--task", "retrieval", "--label", "class"),
    )
    assert "image>video" in found["conditions"]
    assert main(["export", str(tmp_path / "run"), "--json"]) == 0


def test_activitynet_with_the_papers_map_of_the_video(tmp_path: Path) -> None:
    write_apivr(tmp_path / "apivr", videos=(24, 2, 40))
    assert main(["data", "activitynet", str(tmp_path / "apivr"), str(tmp_path / "store")]) == 0
    found = trained(
        tmp_path / "store",
        tmp_path / "run",
        *("--columns", "video=apivr-video", "image=apivr-image"),
        *("--task", "retrieval", "--label", "class", "--linear-maps", "video=128"),
    )
    assert "image>video" in found["conditions"]
