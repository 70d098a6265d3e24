"""The demo, whole, on few clips: `make demo` in miniature."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from scfae.demo.story import RATES, run_demo
from scfae.demo.summary import summary
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError
from scfae.train.runs import RunFolder

SCFAE = Path(sys.executable).parent / "scfae"


@pytest.mark.timeout(900)
def test_the_story_from_media_to_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    counts = {"train": 24, "val": 8, "test": 8}
    result = run_demo(tmp_path, counts=counts, epochs=2, say=said.append)
    assert any("not one byte touched" in line for line in said)
    page = result.report.read_text()
    assert "random" in page
    document = result.evaluations["scfae"].as_dict()
    assert len(document["conditions"]) == 7
    rates = {name: RunFolder(result.runs[name]).config.optim.lr for name in RATES}
    assert rates == RATES
    text = summary(result)
    assert "video+audio+image" in text
    assert str(result.report) in text
    swapped = result.evaluations["scfae-swapped"].as_dict()
    assert swapped["is_random"] == ["r2plus1d-18"]
    store = FeatureStore.open(result.store)
    assert sorted(store.columns) == [
        "efficientnet-lite0",
        "efficientnet-lite0.modality=image",
        "ge2e",
        "r2plus1d-18",
    ]
    predicted = subprocess.run(
        [SCFAE, "predict", result.runs["scfae"], tmp_path / "media" / "test-0000.mp4"],
        capture_output=True,
        text=True,
    )
    assert predicted.returncode == 0, predicted.stderr
    line = json.loads(predicted.stdout)
    assert line["present"] == ["video", "audio"]
    assert sum(line["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)

    monkeypatch.setattr("scfae.demo.story.RATES", {"scfae": 1e-4, "concat": 1e-4})
    with pytest.raises(
        ConfigError, match=r"scfae was trained by another version .* remove .*/runs"
    ):
        run_demo(tmp_path, counts=counts, epochs=2)
