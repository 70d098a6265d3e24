"""Tables as Markdown, LaTeX and CSV: printed figures, ours beneath them, and what to know.

In Markdown and LaTeX a row of the paper is a line of printed figures and a line of ours, with the
deviation over seeds and the 95 % interval over test samples. CSV has a line for each figure, in
fractions, with everything that is known of it.
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

from ..latex import latex
from .costs import CostTable
from .protocols import Protocol
from .results import Measurement, ResultRow, ResultTable
from .tables import Column, Table

DASH = "\N{EN DASH}"


def lines_of(result: ResultTable) -> list[tuple[str, str, list[str]]]:
    """Return (row, whose, figures) of every line of a table, as text."""
    table = result.table
    lines: list[tuple[str, str, list[str]]] = []
    for row in result.rows:
        printed = table.printed(row.row)
        name = row_name(row)
        if printed:
            lines.append(
                (name, "printed", [printed.get(column.head, DASH) for column in table.columns])
            )
            name = ""
        if row.state == "measured":
            figures = [figures_text(table, row.figures[column.head]) for column in table.columns]
            lines.append((name, f"ours, {seeds_text(row.num_seeds)}", figures))
        else:
            lines.append((name, row.note, [DASH] * len(table.columns)))
    if result.baseline:
        lines.append(
            (
                baseline_name(result),
                "ours",
                [baseline_text(result, column) for column in table.columns],
            )
        )
    return lines


def row_name(row: ResultRow) -> str:
    """Return what a row is called; one of ours says in whose place it stands."""
    stands_for = row.row.stands_for
    return row.row.label + ("" if stands_for is None else f" (ours, in place of {stands_for})")


def baseline_name(result: ResultTable) -> str:
    """Return who sees no features."""
    is_ranking = result.part is not None and result.part.task == "retrieval"
    return "a random order" if is_ranking else "the majority, no features"


def seeds_text(number: int) -> str:
    """Return `1 seed` or `3 seeds`."""
    return f"{number} seed{'' if number == 1 else 's'}"


def figures_text(table: Table, figures: Sequence[Measurement]) -> str:
    """Return `61.2 ± 0.4 [58.0, 64.1]`, one for each metric of a column."""
    return " / ".join(figure_text(table, one) for one in figures)


def figure_text(table: Table, one: Measurement) -> str:
    """Return one figure with its deviation and interval, as far as there are any."""
    text = _number(table, one.metric, one.seeds.mean)
    if one.seeds.mean is not None and one.seeds.sd is not None:
        text += f" ± {_number(table, one.metric, one.seeds.sd)}"
    if one.interval is not None:
        text += f" [{', '.join(_number(table, one.metric, end) for end in one.interval)}]"
    return text


def baseline_text(result: ResultTable, column: Column) -> str:
    """Return what who sees no features scores, a number for each metric of a column."""
    values = zip(column.metrics, result.baseline[column.head], strict=True)
    return " / ".join(_number(result.table, metric, value) for metric, value in values)


def _number(table: Table, metric: str, value: float | None) -> str:
    if value is None:
        return DASH
    return without_sign_of_zero(f"{value * table.scale(metric):.{table.digits(metric)}f}")


def without_sign_of_zero(number: str) -> str:
    """Return a number as text, but `0.0` for `-0.0`."""
    return number.removeprefix("-") if float(number) == 0 else number


def caption(result: ResultTable) -> str:
    """Return `Table 5: CMU-MOSEI under …`, and on what data ours is."""
    table = result.table
    head = f"Table {table.number}: {table.title}" if table.number else table.title
    return head + ("" if result.part is None else f". Ours on {result.part.title}")


def protocol_note(protocol: Protocol) -> str:
    """Return how ours are trained."""
    return f"Protocol {protocol.name}. {protocol.training} {protocol.selection}"


OURS_NOTE = (
    "Ours: mean ± standard deviation over seeds; in brackets the 95 % bootstrap interval over test "
    "samples."
)


def notes(result: ResultTable, protocol: Protocol) -> list[str]:
    """Return what stands under a table: protocol, data, intervals, footnotes."""
    found = []
    if result.part is not None:
        found += [protocol_note(protocol), OURS_NOTE, *_gradient_note(result)]
        samples = sorted({row.num_samples for row in result.rows if row.num_samples is not None})
        if samples:
            found.append(f"{' or '.join(map(str, samples))} test samples.")
        if result.part.note:
            found.append(result.part.note)
    return found + list(result.table.footnotes)


def _gradient_note(result: ResultTable) -> list[str]:
    if not any(column.is_of_gradients for column in result.table.columns):
        return []
    return ["Of gradients: the 95 % interval of the mean over seeds, by Student's t."]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table as text.

    Attributes:
        name: As `scfae reproduce` takes it.
        caption: Its number, its title, on what data ours is.
        heads: Names of the columns, the first two (row, whose) aside.
        lines: (row, whose, figures).
        notes: What stands under it.
        conclusion: What is more than noise; empty for nothing.
    """

    name: str
    caption: str
    heads: tuple[str, ...]
    lines: tuple[tuple[str, str, list[str]], ...]
    notes: tuple[str, ...]
    conclusion: str = ""


