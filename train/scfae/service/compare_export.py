"""A comparison as a table for a spreadsheet or a paper: what is shown, and nothing else."""

import csv
import io
import json
from collections.abc import Sequence

from pydantic import JsonValue

from scfae.store.errors import ConfigError
from scfae.train.latex import latex

from .compare_views import Comparison

PLUS_MINUS, DASH = "\N{PLUS-MINUS SIGN}", "\N{EN DASH}"


def table(comparison: Comparison, metric: str | None = None) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows: a row a run and a group of seeds, a column a set of modalities.

    Args:
        comparison: Of the runs.
        metric: The figure; the one to show first if None.

    Raises:
        ConfigError: There is no such figure.
    """
    shown = chosen_metric(comparison, metric)
    names = [one.name for one in comparison.differing]
    heads = ["run", "id", *names, *(f"{shown} {one}" for one in comparison.conditions)]
    rows = []
    for place, run in enumerate(comparison.runs):
        settings = [value_text(one.values[place]) for one in comparison.differing]
        figures = [
            "" if shown is None else number_text(_value(comparison, place, condition, shown))
            for condition in comparison.conditions
        ]
        rows.append([run.name, run.id, *settings, *figures])
    places = {run.id: place for place, run in enumerate(comparison.runs)}
    for group in comparison.groups:
        members = [places[run] for run in group.runs]
        settings = [
            value_text(one.values[members[0]])
            if all(one.values[m] == one.values[members[0]] for m in members)
            else ""
            for one in comparison.differing
        ]
        figures = []
        for condition in comparison.conditions:
            over = group.conditions.get(condition, {}).get(shown or "")
            text = "" if over is None else number_text(over.mean)
            if over is not None and over.sd is not None:
                text += f" {PLUS_MINUS} {over.sd:.3f}"
            figures.append(text)
        rows.append([f"{group.name} (mean of {len(group.seeds)} seeds)", "", *settings, *figures])
    return heads, rows


def as_csv(comparison: Comparison, metric: str | None = None) -> str:
    """Return the table as CSV; see `table`."""
    heads, rows = table(comparison, metric)
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerows([[_plain(cell) for cell in row] for row in (heads, *rows)])
    return file.getvalue()


def as_latex(comparison: Comparison, metric: str | None = None) -> str:
    """Return the table as a LaTeX tabular of booktabs, without ids; see `table`."""
    heads, rows = table(comparison, metric)
    shown = [[cell for place, cell in enumerate(row) if place != 1] for row in (heads, *rows)]
    count, first_group = len(shown[0]), len(comparison.runs)
    lines = [
        "% needs \\usepackage{booktabs}",
        f"\\begin{{tabular}}{{{'l' * (count - len(comparison.conditions))}"
        f"{'r' * len(comparison.conditions)}}}",
        "\\toprule",
        _latex_row(shown[0]),
        "\\midrule",
    ]
    for place, row in enumerate(shown[1:]):
        lines += ["\\midrule"] if place == first_group else []
        lines.append(_latex_row(row))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def chosen_metric(comparison: Comparison, metric: str | None) -> str | None:
    """Return the figure that is shown; None if no run was evaluated.

    Raises:
        ConfigError: There is no such figure.
    """
    if metric is None:
        return comparison.metric
    if metric not in comparison.metrics:
        known = ", ".join(comparison.metrics) or "none: no run was evaluated"
        raise ConfigError(f"metric = {metric!r}: the runs have {known}.")
    return metric


def value_text(value: JsonValue) -> str:
    """Return a setting's value as people write it; a dash where a run has no such setting."""
    if value is None:
        return DASH
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def number_text(value: float | None) -> str:
    """Return a figure; a dash where it is undefined."""
    return DASH if value is None else f"{value:.3f}"


def _value(comparison: Comparison, place: int, condition: str, metric: str) -> float | None:
    found = comparison.runs[place].conditions.get(condition, {}).get(metric)
    return None if found is None else found.value


def _plain(cell: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    try:
        float(cell)
    except ValueError:
        return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
    return cell


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(map(latex, cells)) + r" \\"
