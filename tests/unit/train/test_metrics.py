import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as reference

from scfae.train.metrics import (
    METRICS,
    classification_metrics,
    confusion_matrix,
    majority_class,
    majority_metrics,
)


def one_hot(predictions: list[int], num_classes: int) -> np.ndarray:
    return np.eye(num_classes)[predictions]


def random_case(seed: int, num_classes: int, num: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(num_classes, size=num)
    logits = generator.normal(size=(num, num_classes)) + 1.5 * np.eye(num_classes)[labels]
    # Coarse scores, so that ties are common.
    raw = np.round(np.exp(logits), 0) + 1e-3
    return labels, raw / raw.sum(axis=1, keepdims=True)


def test_by_hand() -> None:
    # Class 0: 3 of 4 right. Class 1: 1 of 2 right. One of each is taken for the other.
    values = classification_metrics([0, 0, 0, 0, 1, 1], one_hot([0, 0, 0, 1, 1, 0], 2))
    assert values["accuracy"] == pytest.approx(4 / 6)
    assert values["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert values["macro_f1"] == pytest.approx((6 / 8 + 2 / 4) / 2)
    assert values["weighted_f1"] == pytest.approx((4 * 6 / 8 + 2 * 2 / 4) / 6)
    # Of 8 pairs: positive above 3 of 4 negatives and tied with 1; then tied with 3, below 1.
    assert values["roc_auc"] == pytest.approx((3 + 0.5 + 1.5) / 8)


def test_auc_by_hand_with_ties() -> None:
    scores = np.array([0.1, 0.4, 0.4, 0.8])
    values = classification_metrics([0, 0, 1, 1], np.stack([1 - scores, scores], axis=1))
    assert values["roc_auc"] == pytest.approx(3.5 / 4)


@given(seed=st.integers(0, 2**31), num_classes=st.sampled_from([2, 3, 10]), num=st.integers(2, 60))
def test_equals_scikit_learn(seed: int, num_classes: int, num: int) -> None:
    labels, scores = random_case(seed, num_classes, num)
    guess = scores.argmax(axis=1)
    values = classification_metrics(labels, scores)
    present = np.unique(labels)
    recall = reference.recall_score(labels, guess, labels=present, average=None, zero_division=0)
    assert values["accuracy"] == pytest.approx(reference.accuracy_score(labels, guess))
    assert values["balanced_accuracy"] == pytest.approx(recall.mean())
    for name, average in (("macro_f1", "macro"), ("weighted_f1", "weighted")):
        expected = reference.f1_score(labels, guess, average=average, zero_division=0)
        assert values[name] == pytest.approx(expected)
    if len(present) < 2:
        assert values["roc_auc"] is None
    elif num_classes == 2:
        assert values["roc_auc"] == pytest.approx(reference.roc_auc_score(labels, scores[:, 1]))
    else:
        each = [reference.roc_auc_score(labels == c, scores[:, c]) for c in present]
        assert values["roc_auc"] == pytest.approx(np.mean(each))


def test_equals_scikit_learn_one_versus_rest_when_all_classes_are_there() -> None:
    labels, scores = random_case(3, 10, 500)
    expected = reference.roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert classification_metrics(labels, scores)["roc_auc"] == pytest.approx(expected)


@pytest.mark.parametrize("num_classes", [1, 2, 10])
def test_one_class_only_has_no_auc(num_classes: int) -> None:
    values = classification_metrics([0, 0, 0], one_hot([0, 0, 0], num_classes))
    assert values == {
        "accuracy": 1.0,
        "balanced_accuracy": 1.0,
        "macro_f1": 1.0,
        "weighted_f1": 1.0,
        "roc_auc": None,
    }


def test_no_samples_give_none() -> None:
    assert classification_metrics([], np.zeros((0, 3))) == dict.fromkeys(METRICS)


def test_order_of_samples_does_not_matter() -> None:
    labels, scores = random_case(1, 10, 80)
    order = np.random.default_rng(0).permutation(80)
    before = classification_metrics(labels, scores)
    after = classification_metrics(labels[order], scores[order])
    assert after == pytest.approx(before)


def test_majority_is_chosen_on_train() -> None:
    # Test is mostly class 0; train is mostly class 1, so the baseline must answer 1.
    values = majority_metrics([1, 1, 1, 0], [0, 0, 0, 1], 2)
    assert values["accuracy"] == 0.25
    assert values["balanced_accuracy"] == 0.5
    assert values["roc_auc"] == 0.5


def test_majority_takes_the_first_of_equals() -> None:
    assert majority_class([2, 1, 1, 2, 0], 3) == 1


def test_majority_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no training labels"):
        majority_class([], 2)


def test_confusion_matrix_rows_are_truth() -> None:
    matrix = confusion_matrix([0, 0, 1, 2], [0, 1, 1, 0], 3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], np.ones((3, 2)), r"must be \[N\] and \[N, C\]"),
        ([0, 2], np.ones((2, 2)), r"in 0 \.\. 1"),
        ([-1, 0], np.ones((2, 2)), r"in 0 \.\. 1"),
        ([0, 1], np.array([[0.5, 0.5], [np.nan, 0.5]]), "finite"),
    ],
)
def test_wrong_inputs_are_refused(labels: list[int], scores: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classification_metrics(labels, scores)
