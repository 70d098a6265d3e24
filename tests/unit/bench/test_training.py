"""`scfae bench train` measures the trainer and the loop it is held against, on the same batches."""

import json

import pytest
import torch

from scfae.bench import training
from scfae.cli import main


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "DIMS", {"audio": 12, "video": 12})
    monkeypatch.setattr(training, "BATCH_SIZE", 16)
    monkeypatch.setattr(training, "PRODUCT_SIZE", 32)
    few = {"features": tuple((d, {"audio": d, "video": d}, 1) for d in (8, 16))}
    monkeypatch.setattr(training, "GROWTH", few)


def test_figures_are_ratios_of_one_run() -> None:
    result = training.measure(32, 1)
    assert all(target.ratio for target in result.targets)
    waiting, bare, _ = result.targets
    assert waiting.ratio is not None
    assert 0 < waiting.ratio < 1
    assert bare.ratio == pytest.approx(result.bare_step_ms / result.step_ms)
    assert [(one.what, one.value) for one in result.growth] == [
        ("features", 8),
        ("features", 16),
        ("samples, batch 16", 32),
        ("samples, batch 16", 128),
    ]
    assert all(target.what in result.to_text() for target in result.targets)


def test_the_command_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    assert main(["bench", "train", "--samples", "32", "--rounds", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {target["outcome"] for target in document["targets"]} <= {"reached", "missed"}


@pytest.mark.parametrize("words", [["--rounds", "0"], ["--samples", "9"]])
def test_what_cannot_be_measured_is_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "train", *words]) == 2
    assert "must be at least" in capsys.readouterr().err
