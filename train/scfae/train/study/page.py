"""What the study leaves behind: one page that needs nothing else, Markdown, CSV and JSON."""

import csv
import io
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from scfae.store.atomic import write_atomic

from ..plots import Interval, Series, interval_axis, interval_plot, interval_scale, line_chart
from ..report import render
from ..runs import write_json
from .given import GivenData
from .given_questions import given_lines
from .questions import SCFAE, SPACE, Condition, Form
from .results import LEVEL, Answer, Difference, MethodRow
from .sentences import conclusion, p_text, percent, points, sentences

PAGE, TABLE, LINES, DOCUMENT = "report.html", "study.md", "study.csv", "study.json"
TITLE = "Where SCFAE helps, and where it does not"
DASH = "\N{EN DASH}"
HEADS = ("method", "parameters", "lr / decay / masking", "training loss")
_NO_FACTS = [DASH] * (len(HEADS) - 1)


def write_study(
    out: Path, form: Form, answers: Sequence[Answer], data: GivenData | None = None
) -> Path:
    """Write the study in four forms; return the page.

    Args:
        out: The folder.
        form: How much work it was.
        answers: What was found.
        data: What it is of; None for generated data.
    """
    write_atomic(out / TABLE, to_markdown(form, answers, data).encode())
    write_atomic(out / LINES, to_csv(answers).encode())
    write_json(out / DOCUMENT, document(form, answers, data))
    write_atomic(out / PAGE, render("study.html.j2", _page(form, answers, data)))
    return out / PAGE


def method_lines(form: Form, data: GivenData | None = None) -> list[tuple[str, str]]:
    """Return how the study was made, by topic."""
    lines = dict(_generated_lines(form, ELSEWHERE if data is None else BESIDE))
    if data is None:
        return list(lines.items())
    own = dict(given_lines(data, form))
    return list(({"data": own["data"]} | lines | own).items())


ELSEWHERE = "Validation chooses, on a draw of the data that serves nothing else."
BESIDE = "Validation chooses, on the validation samples with gaps and pairings of their own."


def _generated_lines(form: Form, choice: str) -> list[tuple[str, str]]:
    low, high = SPACE["lr"]
    least, most = SPACE["weight_decay"]
    return [
        (
            "tuning",
            f"Every method tries the same {form.num_trials} settings: learning rate {low:g} to "
            f"{high:g} and weight decay {least:g} to {most:g}, both log-uniform, and whether "
            f"training hides random sets of modalities. {choice} Loss weights and stages are "
            "the methods' own.",
        ),
        (
            "measuring",
            f"The chosen setting is trained on {form.num_draws} fresh draws of data, maps and "
            "weights, the same for every method; validation selects the epoch. Test labels choose "
            f"nothing. {form.epochs} epochs, {_counts(form)} samples.",
        ),
        (
            "learning",
            "All methods have the same steps. A training loss near 1.39, that of guessing among "
            "four classes, says that a method has not learned in them; one near 0 beside mediocre "
            "figures, that it has learned its few samples by heart.",
        ),
        (
            "noise",
            "Differences are paired by draw. Intervals are 95 %, by Student's t over draws; p is "
            "after Holm over all other methods of a question (and apart over SCFAE's variants), by "
            f"its first column. Beyond noise: p below {LEVEL:g}.",
        ),
    ]


