"""What a figure may not hide: labels that chose something, chance, and the majority class."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.store import FeatureStore, SampleRow
from scfae.store.testing import make_store
from scfae.train.evaluation import evaluate
from scfae.train.headline import warnings
from scfae.train.report import write_report
from scfae.train.tasks import Classification, Measured

from .small_runs import train_small


def relabel(store: FeatureStore, values: dict[int, Any]) -> FeatureStore:
    """Give the samples at some places of the table another `digit`."""
    samples = store.samples
    store.update_labels(
        [
            SampleRow(id=str(samples.ids[i]), split=samples.split[i], labels={"digit": value})
            for i, value in values.items()
        ]
    )
    return FeatureStore.open(store.path)


def test_training_on_shuffled_labels_scores_at_chance(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", num_samples=200, labels={"digit": 10}, shard_size=50)
    digits, splits = store.samples.label("digit"), store.samples.split
    learned = [i for i, split in enumerate(splits) if split != "test"]

    def accuracy(name: str) -> float:
        run = train_small(store.path, tmp_path / name, epochs=6, fusion="concat")
        return evaluate(run.path, bootstrap=0, probes=False).conditions[-1].metrics["accuracy"] or 0

    assert accuracy("told") > 0.8
    fooled = []
    # One shuffle may give a whole class its own label by luck: chance is the mean of several.
    for seed in range(3):
        shuffled = np.random.default_rng(seed).permutation(learned)
        relabel(store, {i: int(digits[j]) for i, j in zip(learned, shuffled, strict=True)})
        fooled.append(accuracy(f"fooled{seed}"))
    assert abs(float(np.mean(fooled)) - 0.1) < 0.1


def test_a_run_that_always_answers_the_majority_says_so_first(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", num_samples=120, labels={"digit": 2}, shard_size=40)
    # One in twenty, and nothing in the features tells which.
    relabel(store, {i: int(i % 20 == 3) for i in range(120)})
    run = train_small(store.path, tmp_path / "run", epochs=4, select="accuracy")
    evaluation = evaluate(run.path, bootstrap=50)
    full = evaluation.conditions[-1]
    assert full.metrics["accuracy"] == full.measured.baseline["accuracy"]
    wanted = f"accuracy equals what always the majority scores ({full.metrics['accuracy']:.3f})"
    assert any(wanted in sentence for sentence in evaluation.headline()[1:])
    assert wanted in evaluation.text()
    assert any(wanted in sentence for sentence in evaluation.as_dict()["headline"])
    page = write_report(run.path).read_text()
    assert page.index(wanted) < page.index("With each set of modalities present")


def measured(value: float, base: float, interval: tuple[float, float] | None) -> Measured:
    return Measured({"accuracy": value}, {"accuracy": interval}, 10, 0, {"accuracy": base})


@pytest.mark.parametrize(
    ("value", "base", "interval", "wanted"),
    [
        (0.9, 0.9, (0.8, 1.0), "equals what"),
        (0.9, 0.85, (0.8, 1.0), "cannot be told from"),
        (0.5, 0.8, (0.4, 0.6), "is below what"),
        (0.5, 0.8, None, "is below what"),
        (0.9, 0.5, (0.8, 1.0), None),
        (0.9, 0.5, None, None),
    ],
)
def test_a_headline_warns_only_where_there_is_something_to_warn_of(
    value: float, base: float, interval: tuple[float, float] | None, wanted: str | None
) -> None:
    task = Classification("digit", (0, 1), (5, 5))
    found = warnings(task, measured(value, base, interval))
    assert len(found) == (wanted is not None)
    assert wanted is None or wanted in found[0]
