"""What `scfae reproduce` leaves behind: each table in four forms, and one self-contained page."""

from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from scfae.store.atomic import write_atomic

from ..plots import Interval, interval_axis, interval_plot, interval_scale
from ..report import render
from ..runs import write_json
from .costs import CostTable
from .exports import (
    DASH,
    OURS_NOTE,
    Sheet,
    baseline_name,
    baseline_text,
    costs_to_csv,
    figures_text,
    protocol_note,
    row_name,
    seeds_text,
    sheet_of,
    sheet_of_costs,
    to_csv,
    to_latex,
    to_markdown,
)
from .figure4 import FigureTable
from .figure4_forms import figure_section, write_figure
from .results import ResultTable
from .running import Reproduction
from .verdicts import standing, summary

PAGE = "report.html"


def sheets_of(found: Reproduction) -> list[Sheet]:
    """Return every table as text, in the order they were asked for."""
    return [
        sheet_of_costs(one)
        if isinstance(one, CostTable)
        else sheet_of(one, found.protocol, summary(one, found.verdicts.get(one.table.name, ())))
        for one in found.tables
    ]


def standings_of(found: Reproduction) -> list[dict[str, str]]:
    """Return where SCFAE stands in each table that compares it; see `verdicts.standing`."""
    return [
        standing(one, found.verdicts[one.table.name])
        for one in found.results
        if found.verdicts.get(one.table.name)
    ]


def write_reproduction(found: Reproduction) -> Path:
    """Write every table as .md, .tex, .csv and .json, and the page; return the page."""
    for one, sheet in zip(found.tables, sheets_of(found), strict=True):
        if isinstance(one, CostTable):
            lines, document = costs_to_csv(one), one.as_dict()
            if isinstance(one, FigureTable):
                write_figure(one, found.path)
        else:
            lines, document = to_csv(one, found.protocol), table_document(found, one)
        texts = {"md": to_markdown(sheet), "tex": to_latex(sheet), "csv": lines}
        for kind, text in texts.items():
            write_atomic(found.path / f"{sheet.name}.{kind}", text.encode())
        write_json(found.path / f"{sheet.name}.json", document)
    path = found.path / PAGE
    write_atomic(path, render("reproduce.html.j2", _page(found)))
    return path


def documents_of(found: Reproduction) -> dict[str, Any]:
    """Return every table as plain JSON values, by name."""
    return {
        one.name if isinstance(one, CostTable) else one.table.name: one.as_dict()
        if isinstance(one, CostTable)
        else table_document(found, one)
        for one in found.tables
    }


def table_document(found: Reproduction, result: ResultTable) -> dict[str, Any]:
    """Return a table as plain JSON values."""
    table = result.table
    return {
        "table": table.name,
        "title": table.title,
        "protocol": {"name": found.protocol.name, **found.protocol.sentences()},
        "data": None
        if result.part is None
        else {"title": result.part.title, "note": result.part.note} | result.part.settings(),
        "columns": [column.head for column in table.columns],
        "rows": [
            {
                "name": row.row.label,
                "method": row.row.method,
                "stands_for": row.row.stands_for,
                "state": row.state,
                "note": row.note,
                "printed": table.printed(row.row),
                "ours": {
                    head: [one.as_dict() for one in figures]
                    for head, figures in row.figures.items()
                },
                "runs": [str(path) for paths in row.runs.values() for path in paths],
            }
            for row in result.rows
        ],
        "baseline": {head: list(values) for head, values in result.baseline.items()},
        "verdicts": [one.as_dict() for one in found.verdicts.get(table.name, ())],
        "footnotes": list(table.footnotes),
    }


def _page(found: Reproduction) -> dict[str, Any]:
    sheets = sheets_of(found)
    title = sheets[0].caption.partition(":")[0]
    facts = list(found.protocol.sentences().items())
    if len(sheets) > 1:
        title = f"{len(sheets)} tables and figures of the paper"
        sheets, general = _without_general(found, sheets)
        facts += general
    standings = standings_of(found)
    compared = {one["name"] for one in standings}
    return {
        "title": title,
        "subtitle": "arXiv 2410.15475v2, printed figures beside measured ones",
        "protocol": found.protocol.name,
        "facts": facts,
        "failed": list(found.failed.items()),
        "superseded": [(name, ", ".join(old)) for name, old in found.superseded.items()],
        "standings": standings,
        "others": [
            {"name": sheet.name, "caption": sheet.caption.partition(". Ours on")[0]}
            for sheet in sheets
            if standings and sheet.name not in compared
        ],
        "tables": [
            _costs(one, sheet) if isinstance(one, CostTable) else _table(one, sheet)
            for one, sheet in zip(found.tables, sheets, strict=True)
        ],
        "footer": f"scfae {metadata.version('scfae')}. Written from the run folders in "
        f"{found.path.name}/runs; the same command writes it again.",
    }


