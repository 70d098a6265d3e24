"""A run that trains encoders, on real clips: windows once, then `predict` from media alone."""

import json
from pathlib import Path
from typing import Any

import pytest

from scfae.extract import extract
from scfae.train.evaluation import evaluate
from scfae.train.kept import PREDICTIONS_FILE
from scfae.train.loop import train
from scfae.train.prediction import predict

from ..extract.media_kit import write_clip
from .small_runs import make_config
from .window_store import ENCODERS

pytestmark = pytest.mark.slow

WINDOWS = ("input:r2plus1d-18:every=8,side=14", "input:resnetse34l:window_s=0.1")


def test_predictions_from_media_are_those_of_the_stored_windows(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    lines = ["id,video,split,fake"]
    for number in range(12):
        name = f"{number}.mp4"
        write_clip(media / name, frames=20 + number, sound_s=0.5 + 0.1 * number)
        split = ("train", "val", "test")[number // 4]
        lines.append(f"{number},{name},{split},{number % 2}")
    (media / "manifest.csv").write_text("\n".join(lines))
    report = extract(media / "manifest.csv", tmp_path / "store", WINDOWS, workers=1, shard_size=4)
    assert not report.exceeded
    settings: dict[str, Any] = {
        "columns": {
            "video": "input-r2plus1d-18.every=8.side=14",
            "audio": "input-resnetse34l.window_s=0.1",
        },
        "task": "binary",
        "label": "fake",
        "encoders": ENCODERS,
        "fusion": "concat",
        "epochs": 1,
        "batch_size": 4,
    }
    run = train(make_config(tmp_path / "store", tmp_path / "run", **settings))
    evaluate(run.path, bootstrap=0)
    kept = [json.loads(line) for line in (run.path / PREDICTIONS_FILE).read_text().splitlines()]
    clips = [media / f"{one['id']}.mp4" for one in kept]
    found = list(predict(run.path, clips))
    assert len(found) == len(kept) == 4
    temperature = found[0].get("temperature")
    for told, one in zip(found, kept, strict=True):
        assert told["present"] == ["video", "audio"]
        if temperature is None:
            for name, share in one["probabilities"].items():
                assert told["probabilities"][name] == pytest.approx(share, abs=1e-4)
        assert told["prediction"] == one["prediction"]
