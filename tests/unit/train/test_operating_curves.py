"""Curves against points counted by hand, scikit-learn's areas, and classes that are not there."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from scfae.train.kept import KeptScores
from scfae.train.operating_curves import MAX_POINTS, Curve, Head, curve, heads, mean_curve, thinned
from scfae.train.tasks import Binary, Classification, Deepfake, MultiLabel, Regression, Scored
from scfae.train.thresholds import operating_curves, regression_plots, runs_over_each_other
from scfae.train.worst import presence

THREE = Classification("word", ("no", "so", "yes"), (5, 5, 5))
TWO = Binary("fake", (0, 1), (5, 5))


def scored(targets: list[object], scores: list[list[float]]) -> Scored:
    return Scored(np.array(targets), np.array(scores), np.ones(len(targets), dtype=bool))


def kept(**by_name: Scored) -> KeptScores:
    ids = np.array([f"s{i}" for i in range(len(next(iter(by_name.values())).seen))])
    return KeptScores(ids, {tuple(name.split("_")): one for name, one in by_name.items()})


def both(name: str, truth: list[int], scores: list[float]) -> Curve:
    found = curve(Head(name, np.array(truth) == 1, np.array(scores)))
    assert found is not None
    return found


def test_points_are_those_counted_by_hand() -> None:
    # Thresholds 0.9 | 0.7 | 0.6 | 0.2: hits 1/2, 1/2, 2/2, 2/2; false alarms 0, 1/2, 1/2, 1.
    found = both("x", [1, 0, 1, 0], [0.9, 0.7, 0.6, 0.2])
    points = list(zip(found.false_alarms.tolist(), found.hits.tolist(), strict=True))
    assert points == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    assert found.auc == 0.75
    # Precision at them: 1/1, 1/2, 2/3, 2/4; its area: 1/2 * 1 + 1/2 * 2/3.
    steps = list(zip(found.recall.tolist(), found.precision.tolist(), strict=True))
    assert steps == [(0, 1), (0.5, 1), (0.5, 0.5), (1, 2 / 3), (1, 0.5)]
    assert found.average_precision == pytest.approx(0.5 + 1 / 3)
    assert found.chance == 0.5


def test_ties_are_one_threshold() -> None:
    found = both("x", [1, 0, 1, 0], [0.5, 0.5, 0.5, 0.5])
    assert found.false_alarms.tolist() == [0, 1]
    assert found.hits.tolist() == [0, 1]
    assert (found.auc, found.average_precision) == (0.5, 0.5)


def test_many_points_become_few_and_the_areas_are_of_all() -> None:
    random = np.random.default_rng(0)
    truth = random.random(20_000) < 0.3
    scores = random.normal(size=20_000) + truth
    found = curve(Head("x", truth, scores))
    assert found is not None
    assert found.auc == roc_auc_score(truth, scores)
    assert found.average_precision == average_precision_score(truth, scores)
    assert len(found.hits) <= MAX_POINTS
    assert len(found.recall) <= MAX_POINTS
    assert float(np.trapezoid(found.hits, found.false_alarms)) == pytest.approx(found.auc, abs=2e-3)
    assert (found.false_alarms[0], found.hits[0]) == (0, 0)
    assert (found.false_alarms[-1], found.hits[-1]) == (1, 1)


def test_thinning_keeps_few_points_and_both_ends() -> None:
    assert thinned([0, 1], [0, 1])[0].tolist() == [0, 1]
    x, y = thinned(np.linspace(0, 1, 5000), np.linspace(0, 2, 5000), 10)
    assert len(x) == 10
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 2)


def test_the_mean_over_classes_has_the_mean_area() -> None:
    a = both("a", [1, 0, 1, 0, 0, 1], [0.9, 0.8, 0.7, 0.4, 0.3, 0.2])
    b = both("b", [1, 1, 0, 0, 0, 0], [0.6, 0.1, 0.3, 0.2, 0.5, 0.4])
    mean = mean_curve("macro", [a, b])
    assert mean.auc == (a.auc + b.auc) / 2
    assert mean.average_precision == (a.average_precision + b.average_precision) / 2
    assert float(np.trapezoid(mean.hits, mean.false_alarms)) == pytest.approx(mean.auc, abs=5e-3)
    steps = (np.diff(mean.recall) * mean.precision[1:]).sum()
    assert abs(steps - mean.average_precision) < 1e-2


def test_two_classes_are_one_question_several_are_each_their_own() -> None:
    two = scored([0, 1], [[0.8, 0.2], [0.3, 0.7]])
    assert [(one.name, one.scores.tolist()) for one in heads(TWO, two)] == [("1", [0.2, 0.7])]
    three = scored([0, 1, 2], np.eye(3).tolist())
    assert [one.name for one in heads(THREE, three)] == ["no", "so", "yes"]
    labels = MultiLabel("a,b", ("a", "b"), (0.5, 0.5))
    known = heads(labels, scored([[1.0, np.nan], [0.0, 1.0]], [[0.9, 0.1], [0.2, 0.8]]))
    assert [(one.name, one.truth.tolist()) for one in known] == [
        ("a", [True, False]),
        ("b", [True]),
    ]
    assert heads(Regression("x", "mse", False, 0.0, (0.0, 1.0)), scored([1.0], [[1.0]])) == []


def test_a_class_that_the_split_has_not_is_named() -> None:
    one = scored([0, 1, 1, 0], [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.5, 0.4, 0.1], [0.6, 0.3, 0.1]])
    page = operating_curves(THREE, kept(video=one))
    assert page is not None
    assert [row["name"] for row in page["table"]] == ["macro, video", "no", "so"]
    assert page["notes"] == [
        "Without a curve, for the split has not both such samples and others: yes."
    ]
    only = operating_curves(TWO, kept(video=scored([1, 1], [[0.1, 0.9], [0.4, 0.6]])))
    assert only is not None
    assert (only["charts"], only["notes"][0][-2:]) == ([], "1.")


def test_each_modality_alone_has_a_line_and_its_own_chance() -> None:
    full = scored([1, 1, 1, 0], [[0.1, 0.9], [0.4, 0.6], [0.6, 0.4], [0.7, 0.3]])
    alone = scored([1, 0, 0, 0], [[0.1, 0.9], [0.4, 0.6], [0.6, 0.4], [0.7, 0.3]])
    task = Deepfake("fake", (0, 1), (1, 1), None, (("video", "v"), ("audio", "a")))
    page = operating_curves(task, kept(video=alone, audio=alone, video_audio=full))
    assert page is not None
    assert [(row["name"], row["cells"][2:]) for row in page["table"]] == [
        ("video+audio", ["0.750", "3", "4"]),
        ("video", ["0.250", "1", "4"]),
        ("audio", ["0.250", "1", "4"]),
    ]
    assert "asked for its own label" in page["notes"][0]
    assert [len(chart["keys"]) for chart in page["charts"]] == [3, 3]


def test_branches_of_a_modality_are_one() -> None:
    one = scored([0, 1, 1, 0], [[0.8, 0.2], [0.3, 0.7], [0.5, 0.5], [0.6, 0.4]])
    both = ("video", "video:motion")
    shown = {both: one, ("audio",): one, (*both, "audio"): one}
    page = operating_curves(TWO, KeptScores(np.array(["a", "b", "c", "d"]), shown))
    assert page is not None
    assert [row["name"] for row in page["table"]] == ["video+audio", "video", "audio"]
    assert presence(shown, (*both, "audio"), 0)["present"] == ["video", "audio"]


def test_runs_are_drawn_over_each_other_where_they_answer_one_question() -> None:
    one = kept(video=scored([1, 0], [[0.1, 0.9], [0.7, 0.3]]))
    charts = runs_over_each_other(["a", "b"], [TWO, TWO], [one, one])
    assert [chart["keys"] for chart in charts] == [["a", "b"], ["a", "b"]]
    other = Binary("real", (0, 1), (5, 5))
    three = kept(video=scored([0, 1, 2], np.eye(3).tolist()))
    assert runs_over_each_other(["a", "b"], [TWO, other], [one, one]) == []
    assert runs_over_each_other(["a", "b"], [TWO, THREE], [one, three]) == []


def test_a_regression_has_dots_and_errors() -> None:
    task = Regression("mood", "mse", False, 0.0, (-1.0, 1.0))
    few = scored([-1.0, 0.0, 1.0], [[-0.5], [0.25], [0.5]])
    charts = regression_plots(task, kept(video=few, audio=few, video_audio=few))
    assert [chart["caption"].split(":")[0] for chart in charts] == [
        "video+audio",
        "video+audio",
        "video",
        "audio",
    ]
    assert str(charts[0]["plot"]).count("<circle") == 3
    assert "errors, mean +0.083" in charts[1]["caption"]
    assert regression_plots(task, kept(video=scored([1.0], [[1.0]])))  # one point, no width
    many = scored(np.linspace(0, 1, 900).tolist(), np.zeros((900, 1)).tolist())
    charts = regression_plots(task, kept(video=many))
    assert str(charts[0]["plot"]).count("<circle") == 500
    assert "500 of 900 samples, drawn by chance" in charts[0]["caption"]
    assert regression_plots(TWO, kept(video=few)) == []