def _without_general(
    found: Reproduction, sheets: list[Sheet]
) -> tuple[list[Sheet], list[tuple[str, str]]]:
    """Return sheets without the notes that are of all of them, and these for a place of their own.

    The protocol's is left out: the page has it sentence by sentence.
    """
    there = {note for sheet in sheets for note in sheet.notes}
    parts = [one.part.note for one in found.results if one.part is not None and one.part.note]
    general = {"ours": [OURS_NOTE], "data": list(dict.fromkeys(parts))}
    gone = {protocol_note(found.protocol), *(note for some in general.values() for note in some)}
    kept = [replace(s, notes=tuple(n for n in s.notes if n not in gone)) for s in sheets]
    shown = [
        (k, " ".join(n for n in some if n in there).removeprefix("Ours: "))
        for k, some in general.items()
    ]
    return kept, [(name, text) for name, text in shown if text]


def _costs(table: CostTable, sheet: Sheet) -> dict[str, Any]:
    rows = [
        {
            "name": name,
            "is_scfae": False,
            "note": "",
            "whose": [],
            "cells": [_cost_cell(table, one) for one in figures],
        }
        for name, _, figures in sheet.lines
    ]
    figure = figure_section(table) if isinstance(table, FigureTable) else None
    return _section(sheet, rows) | {"baseline": None, "plot": None, "figure": figure}


def _cost_cell(table: CostTable, text: str) -> dict[str, Any]:
    """Return a cell: of the figure, whose figures have intervals, these stand beneath."""
    if isinstance(table, FigureTable) and "[" in text:
        return {"printed": "", "ours": _split(text)}
    return {"printed": text, "ours": []}


def _section(sheet: Sheet, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "name": sheet.name,
        "caption": sheet.caption,
        "heads": sheet.heads,
        "rows": rows,
        "conclusion": sheet.conclusion,
        "notes": sheet.notes,
        "figure": None,
    }


def _table(result: ResultTable, sheet: Sheet) -> dict[str, Any]:
    table = result.table
    rows = []
    for row in result.rows:
        printed = table.printed(row.row)
        is_measured = row.state == "measured"
        whose = ["printed"] if printed else []
        whose += [f"ours, {seeds_text(row.num_seeds)}"] if is_measured else []
        cells = []
        for column in table.columns:
            figures = row.figures.get(column.head, ())
            ours = _split(figures_text(table, figures)) if is_measured else []
            cells.append(
                {"printed": printed.get(column.head, DASH) if printed else "", "ours": ours}
            )
        rows.append(
            {
                "name": row_name(row),
                "is_scfae": row.row.method == "scfae",
                "note": row.note,
                "whose": whose,
                "cells": cells,
            }
        )
    return _section(sheet, rows) | {"baseline": _baseline(result), "plot": _plot(result)}


def _split(text: str) -> list[tuple[str, str]]:
    """Return (figure, interval) of each metric of a cell."""
    found = []
    for one in text.split(" / "):
        number, _, interval = one.partition(" [")
        found.append((number, interval.rstrip("]").replace(", ", " to ")))
    return found


def _baseline(result: ResultTable) -> dict[str, Any] | None:
    if not result.baseline:
        return None
    texts = [baseline_text(result, column) for column in result.table.columns]
    return {"name": baseline_name(result), "texts": texts}


def _plot(result: ResultTable) -> dict[str, Any] | None:
    """Return dots of the headline column, printed and ours, with our intervals."""
    table, head = result.table, result.table.headline
    scale_of_figure = table.scale(table.headline_column.metrics[0])
    rows: list[tuple[str, list[Interval]]] = []
    values: list[float | None] = []
    for row in result.rows:
        dots = []
        printed = table.printed(row.row).get(head, "").split("/")[0].split("±")[0]
        if printed not in ("", "-"):
            dots.append(Interval("printed", float(printed) / scale_of_figure, None, None, 1))
        if row.state == "measured":
            one = row.figures[head][0]
            low, high = one.interval or (None, None)
            dots.append(Interval("ours", one.seeds.mean, low, high, 0))
        values += [one for dot in dots for one in (dot.low, dot.value, dot.high)]
        if dots:
            rows.append((row_name(row), dots))
    # Of degradation the first row is a figure and the others are differences: not on one axis.
    is_mixed = table.kind == "degradation"
    if is_mixed or not any(row.state == "measured" for row in result.rows):
        return None
    reference = result.baseline[head][0] if result.baseline else None
    scale = interval_scale([reference, *values])  # or the dashed line would stand at the edge
    return {
        "caption": f"{head} as a fraction, printed and ours with its 95 % interval; dashed: "
        f"{baseline_name(result)}",
        "rows": [
            {"name": name, "plot": interval_plot(dots, scale, reference=reference)}
            for name, dots in rows
        ],
        "axis": interval_axis(scale),
        "metric": head,
    }
