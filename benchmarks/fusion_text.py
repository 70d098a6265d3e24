"""The fusion table as text: accuracies by method and column, and who passes the regressions.

`fusion_table.py` measures the lines that it is made of.
"""

import json
import os
import statistics
from typing import Any

from scfae.fusion import list_fusions

BASELINES = ("majority", "mean of views", "mean of views, trained without gaps")

NOTES = {
    "lmf": "its product of six factors begins near 0, see `lmf.py`; fewer views are fewer factors.",
    "mctn": "it reads the first view alone, through a chain of translations, and learns slowly: "
    "with nothing missing 22 % on seed 1, 54 at six times the learning rate.",
    "scfae+misa_drfuse": "orthogonality holds it back: without that loss 97.0 in place of 89.0 % "
    "at 30 % missing, seed 1; without any other of its losses 88.5 to 88.8.",
}
"""Why rows of multiple-features are far below the rest, by an experiment each."""

KNOWN_BARS = {"multiple-features @ 50%": 0.968, "multiple-features @ 70%": 0.93}
"""What the mean of views was known to reach before this table; its masks are not on record."""


def cells(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return mean, sd, seeds, step time and size by `method`, then by `set @ rate`."""
    table: dict[str, Any] = {}
    known = [*BASELINES, *(info.name for info in list_fusions())]
    for name in sorted({line["method"] for line in lines}, key=known.index):
        for key in dict.fromkeys((x["set"], x["rate"]) for x in lines if x["method"] == name):
            mine = [x for x in lines if x["method"] == name and (x["set"], x["rate"]) == key]
            good = [x for x in mine if "accuracy" in x]
            cell: dict[str, Any] = {"accuracies": {str(x["seed"]): x["accuracy"] for x in good}}
            if good:
                values = [x["accuracy"] for x in good]
                cell["mean"] = statistics.mean(values)
                cell["sd"] = statistics.stdev(values) if len(values) > 1 else None
                cell["parameters"] = good[0]["parameters"]
                if "step_ms" in good[0]:
                    cell["step_ms"] = statistics.median(x["step_ms"] for x in good)
                    cell["load"] = statistics.median(x["load"] for x in good)
            else:
                cell["why"] = mine[0].get("skipped") or mine[0].get("failed")
            table.setdefault(name, {})[f"{key[0]} @ {key[1]:.0%}"] = cell
    return table


def markdown(table: dict[str, Any], setting: dict[str, Any]) -> str:
    """Return a table of each set for reading, and who passes the logistic regressions."""
    columns = sorted({key for row in table.values() for key in row})
    lines = [
        "# Fusion methods on three feature sets",
        "",
        "Test accuracy in %, mean ± standard deviation over seeds, in brackets how many; the share "
        "of views missing is that in training as at test. An empty cell was not measured; "
        "`-` is a method that does not take that many views, or failed. Made by "
        "`python -m benchmarks.fusion_table`; how, its docstring says. Times are of the median "
        "training step on one thread: `python -m benchmarks.fusion_times`, one method after the "
        "other, or where that has none the median over a column's seeds. Sizes are without the "
        "standardisation.",
        "",
        "Setting:",
        "",
        *(f"- {name}: {json.dumps(value)}" for name, value in setting.items()),
        "",
    ]
    for name in dict.fromkeys(column.split(" @ ")[0] for column in columns):
        lines += _set_table(name, table, [c for c in columns if c.startswith(f"{name} @")])
    return "\n".join(lines)


def _set_table(name: str, table: dict[str, Any], columns: list[str]) -> list[str]:
    head = ["method", *(c.split(" @ ")[1] for c in columns), "ms a step", "parameters"]
    lines = [f"## {name}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    loads = []
    for method, row in table.items():
        here = [row[column] for column in columns if column in row]
        if not here:
            continue
        shown = [_shown(row.get(column)) for column in columns]
        measured = [cell for cell in here if "mean" in cell]
        timed = [cell for cell in measured if "step_ms" in cell]
        loads += [cell["load"] for cell in timed]
        time_ms = f"{timed[0]['step_ms']:.0f}" if timed else "-"
        size = f"{measured[0]['parameters']:,}" if measured else "-"
        lines.append("| " + " | ".join([method, *shown, time_ms, size]) + " |")
    lines.append("")
    load = statistics.median(loads) if loads else 0.0
    if load > 1.25 * (os.cpu_count() or 1):
        lines += [
            f"The machine was busy with other work (median load {load:.0f}): times are too long.",
            "",
        ]
    lines += [standings(table, column) for column in columns]
    if name == "multiple-features":
        lines += [f"- {method}: {note}" for method, note in NOTES.items() if method in table]
    return [*lines, ""]


def standings(table: dict[str, Any], column: str) -> str:
    """Return who passes the logistic regressions in a column, and SCFAE's place among methods.

    A method is compared with what the regressions reach on the seeds that it was measured on.
    """
    row = {name: cells[column] for name, cells in table.items() if "mean" in cells.get(column, {})}
    methods = [name for name in row if name not in BASELINES]
    text = f"- {column}: "
    for baseline in BASELINES[1:]:
        bar = row.get(baseline, {}).get("accuracies", {})
        if bar:
            above = [name for name in methods if _passes(row[name]["accuracies"], bar)]
            reached = 100 * statistics.mean(bar.values())
            text += f"above the {baseline} ({reached:.1f}): {', '.join(above) or 'none'}; "
    if column in KNOWN_BARS:
        above = [name for name in methods if row[name]["mean"] > KNOWN_BARS[column]]
        text += f"above {100 * KNOWN_BARS[column]:.1f}: {', '.join(above) or 'none'}; "
    text += f"{len(methods)} methods were measured"
    if "scfae" in row:
        better = sum(row[name]["mean"] > row["scfae"]["mean"] for name in methods)
        level = sum(row[name]["mean"] == row["scfae"]["mean"] for name in methods) - 1
        text += f", SCFAE is number {better + 1}" + (f", level with {level}" if level else "")
    return text + "."


def _passes(mine: dict[str, float], bar: dict[str, float]) -> bool:
    both = mine.keys() & bar.keys()
    return bool(both) and sum(mine[seed] - bar[seed] for seed in both) > 1e-9


def _shown(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return ""
    if "mean" not in cell:
        return "-"
    deviation = "" if cell["sd"] is None else f" ± {100 * cell['sd']:.1f}"
    return f"{100 * cell['mean']:.1f}{deviation} ({len(cell['accuracies'])})"
