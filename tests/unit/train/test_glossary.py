"""A page explains the metrics it shows, and no others."""

import pytest

from scfae.train.figures import METRIC_TITLES
from scfae.train.glossary import MEANINGS, explain


def test_only_what_is_shown_is_explained() -> None:
    text = explain(["acc7", "mae"])
    assert "-3 to 3" in text
    assert text.endswith("Lower is better: MAE.")
    assert "ROC-AUC" not in text
    assert "first K" in explain(["map@5", "r@1"])
    assert "first K" not in text


@pytest.mark.parametrize("name", MEANINGS)
def test_every_explained_metric_is_one(name: str) -> None:
    assert name in METRIC_TITLES


def test_accuracy_and_what_is_named_in_full_need_no_words() -> None:
    assert explain(["accuracy", "rmse", "r2"]) == "Lower is better: RMSE."
