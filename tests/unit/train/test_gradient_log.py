"""Gradients through training: sampled without a trace, and kept through every stop."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from scfae.store import FeatureStore
from scfae.train.gradient_log import GRADIENT_LOG, logged_figures, read_lines
from scfae.train.loop import train
from scfae.train.runs import RunFolder

from .small_runs import (
    MASKED,
    PowerCut,
    assert_equal,
    epochs,
    failing_at,
    make_config,
    train_small,
    weights,
)

SAMPLED: dict[str, Any] = {**MASKED, "gradients_every": 2}
"""A run of eight steps, of which four are sampled."""


def without_config(state: dict[str, Any]) -> dict[str, Any]:
    """A run that samples has another config, and nothing else."""
    return {key: value for key, value in state.items() if key != "config"}


@pytest.mark.parametrize(
    "settings",
    [
        {"fusion": "scfae"},
        {"fusion": "misa"},  # dropout
        {"fusion": "mculora", "options": {"width": 8, "num_layers": 1}},  # draws what it hides
        {"fusion": "scfae+club", "optimizer": "adam", "combiner": "pcgrad", "accumulate": 2},
    ],
    ids=["scfae", "misa", "mculora", "parts"],
)
def test_a_run_that_samples_ends_with_the_same_weights_bit_for_bit(
    store: FeatureStore, tmp_path: Path, settings: dict[str, Any]
) -> None:
    plain = train_small(store.path, tmp_path / "plain", **MASKED, **settings)
    sampled = train_small(store.path, tmp_path / "sampled", **SAMPLED, **settings)
    for name in ("last.pt", "best.pt"):
        mine, theirs = (without_config(weights(run, name)) for run in (sampled, plain))
        assert_equal(mine, theirs, name)
    assert_equal(epochs(sampled), epochs(plain))
    assert [line["step"] for line in read_lines(sampled.path)] == [0, 2, 4, 6]
    assert not (plain.path / GRADIENT_LOG).exists()


@pytest.fixture(scope="module")
def sampled(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("sampled")
    return train_small(store.path, folder / "run", fusion="scfae", **SAMPLED)


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_a_stop_neither_doubles_nor_loses_a_line(
    store: FeatureStore, sampled: RunFolder, tmp_path: Path, step: int
) -> None:
    """Checkpoints are of steps 2, 4 and 6: what was sampled after one is sampled again, alike."""
    config = make_config(store.path, tmp_path / "run", fusion="scfae", **SAMPLED)
    with pytest.raises(PowerCut):
        train(config, progress=failing_at(step, PowerCut()))
    log = tmp_path / "run" / GRADIENT_LOG
    with log.open("a") as file:
        file.write('{"step": 4, "modal')  # as a kill in the middle of a line leaves it
    run = train(config, resume=True)
    assert log.read_text() == (sampled.path / GRADIENT_LOG).read_text()
    assert_equal(weights(run), weights(sampled))


def test_figures_are_of_the_lines_by_hand(tmp_path: Path) -> None:
    """Cosines 0.5, -0.1 and none: their mean is 0.2, their deviation 0.3 * sqrt(2)."""
    lines = [
        {"at": "features", "task_norm": norm, "auxiliary_norm": 1.0, "cosine": cosine}
        for norm, cosine in ((1.0, 0.5), (2.0, -0.1), (6.0, None))
    ]
    text = "".join(
        json.dumps({"step": 5 * i, "modalities": {"video": one}}) + "\n"
        for i, one in enumerate(lines)
    )
    (tmp_path / GRADIENT_LOG).write_text(text)
    found = logged_figures(read_lines(tmp_path))["video"]
    assert found.task_norm == pytest.approx(3.0)
    assert found.cosine == pytest.approx(0.2)
    assert found.cosine_sd == pytest.approx(0.3 * 2**0.5)
    assert (found.negative_share, found.num_batches) == (0.5, 2)
    assert logged_figures([]) == {}
    assert read_lines(tmp_path / "none") == []


def test_the_first_sample_is_of_the_untrained_model(sampled: RunFolder) -> None:
    first, *rest = read_lines(sampled.path)
    assert list(first["modalities"]) == ["video", "audio", "all"]
    for name, one in first["modalities"].items():
        assert one["at"] == "features"
        assert one["task_norm"] > 0
        assert -1 <= one["cosine"] <= 1
        assert any(line["modalities"][name] != one for line in rest)
    squares = [first["modalities"][name]["task_norm"] ** 2 for name in ("video", "audio")]
    both = first["modalities"]["all"]["task_norm"]
    assert both == pytest.approx(torch.tensor(squares).sum().sqrt().item(), rel=1e-5)
