"""`scfae bench fusion` times the products that SCFAE has, and says what it missed."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from scfae.bench import fusion
from scfae.cli import main
from scfae.fusion import SCFAE, list_fusions


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fusion, "PAPER_DIMS", {"audio": 16, "video": 16})
    monkeypatch.setattr(fusion, "SMALL_CASES", (({"audio": 8, "video": 8}, 1),))
    few = [info for info in list_fusions() if info.name in ("scfae", "concat")]
    monkeypatch.setattr(fusion, "list_fusions", lambda: few)


def test_the_bare_products_are_the_models() -> None:
    model = SCFAE(fusion.PAPER_DIMS, batched="never")
    features = {m: torch.randn(4, d) for m, d in fusion.PAPER_DIMS.items()}
    bare = fusion._Products(model, 4)
    counts = []
    for work in (
        lambda: fusion._forward(model, features),
        bare.forward,
        lambda: fusion._step(model, features),
        bare.step,
    ):
        with FlopCounterMode(display=False) as counter:
            work()  # type: ignore[no-untyped-call]
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0
    assert counts[2] == counts[3] > 2 * counts[0]


def test_figures_are_ratios_of_one_run() -> None:
    result = fusion.measure(1, batch_size=4)
    assert [one.name for one in result.methods] == ["scfae", "concat"]
    assert result.methods[0].ratio == 1
    concat = result.methods[1]
    assert concat.ratio == pytest.approx(concat.step_ms / result.methods[0].step_ms)
    assert len(result.targets) == 3
    assert all(target.ratio for target in result.targets)
    text = result.to_text()
    assert all(target.what in text and target.outcome in text for target in result.targets)
    assert "concat" in text


def test_the_command_prints_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "fusion", "--rounds", "1", "--no-methods", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["methods"] == []
    assert {target["outcome"] for target in document["targets"]} <= {"reached", "missed"}


@pytest.mark.parametrize("words", [["--rounds", "0"], ["--batch-size", "0"]])
def test_nothing_to_measure_is_wrong_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "fusion", *words]) == 2
    assert words[0].removeprefix("--") in capsys.readouterr().err
