"""What the study found, in plain sentences: where SCFAE is ahead, where not, by how much."""

from collections.abc import Sequence

from .questions import SCFAE
from .results import Answer, Difference, Interval, Outcome

MINUS = "\N{MINUS SIGN}"


def conclusion(answers: Sequence[Answer]) -> str:
    """Return in how many questions SCFAE is ahead of the strongest other method."""
    counted: dict[Outcome, list[str]] = {"ahead": [], "behind": [], "within noise": []}
    for answer in answers:
        for one in answer.others:
            if one.second == answer.strongest:
                counted[one.outcome].append(answer.question.title.lower())
    asked = sum(map(len, counted.values()))
    return (
        f"Beside the strongest other method (by validation), SCFAE is ahead beyond noise in "
        f"{_counted(counted['ahead'])} of {asked} questions, behind beyond noise in "
        f"{_counted(counted['behind'])}, and not to be told from it in "
        f"{_counted(counted['within noise'])}."
    )


def sentences(answer: Answer) -> list[str]:
    """Return what a question's answer is."""
    failed = [row for row in answer.rows if row.failure is not None]
    found = [f"{row.entrant.name} has no figures, or not all: {row.failure}" for row in failed]
    if not answer.others:
        return [*found, "There is nothing to compare SCFAE with yet."]
    return [
        _lead(answer),
        _count(answer.others),
        *_elsewhere(answer),
        *(_variant(answer, one) for one in answer.variants),
        *_single(answer),
        *found,
    ]


def points(one: Difference) -> str:
    """Return a difference with its interval, in points: `+1.2 (+0.3 to +2.1)`."""
    return f"{_signed(one.mean)}{_between(one.interval)}"


def percent(value: float) -> str:
    """Return a fraction as `61.2 %`."""
    return f"{100 * value:.1f} %"


def p_text(one: Difference) -> str:
    """Return p after Holm, as short as it may be."""
    if one.holm is None:
        return "no p: the draws do not differ"
    return "p < 0.001" if one.holm < 0.001 else f"p {one.holm:.3f}"


def _lead(answer: Answer) -> str:
    one = next(x for x in answer.others if x.second == answer.strongest)
    ours, theirs = (answer.row(name).over_draws(one.condition).mean for name in (SCFAE, one.second))
    assert ours is not None
    assert theirs is not None
    size = f"{abs(100 * one.mean):.1f} points"
    verdict = {
        "ahead": f"SCFAE is {size} ahead, beyond noise",
        "behind": f"SCFAE is {size} behind, beyond noise",
        "within noise": f"a difference of {_signed(one.mean)} points, not beyond noise",
    }[one.outcome]
    return (
        f"By {one.condition}, SCFAE is right in {percent(ours)} and {one.second}, the strongest "
        f"other method by validation, in {percent(theirs)}: {verdict}{_between(one.interval)}. "
        f"{one.num_draws} draws, {p_text(one)} after Holm; the interval is of the difference."
    )


def _count(differences: Sequence[Difference]) -> str:
    parts = []
    for outcome, words in (
        ("ahead", "ahead of"),
        ("behind", "behind"),
        ("within noise", "not to be told from"),
    ):
        names = [f"{one.second} ({points(one)})" for one in differences if one.outcome == outcome]
        parts.append(f"{words} {', '.join(names) or 'none'}")
    return f"Of {len(differences)} other methods SCFAE is {'; '.join(parts)}."


def _elsewhere(answer: Answer) -> list[str]:
    if not answer.elsewhere:
        return []
    told = "; ".join(f"{one.condition} {points(one)}" for one in answer.elsewhere)
    return [f"Beside {answer.strongest} elsewhere, not adjusted: {told}."]


def _single(answer: Answer) -> list[str]:
    """Return that a linear model of one view is ahead of every method, where it is."""
    full = [one.name for one in answer.question.conditions if not (one.rates or one.where)]
    if answer.single is None or not full:
        return []
    name, value = answer.single
    means = [row.over_draws(full[0]).mean for row in answer.rows]
    if any(mean is not None and mean >= value for mean in means):
        return []
    return [f"A linear model of view {name} alone, in {percent(value)}, is ahead of every method."]


def _variant(answer: Answer, one: Difference) -> str:
    mine, theirs = (answer.row(name).parameters for name in (one.first, SCFAE))
    assert mine is not None
    assert theirs is not None
    verdict = {
        "ahead": "better beyond noise",
        "behind": "worse beyond noise",
        "within noise": "not to be told from it",
    }[one.outcome]
    return (
        f"{one.first}: {mine:,} parameters, {mine / theirs:.2f} times SCFAE's; {points(one)} "
        f"points beside it, {verdict} ({p_text(one)} after Holm)."
    )


def _between(interval: Interval | None) -> str:
    return "" if interval is None else f" ({' to '.join(_signed(end) for end in interval)})"


def _signed(value: float) -> str:
    shown = f"{abs(100 * value):.1f}"
    if float(shown) == 0:
        return shown
    return f"{MINUS if value < 0 else '+'}{shown}"


def _counted(titles: Sequence[str]) -> str:
    return f"{len(titles)} ({', '.join(titles)})" if titles else "0"