def to_markdown(form: Form, answers: Sequence[Answer], data: GivenData | None = None) -> str:
    """Return the study as GitHub reads it."""
    lines = [f"# {TITLE}", "", conclusion(answers), ""]
    lines += [f"- {topic}: {text}" for topic, text in method_lines(form, data)]
    for answer in answers:
        heads = [*HEADS, *(one.name for one in answer.question.conditions), "SCFAE minus it"]
        lines += ["", f"## {answer.question.title}", "", answer.question.asks, ""]
        lines += [f"{answer.question.setup} {_widths(form, answer)}", ""]
        lines += [f"- {sentence}" for sentence in sentences(answer)]
        lines += ["", "| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        for row in answer.rows:
            cells = [row.entrant.name, *_facts(row)]
            cells += [_figure(row, one) for one in answer.question.conditions]
            cells.append(_beside(answer, row))
            lines.append("| " + " | ".join(cells) + " |")
        lines += [f"| {' | '.join(cells)} |" for cells in _baseline_rows(answer)]
    lines += ["", "Right answers in %: mean ± standard deviation over draws.", ""]
    return "\n".join(lines)


CSV_FIELDS = (
    "question",
    "method",
    "role",
    "parameters",
    "training_loss",
    "lr",
    "weight_decay",
    "masking",
    "condition",
    "mean",
    "sd",
    "draws",
    "ci_low",
    "ci_high",
    "scfae_minus_it",
    "difference_ci_low",
    "difference_ci_high",
    "p",
    "p_holm",
    "outcome",
)


def to_csv(answers: Sequence[Answer]) -> str:
    """Return a line for each method and condition; figures are fractions."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_FIELDS, lineterminator="\n", restval="")
    writer.writeheader()
    for answer in answers:
        for row in answer.rows:
            for condition in answer.question.conditions:
                over, interval = row.over_draws(condition.name), row.interval(condition.name)
                line: dict[str, Any] = {
                    "question": answer.question.name,
                    "method": row.entrant.name,
                    "role": row.entrant.role,
                    "parameters": row.parameters,
                    "training_loss": row.training_loss,
                    **row.setting,
                    "condition": condition.name,
                    "mean": over.mean,
                    "sd": over.sd,
                    "draws": over.n,
                }
                if interval is not None:
                    line |= {"ci_low": interval[0], "ci_high": interval[1]}
                one = _difference(answer, row, condition.name)
                if one is not None:
                    line |= {"scfae_minus_it": one.mean, "p": one.p, "p_holm": one.holm}
                    line["outcome"] = one.outcome if one.holm is not None else ""
                    if one.interval is not None:
                        low, high = one.interval
                        line |= {"difference_ci_low": low, "difference_ci_high": high}
                writer.writerow(line)
    return buffer.getvalue()


def document(
    form: Form, answers: Sequence[Answer], data: GivenData | None = None
) -> dict[str, Any]:
    """Return the study as plain JSON values."""
    return {
        "form": form.name,
        "data": None if data is None else data.facts(),
        "method": dict(method_lines(form, data)),
        "conclusion": conclusion(answers),
        "questions": [
            {
                "name": answer.question.name,
                "asks": answer.question.asks,
                "setup": answer.question.setup,
                "widths": list(answer.question.widths[form.name]),
                "sentences": sentences(answer),
                "strongest": answer.strongest,
                "majority": dict(answer.majority),
                "single": None if answer.single is None else list(answer.single),
                "methods": [
                    {
                        "name": row.entrant.name,
                        "fusion": row.entrant.fusion,
                        "options": dict(row.entrant.options),
                        "role": row.entrant.role,
                        "parameters": row.parameters,
                        "training_loss": row.training_loss,
                        "setting": dict(row.setting),
                        "validation": {str(k): v for k, v in row.validation.items()},
                        "figures": {
                            name: {str(draw): value for draw, value in by_draw.items()}
                            for name, by_draw in row.figures.items()
                        },
                        "failure": row.failure,
                    }
                    for row in answer.rows
                ],
                "differences": [
                    {
                        "first": one.first,
                        "second": one.second,
                        "condition": one.condition,
                        "mean": one.mean,
                        "ci95": None if one.interval is None else list(one.interval),
                        "p": one.p,
                        "p_holm": one.holm,
                        "draws": one.num_draws,
                    }
                    for one in (*answer.others, *answer.elsewhere, *answer.variants)
                ],
            }
            for answer in answers
        ],
    }


def _page(form: Form, answers: Sequence[Answer], data: GivenData | None) -> dict[str, Any]:
    return {
        "title": TITLE,
        "subtitle": f"beyond the paper, {form.name} form"
        + ("" if data is None else f", on {Path(data.given.store).name}"),
        "conclusion": conclusion(answers),
        "facts": method_lines(form, data),
        "questions": [_section(form, answer) for answer in answers],
        "footer": f"scfae {metadata.version('scfae')}. Written from the run folders beside it; the "
        "same command writes it again.",
    }


def _section(form: Form, answer: Answer) -> dict[str, Any]:
    question = answer.question
    lead = question.conditions[0].name
    dots = []
    for row in answer.rows:
        low, high = row.interval(lead) or (None, None)
        mean = row.over_draws(lead).mean
        colour = 1 if row.entrant.role == "other" else 0
        dots.append((row.entrant.name, Interval(row.entrant.name, mean, low, high, colour)))
    reference = answer.majority.get(lead)
    scale = interval_scale([reference, *(x for _, dot in dots for x in (dot.value, dot.low))])
    return {
        "name": question.name,
        "title": question.title,
        "asks": question.asks,
        "setup": f"{question.setup} {_widths(form, answer)}",
        "sentences": sentences(answer),
        "heads": [*HEADS[1:], *(one.name for one in question.conditions), "SCFAE minus it"],
        "rows": [
            {
                "name": row.entrant.name,
                "is_scfae": row.entrant.name == SCFAE,
                "cells": [
                    *_facts(row),
                    *(_figure(row, one) for one in question.conditions),
                    _beside(answer, row),
                ],
            }
            for row in answer.rows
        ]
        + [
            {"name": name, "is_scfae": False, "cells": cells}
            for name, *cells in _baseline_rows(answer)
        ],
        "plot": {
            "caption": f"Right answers, {lead}: mean over draws and its 95 % interval; dashed: "
            "the majority, no features.",
            "rows": [
                {"name": name, "plot": interval_plot([dot], scale, reference=reference)}
                for name, dot in dots
            ],
            "axis": interval_axis(scale),
        },
        "chart": _chart(answer),
    }


def _chart(answer: Answer) -> dict[str, Any] | None:
    """Return right answers over the share that is missing, of SCFAE and the strongest others."""
    places: list[tuple[float, Condition]] = [
        (one.rates[0] if one.rates else 0.0, one)
        for one in answer.question.conditions
        if len(one.rates) < 2 and not one.where
    ]
    places.sort(key=lambda place: place[0])
    rows = [row for row in answer.rows if row.figures and row.entrant.role != "variant"]
    if len(places) < 2 or not rows:
        return None
    series = [
        Series(
            row.entrant.name,
            [100 * rate for rate, _ in places],
            [row.over_draws(one.name).mean for _, one in places],
        )
        for row in rows[:6]
    ]
    return {
        "names": [one.name for one in series],
        "plot": line_chart(series, f"{answer.question.title}: right answers", x_label="%"),
    }


def _facts(row: MethodRow) -> list[str]:
    parameters = DASH if row.parameters is None else f"{row.parameters:,}"
    chosen = " / ".join(str(value) for value in row.setting.values())
    loss = DASH if row.training_loss is None else f"{row.training_loss:.2f}"
    return [parameters, chosen or DASH, loss]


def _figure(row: MethodRow, condition: Condition) -> str:
    over = row.over_draws(condition.name)
    if over.mean is None:
        return DASH
    return f"{100 * over.mean:.1f}" + ("" if over.sd is None else f" ± {100 * over.sd:.1f}")


def _difference(answer: Answer, row: MethodRow, condition: str) -> Difference | None:
    """Return what is known of SCFAE minus a row's method; None of SCFAE itself."""
    if row.entrant.name == SCFAE:
        return None
    for one in (*answer.others, *answer.elsewhere, *answer.variants):
        if row.entrant.name in (one.first, one.second) and one.condition == condition:
            return one if one.first == SCFAE else one.turned()  # a variant is the first
    return None


def _beside(answer: Answer, row: MethodRow) -> str:
    one = _difference(answer, row, answer.question.conditions[0].name)
    return "" if one is None else f"{points(one)}, {p_text(one)}"


def _baseline_rows(answer: Answer) -> list[list[str]]:
    conditions = answer.question.conditions
    rows = []
    if answer.majority:
        figures = [f"{100 * answer.majority[one.name]:.1f}" for one in conditions]
        rows.append(["the majority, no features", *_NO_FACTS, *figures, ""])
    if answer.single is not None:
        name, value = answer.single
        figures = [
            DASH if one.rates or one.where else percent(value).removesuffix(" %")
            for one in conditions
        ]
        rows.append([f"view {name} alone, linear", *_NO_FACTS, *figures, ""])
    return rows


def _widths(form: Form, answer: Answer) -> str:
    widths = ", ".join(map(str, answer.question.widths[form.name]))
    return f"Widths: {widths}."


def _counts(form: Form) -> str:
    return ", ".join(f"{count} {name}" for name, count in form.counts.items())