def sheet_of(result: ResultTable, protocol: Protocol, conclusion: str = "") -> Sheet:
    """Return a table of figures as text."""
    return Sheet(
        result.table.name,
        caption(result),
        tuple(column.head for column in result.table.columns),
        tuple(lines_of(result)),
        tuple(notes(result, protocol)),
        conclusion,
    )


def sheet_of_costs(table: CostTable) -> Sheet:
    """Return Table 12 or 13, or Figure 4 as a table, as text."""
    width = len(table.heads) - len(table.rows[0].ours)
    lines = []
    for row in table.rows:
        printed = [one or DASH for one in row.printed] + [DASH] * (width - len(row.printed))
        lines.append((row.name, "", [*printed, *(one or DASH for one in row.ours)]))
    return Sheet(
        table.name, table.caption, table.heads, tuple(lines), table.notes, table.conclusion
    )


def to_markdown(sheet: Sheet) -> str:
    """Return a table as GitHub reads it."""
    heads = ["", "", *sheet.heads]
    lines = [f"### {sheet.caption}", ""]
    lines.append("| " + " | ".join(heads) + " |")
    lines.append("|" + "---|" * len(heads))
    for name, whose, figures in sheet.lines:
        cells = [one.replace("|", "\\|") for one in (name, whose, *figures)]
        lines.append("| " + " | ".join(cells) + " |")
    if sheet.conclusion:
        lines += ["", sheet.conclusion]
    lines += ["", *(f"- {note}" for note in sheet.notes), ""]
    return "\n".join(lines)


def to_latex(sheet: Sheet) -> str:
    """Return a table for a paper; it needs the package booktabs."""
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{table}",
        f"\\caption{{{latex(sheet.caption)}}}",
        f"\\begin{{tabular}}{{ll{'r' * len(sheet.heads)}}}",
        "\\toprule",
        " & ".join(["", "", *map(latex, sheet.heads)]) + r" \\",
        "\\midrule",
    ]
    for name, whose, figures in sheet.lines:
        lines.append(" & ".join(latex(one) for one in (name, whose, *figures)) + r" \\")
    lines += ["\\bottomrule", "\\end{tabular}"]
    lines += [f"% {note}" for note in sheet.notes]
    return "\n".join([*lines, "\\end{table}", ""])


CSV_FIELDS = (
    "table",
    "row",
    "method",
    "column",
    "metric",
    "printed",
    "mean",
    "sd",
    "seeds",
    "ci_low",
    "ci_high",
    "baseline",
    "protocol",
    "state",
    "note",
)


def to_csv(result: ResultTable, protocol: Protocol) -> str:
    """Return a line for each figure of a table; ours are fractions, printed ones as printed."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_FIELDS, lineterminator="\n")
    writer.writeheader()
    for row in result.rows:
        printed = result.table.printed(row.row)
        for column in result.table.columns:
            parts = printed.get(column.head, "").split("/")
            for place, metric in enumerate(column.metrics):
                line: dict[str, object] = {
                    "table": result.table.name,
                    "row": row.row.label,
                    "method": row.row.method or "",
                    "column": column.head,
                    "metric": metric,
                    "printed": parts[place] if place < len(parts) else "",
                    "protocol": protocol.name,
                    "state": row.state,
                    "note": row.note,
                }
                if row.state == "measured":
                    one = row.figures[column.head][place]
                    low, high = one.interval or (None, None)
                    line |= {
                        "mean": one.seeds.mean,
                        "sd": one.seeds.sd,
                        "seeds": one.seeds.n,
                        "ci_low": low,
                        "ci_high": high,
                        "baseline": result.baseline[column.head][place],
                    }
                writer.writerow(line)
    return buffer.getvalue()


def costs_to_csv(table: CostTable) -> str:
    """Return a line for each row of Table 12 or 13, printed figures first, then ours."""
    sheet = sheet_of_costs(table)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["table", "row", *sheet.heads])
    writer.writerows([table.name, name, *figures] for name, _, figures in sheet.lines)
    return buffer.getvalue()
