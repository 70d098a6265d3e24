"""Metrics of every task against cases worked out by hand, scikit-learn and torchmetrics."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torchmetrics.functional.retrieval import retrieval_average_precision, retrieval_hit_rate

from scfae.train.metrics import (
    AP_NORMS,
    average_precision_at,
    binary_metrics,
    equal_error_rate,
    multilabel_metrics,
    rank_exactly,
    regression_metrics,
    retrieval_metrics,
    sentiment_metrics,
)

RANDOM = np.random.default_rng(3)


def two_columns(scores: Any) -> np.ndarray:
    return np.stack([1 - np.asarray(scores), np.asarray(scores)], axis=1)


def test_acc2_leaves_out_zeros_or_takes_them_as_positive() -> None:
    # Signs: right, wrong, (zero), right, (zero).
    labels, values = [1.0, -0.4, 0.0, -3.0, 0.0], [0.2, 0.6, -0.1, -2.0, 0.3]
    found = sentiment_metrics(labels, values)
    assert found["acc2_nonzero"] == pytest.approx(2 / 3)
    # Non-negative: 1 yes/yes, -0.4 no/yes, 0 yes/no, -3 no/no, 0 yes/yes.
    assert found["acc2_nonnegative"] == pytest.approx(3 / 5)
    # Weighted F1 of non-zero: positive 2/(1+2) = 2/3 of one sample, negative 2/(2+1) of two.
    assert found["f1_nonzero"] == pytest.approx((1 * 2 / 3 + 2 * 2 / 3) / 3)
    # Rounded to whole numbers: 1/0, -0/1, 0/-0, -3/-2, 0/0: two of five agree.
    assert found["acc7"] == pytest.approx(2 / 5)
    assert found["mae"] == pytest.approx((0.8 + 1.0 + 0.1 + 1.0 + 0.3) / 5)
    assert found["corr"] == pytest.approx(np.corrcoef(labels, values)[0, 1])


def test_a_prediction_of_zero_is_negative_among_the_nonzero_and_positive_among_all() -> None:
    found = sentiment_metrics([1.0, -1.0], [0.0, 0.0])
    assert found["acc2_nonzero"] == 0.5
    assert found["acc2_nonnegative"] == 0.5
    assert sentiment_metrics([1.0, 1.0], [0.0, 0.0])["acc2_nonzero"] == 0.0
    assert sentiment_metrics([1.0, 1.0], [0.0, 0.0])["acc2_nonnegative"] == 1.0


def test_sentiment_equals_scikit_learn_by_both_conventions() -> None:
    labels = np.round(RANDOM.uniform(-3, 3, 400) * 3) / 3
    values = labels + RANDOM.normal(size=400)
    found = sentiment_metrics(labels, values)
    some = labels != 0
    assert (~some).sum() > 5
    for name, truth, guess in (
        ("nonzero", labels[some] > 0, values[some] > 0),
        ("nonnegative", labels >= 0, values >= 0),
    ):
        assert found[f"acc2_{name}"] == pytest.approx(reference.accuracy_score(truth, guess))
        expected = reference.f1_score(truth, guess, average="weighted")
        assert found[f"f1_{name}"] == pytest.approx(expected)
    clipped = np.round(np.clip(values, -3, 3)), np.round(np.clip(labels, -3, 3))
    assert found["acc7"] == pytest.approx(np.mean(clipped[0] == clipped[1]))


def test_only_neutral_labels_have_no_nonzero_accuracy() -> None:
    found = sentiment_metrics([0.0, 0.0], [0.5, -0.5])
    assert found["acc2_nonzero"] is None
    assert found["f1_nonzero"] is None
    assert found["acc2_nonnegative"] == 0.5
    assert found["corr"] is None


def test_regression_equals_scikit_learn_and_a_constant_has_no_correlation() -> None:
    labels = RANDOM.normal(size=50) * 10 + 3
    values = labels + RANDOM.normal(size=50)
    found = regression_metrics(labels, values[:, None])
    assert found["mae"] == pytest.approx(reference.mean_absolute_error(labels, values))
    assert found["rmse"] == pytest.approx(reference.mean_squared_error(labels, values) ** 0.5)
    assert found["r2"] == pytest.approx(reference.r2_score(labels, values))
    assert found["corr"] == pytest.approx(np.corrcoef(labels, values)[0, 1])
    assert regression_metrics(labels, np.full(50, 0.1))["corr"] is None
    assert regression_metrics([1.0], [1.0])["r2"] is None


def test_binary_metrics_equal_scikit_learn_with_ties() -> None:
    labels = RANDOM.integers(2, size=200)
    scores = np.round(np.clip(0.4 * labels + RANDOM.uniform(size=200) * 0.6, 0, 1), 1)
    found = binary_metrics(labels, two_columns(scores))
    assert found["average_precision"] == pytest.approx(
        reference.average_precision_score(labels, scores)
    )
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(labels, scores))
    assert found["f1"] == pytest.approx(reference.f1_score(labels, scores > 0.5))
    rate = equal_error_rate(labels, scores)
    false_alarms, hits, _ = reference.roc_curve(labels, scores)
    assert rate == pytest.approx(np.interp(rate, false_alarms, 1 - hits), abs=1e-9)


def test_equal_error_rate_by_hand() -> None:
    # One of four fakes is below one of four reals: at any threshold between, 1/4 of each errs.
    labels, scores = [0, 0, 0, 0, 1, 1, 1, 1], [0.1, 0.2, 0.3, 0.6, 0.5, 0.7, 0.8, 0.9]
    assert equal_error_rate(labels, scores) == pytest.approx(0.25)
    assert equal_error_rate([0, 1], [0.1, 0.9]) == 0.0
    assert equal_error_rate([1, 0], [0.1, 0.9]) == 1.0
    assert equal_error_rate([0, 1, 0, 1], [0.5] * 4) == pytest.approx(0.5)


def test_what_needs_both_classes_is_undefined_with_one() -> None:
    found = binary_metrics([1, 1, 1], two_columns([0.9, 0.8, 0.3]))
    assert found["roc_auc"] is None
    assert found["average_precision"] is None
    assert found["equal_error_rate"] is None
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert binary_metrics([0, 0], two_columns([0.1, 0.2]))["f1"] is None


def test_several_labels_equal_scikit_learn() -> None:
    labels = (RANDOM.uniform(size=(80, 4)) < [0.2, 0.5, 0.8, 0.4]).astype(float)
    scores = np.clip(0.3 * labels + RANDOM.uniform(size=(80, 4)) * 0.8, 0, 1)
    found = multilabel_metrics(labels, scores)
    guess = scores >= 0.5
    for name in ("macro", "micro"):
        expected = reference.f1_score(labels, guess, average=name, zero_division=0)
        assert found[f"{name}_f1"] == pytest.approx(expected)
    assert found["mean_average_precision"] == pytest.approx(
        reference.average_precision_score(labels, scores, average="macro")
    )
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(labels, scores))
    assert found["subset_accuracy"] == pytest.approx(reference.accuracy_score(labels, guess))
    assert found["hamming_accuracy"] == pytest.approx(1 - reference.hamming_loss(labels, guess))


def test_unknown_labels_do_not_count_and_a_label_of_one_value_has_no_auc() -> None:
    labels = np.array([[1.0, np.nan], [0.0, 1.0], [np.nan, 1.0]])
    found = multilabel_metrics(labels, np.array([[0.9, 0.9], [0.1, 0.9], [0.9, 0.2]]))
    assert found["roc_auc"] == 1.0  # of the first label alone: the second is always 1
    assert found["mean_average_precision"] == 1.0
    assert found["hamming_accuracy"] == pytest.approx(3 / 4)
    assert found["subset_accuracy"] == pytest.approx(2 / 3)
    nothing = multilabel_metrics(np.full((2, 2), np.nan), np.zeros((2, 2)))
    assert set(nothing.values()) == {None}


def line_of(relevant: list[int], total: int) -> Any:
    """Return the ranking of one query: class 1 at these places, and more behind."""
    classes = relevant + [1] * (total - sum(relevant))
    gallery = np.linspace(1, 0.1, len(classes))[:, None]
    return rank_exactly([[-1.0]], -gallery, [1], classes, k=len(relevant), distance="l2")


def test_the_three_normalisers_by_hand() -> None:
    # Relevant at places 1, 3 and 4 of 5; one more beyond. |-1 + g| falls with g: order is given.
    ranking = line_of([1, 0, 1, 1, 0], total=4)
    assert ranking.relevant.tolist() == [[True, False, True, True, False]]
    gained = 1 / 1 + 2 / 3 + 3 / 4
    assert average_precision_at(ranking, 5, norm="hits")[0] == pytest.approx(gained / 3)
    assert average_precision_at(ranking, 5, norm="min_rk")[0] == pytest.approx(gained / 4)
    assert average_precision_at(ranking, 5, norm="r")[0] == pytest.approx(gained / 4)
    assert average_precision_at(ranking, 2, norm="hits")[0] == pytest.approx(1.0)
    assert average_precision_at(ranking, 2, norm="min_rk")[0] == pytest.approx(1 / 2)
    assert average_precision_at(ranking, 2, norm="r")[0] == pytest.approx(1 / 4)


def test_one_early_hit_falls_with_k_by_hits_only() -> None:
    ranking = line_of([1, 0, 0, 0, 1], total=2)
    by_hits = [average_precision_at(ranking, k, norm="hits")[0] for k in (1, 5)]
    assert by_hits == pytest.approx([1.0, (1 + 2 / 5) / 2])


def test_no_hit_scores_zero_by_every_normaliser() -> None:
    ranking = rank_exactly([[1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]], [7], [1, 2], k=4)
    assert ranking.total.tolist() == [0]
    assert ranking.top.tolist() == [[0, 1, -1, -1]]
    for norm in AP_NORMS:
        assert average_precision_at(ranking, 4, norm=norm).tolist() == [0.0]
    found = retrieval_metrics(ranking, map_at=(2,), recall_at=(1,))
    assert set(found.values()) == {0.0}


def test_ties_rank_in_the_gallerys_order() -> None:
    gallery = np.ones((6, 2))
    ranking = rank_exactly([[1.0, 1.0]], gallery, [1], [0, 1, 0, 1, 0, 0], k=6)
    assert ranking.top.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert average_precision_at(ranking, 6)[0] == pytest.approx((1 / 2 + 2 / 4) / 2)


def test_retrieval_equals_torchmetrics() -> None:
    queries, gallery = RANDOM.normal(size=(20, 5)), RANDOM.normal(size=(60, 5))
    classes, others = RANDOM.integers(4, size=20), RANDOM.integers(4, size=60)
    ranking = rank_exactly(queries, gallery, classes, others, k=60)
    # Above 0: torchmetrics takes what scores 0 or less for irrelevant.
    cosines = (queries @ gallery.T) / np.linalg.norm(gallery, axis=1) + 100
    for k in (5, 60):
        expected = [
            retrieval_average_precision(torch.tensor(row), torch.tensor(others == c), top_k=k)
            for row, c in zip(cosines, classes, strict=True)
        ]
        np.testing.assert_allclose(average_precision_at(ranking, k), expected, atol=1e-6)
        hits = [
            retrieval_hit_rate(torch.tensor(row), torch.tensor(others == c), top_k=k)
            for row, c in zip(cosines, classes, strict=True)
        ]
        found = retrieval_metrics(ranking, map_at=(k,), recall_at=(k,))
        assert found[f"r@{k}"] == pytest.approx(np.mean(hits))


def test_searching_in_chunks_is_searching_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, gallery = RANDOM.normal(size=(30, 4)), RANDOM.normal(size=(40, 4))
    classes, others = RANDOM.integers(3, size=30), RANDOM.integers(3, size=40)
    whole = {
        d: rank_exactly(queries, gallery, classes, others, k=9, distance=d) for d in ("cos", "l2")
    }
    distances = np.linalg.norm(queries[:, None] - gallery[None], axis=2)
    assert (whole["l2"].top == np.argsort(distances, axis=1, kind="stable")[:, :9]).all()
    monkeypatch.setattr("scfae.train.metrics.retrieval._CHUNK_CELLS", 7 * 40)
    for d, expected in whole.items():
        chunked = rank_exactly(queries, gallery, classes, others, k=9, distance=d)
        assert (chunked.top == expected.top).all()
        assert (chunked.relevant == expected.relevant).all()


def test_a_querys_own_source_is_taken_out_of_its_list() -> None:
    own = np.eye(3)
    found = rank_exactly(
        own, own, [1, 1, 2], [1, 1, 2], k=3, query_sources=[0, 1, 2], gallery_sources=[0, 1, 2]
    )
    assert found.top.tolist() == [[1, 2, -1], [0, 2, -1], [0, 1, -1]]
    assert found.total.tolist() == [1, 1, 0]
