"""Intervals, p and Holm by hand; sentences that say what the numbers say."""

import csv
import io
from dataclasses import replace

import pytest

from scfae.train.seeds import interval_of_mean, p_of_mean
from scfae.train.study.page import to_csv
from scfae.train.study.questions import QUESTIONS, SCFAE, Entrant
from scfae.train.study.results import (
    Answer,
    Difference,
    MethodRow,
    difference,
    holm,
)
from scfae.train.study.sentences import conclusion, sentences

WHERE = QUESTIONS[0].conditions[0].name


def test_the_interval_of_a_mean_by_hand() -> None:
    """Of 1, 2, 3: mean 2, error 1 / sqrt 3, and t of two degrees is 4.303."""
    low, high = interval_of_mean([1.0, 2.0, 3.0]) or (0.0, 0.0)
    assert (low, high) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)
    assert interval_of_mean([1.0]) is None


def test_p_agrees_with_the_interval() -> None:
    values = [0.02, 0.05, 0.03, 0.04]
    interval = interval_of_mean(values)
    p = p_of_mean(values)
    assert interval is not None
    assert p is not None
    assert (interval[0] > 0) == (p < 0.05)
    assert p_of_mean([0.1, 0.1]) is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    # What has no p is a comparison all the same.
    assert holm([0.01, None]) == [0.02, None]


def row(name: str, values: list[float], role: str = "other", validation: float = 0.5) -> MethodRow:
    draws = range(1, len(values) + 1)
    figures = {one.name: dict(zip(draws, values, strict=True)) for one in QUESTIONS[0].conditions}
    entrant = Entrant(name, "concat", role=role)  # type: ignore[arg-type]
    return MethodRow(entrant, {}, 1000, 0.1, dict.fromkeys(draws, validation), figures, None)


def answer(*rows: MethodRow, others: tuple[Difference, ...]) -> Answer:
    strongest = max(
        (one for one in rows if one.entrant.role == "other"), key=lambda one: one.validation[1]
    )
    return Answer(QUESTIONS[0], rows, strongest.entrant.name, others, (), (), {WHERE: 0.25}, None)


def test_differences_are_paired_by_draw() -> None:
    one = difference(row(SCFAE, [0.5, 0.7, 0.9]), row("concat", [0.4, 0.61, 0.79]), WHERE)
    assert one.mean == pytest.approx(0.1)
    assert one.interval is not None
    assert one.interval[1] - one.interval[0] < 0.06  # though each method varies by 0.2


def test_a_variant_in_the_table_is_told_from_scfaes_side_in_every_column() -> None:
    variant = row("SCFAE, 2 layers", [0.4, 0.42], "variant")
    below = Difference("SCFAE, 2 layers", SCFAE, WHERE, -0.2, (-0.25, -0.15), 0.01, 0.01, 2)
    assert below.turned() == Difference(
        SCFAE, "SCFAE, 2 layers", WHERE, 0.2, (0.15, 0.25), 0.01, 0.01, 2
    )
    rows = (row(SCFAE, [0.6, 0.62], "scfae"), row("concat", [0.5, 0.5]), variant)
    found = replace(answer(*rows, others=()), variants=(below,))
    (line,) = [
        one
        for one in csv.DictReader(io.StringIO(to_csv([found])))
        if one["role"] == "variant" and one["condition"] == WHERE
    ]
    assert (line["scfae_minus_it"], line["difference_ci_low"]) == ("0.2", "0.15")
    assert line["outcome"] == "ahead"


@pytest.mark.parametrize(
    ("mean", "holm_p", "words"),
    [
        (0.031, 0.01, "SCFAE is 3.1 points ahead, beyond noise"),
        (-0.031, 0.01, "SCFAE is 3.1 points behind, beyond noise"),
        (0.031, 0.2, "a difference of +3.1 points, not beyond noise"),
        (0.031, None, "a difference of +3.1 points, not beyond noise"),
    ],
)
def test_sentences_say_what_the_numbers_say(mean: float, holm_p: float | None, words: str) -> None:
    ours, strong, weak = (
        row(SCFAE, [0.60, 0.62], "scfae"),
        row("gated", [0.61, 0.62], validation=0.9),
        row("concat", [0.3, 0.31], validation=0.4),
    )
    beside = (
        Difference(SCFAE, "gated", WHERE, mean, (0.0, 0.1), 0.01, holm_p, 2),
        Difference(SCFAE, "concat", WHERE, 0.3, (0.28, 0.32), 0.001, 0.002, 2),
    )
    found = answer(ours, strong, weak, others=beside)
    lead, count = sentences(found)[:2]
    assert "SCFAE is right in 61.0 % and gated, the strongest other method by validation" in lead
    assert words in lead
    assert "concat (+30.0 (+28.0 to +32.0))" in count
    assert count.startswith("Of 2 other methods SCFAE is ahead of")
    outcome = {True: "ahead beyond noise in 1 (conflict) of 1"}.get(
        holm_p == 0.01 and mean > 0, "ahead beyond noise in 0 of 1"
    )
    assert outcome in conclusion([found])


def test_one_view_that_beats_every_method_is_told() -> None:
    rows = (row(SCFAE, [0.5, 0.6], "scfae"), row("concat", [0.6, 0.7]))
    beside = (Difference(SCFAE, "concat", WHERE, -0.1, (-0.2, 0.0), 0.04, 0.04, 2),)
    found = answer(*rows, others=beside)
    told = "A linear model of view a alone, in 66.0 %, is ahead of every method."
    assert told in sentences(replace(found, single=("a", 0.66)))
    assert not [one for one in sentences(replace(found, single=("a", 0.64))) if "linear" in one]
