"""Classes come from the training split; whatever does not fit them is named."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from scfae.fusion import FusionOutput
from scfae.store import FeatureStore, FeatureStream, SampleRow, StoreView
from scfae.store.errors import TaskError
from scfae.store.testing import make_store
from scfae.train.tasks import Classification, load_task


def labelled(
    path: Path, labels: Sequence[int | float | str | None], name: str = "what"
) -> StoreView:
    """Return a view of samples with these labels, in their order."""
    store = make_store(path, num_samples=len(labels), labels={"digit": 2}, splits=())
    ids = [f"sample-{i:05d}" for i in range(len(labels))]
    store.update_labels(
        [SampleRow(id=one, labels={name: label}) for one, label in zip(ids, labels, strict=True)]
    )
    view = FeatureStore.open(path).view(None, [name], video="video")
    order = [int(np.flatnonzero(view.ids == one)[0]) for one in ids]
    return view.with_rows(np.array(order))


def said(logits: torch.Tensor) -> FusionOutput:
    """Return the output of a model that says this."""
    return FusionOutput(fused=logits, z={}, logits=logits)


def test_classes_are_the_sorted_values_of_training(tmp_path: Path) -> None:
    view = labelled(tmp_path / "store", ["pear", "fig", "pear", "apple", "fig", "pear"])
    task = Classification.fit(view.with_rows(np.arange(5)), "what")
    assert task.classes == ("apple", "fig", "pear")
    assert task.counts == (1, 2, 2)
    assert task.classes[task.majority] == "fig"  # the first of equals
    assert task.num_outputs == 3
    assert task.targets(view).tolist() == [2, 1, 2, 0, 1, 2]


def test_numbers_that_are_not_0_to_n_are_classes_too(tmp_path: Path) -> None:
    view = labelled(tmp_path / "store", [-3, 7, 7, 100])
    task = Classification.fit(view, "what")
    assert task.classes == (-3, 7, 100)
    encode = task.encoder(view)
    batch = next(iter(FeatureStream(view, batch_size=4, shuffle=False)))
    expected = dict(zip(view.ids.tolist(), [0, 1, 1, 2], strict=True))
    assert encode(batch, batch.present).tolist() == [expected[name] for name in batch.ids]


def test_the_encoder_reads_labels_as_batches_give_them(tmp_path: Path) -> None:
    words = ["b", "c", "b", "d", "c", "b"]
    view = labelled(tmp_path / "store", words)
    train = view.with_rows(np.array([1, 3, 4]))  # without "b", whose code is 0 in the store
    task = Classification.fit(train, "what")
    encode = task.encoder(train)
    batch = next(iter(FeatureStream(train, batch_size=3, shuffle=False)))
    answers = [task.classes[i] for i in encode(batch, batch.present).tolist()]
    expected = dict(zip(view.ids.tolist(), words, strict=True))
    assert answers == [expected[name] for name in batch.ids]


def test_a_class_that_training_has_not_is_named(tmp_path: Path) -> None:
    view = labelled(tmp_path / "store", ["a", "b", "a", "z"])
    task = Classification.fit(view.with_rows(np.arange(3)), "what")
    with pytest.raises(TaskError, match=r"'what' has classes .* has not: 'z'\. Known: 'a', 'b'"):
        task.encoder(view)


def test_one_class_only_is_named(tmp_path: Path) -> None:
    view = labelled(tmp_path / "store", [4, 4, 4])
    with pytest.raises(TaskError, match="only the class 4 in 'what'; two classes"):
        Classification.fit(view, "what")


def test_continuous_labels_are_refused(tmp_path: Path) -> None:
    view = labelled(tmp_path / "store", [0.5, 1.5, 2.0])
    with pytest.raises(TaskError, match="'what' is continuous"):
        Classification.fit(view, "what")
    view = labelled(tmp_path / "whole", [1.0, 2.0, None])  # as a table with gaps is often written
    with pytest.raises(TaskError, match=r"stored as decimal numbers, such as 1\.0"):
        Classification.fit(view, "what")


def test_the_loss_is_cross_entropy_and_can_weigh_classes_alike(tmp_path: Path) -> None:
    view = labelled(tmp_path / "store", [0, 0, 0, 1])
    logits = torch.tensor([[2.0, -1.0], [0.0, 0.0], [1.0, 3.0], [-1.0, 0.5]])
    targets = torch.tensor([0, 0, 0, 1])
    each = torch.log(torch.exp(logits).sum(dim=1)) - logits[torch.arange(4), targets]
    output, present = said(logits), torch.ones(4, 1, dtype=torch.bool)
    plain = Classification.fit(view, "what")
    assert plain.loss(output, targets, present).item() == pytest.approx(each.mean().item())
    balanced = Classification.fit(view, "what", class_weights="balanced")
    assert balanced.weights == (4 / (2 * 3), 4 / (2 * 1))
    by_hand = (each[:3].mean() + each[3]) / 2
    assert balanced.loss(output, targets, present).item() == pytest.approx(by_hand.item())


def test_probabilities_sum_to_one_also_in_half_precision() -> None:
    task = Classification("what", (0, 1, 2), (1, 1, 1))
    p = task.scores(said(torch.tensor([[30.0, -5.0, 0.0]], dtype=torch.bfloat16)), ("video",))
    assert p.dtype == torch.float32
    assert p.sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize("weights", [None, (0.5, 2.0)])
def test_a_task_comes_back_from_its_record(weights: tuple[float, ...] | None) -> None:
    task = Classification("what", ("a", "b"), (3, 1), weights)
    assert load_task(task.as_dict()) == task


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(TaskError, match="unknown task 'dreaming'; known: classification"):
        load_task({"name": "dreaming"})
