"""`report.html`: one self-contained page about a run, or about several side by side.

Everything on it is read back from run folders, so it can be written again at any time. Nothing is
fetched: style and plots are inside the page.
"""

from collections.abc import Mapping, Sequence
from html import escape
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from scfae.store.atomic import write_atomic
from scfae.store.errors import RunStateError

from .analysis.section import analysis_section
from .comparison import comparison, run_names
from .curves import charts, training_sentence
from .examples import Examples, example_parts
from .figures import condition_rows, figure, plain_figures, scale_of, title
from .glossary import explain
from .kept import SCORES_FILE, read_scores
from .plots import interval_axis
from .provenance import columns_of, columns_of_all, environment_of, settings_of
from .robust_tables import calibration_sentence, robustness_tables
from .runs import RunFolder
from .tasks import load_task
from .thresholds import operating_curves, regression_plots

REPORT_FILE = "report.html"


def write_report(
    run: str | Path,
    *,
    comparisons: Sequence[str | Path] = (),
    examples: Examples | None = None,
    out: str | Path | None = None,
) -> Path:
    """Write a page about a run.

    Args:
        run: The run folder.
        comparisons: Runs to put beside it.
        examples: Which samples are shown, and how.
        out: The page to write, in a folder that exists; `report.html` of the run if not given.

    Returns:
        The page.

    Raises:
        RunNotFound, RunStateError: If a run is not there or its folder is damaged.
        ConfigError: If the folder of media is none.
    """
    folder = RunFolder(run)
    path = folder.path / REPORT_FILE if out is None else _checked(out)
    page = _page(folder, [RunFolder(other) for other in comparisons], examples or Examples())
    write_atomic(path, render("report.html.j2", page))
    return path


def write_comparison(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Write a page that puts runs side by side.

    Args:
        runs: Run folders that have been evaluated.
        out: The page to write; its folder must exist.

    Raises:
        RunNotFound, RunStateError: If a run is not there, or was not evaluated.
    """
    path = _checked(out)
    folders = [RunFolder(run) for run in runs]
    write_atomic(path, render("comparison.html.j2", _comparison_page(folders)))
    return path


def read_evaluation(run: RunFolder) -> dict[str, Any] | None:
    """Return a run's evaluation as `scfae evaluate` kept it, None if there is none yet."""
    return run.evaluation()


def _checked(out: str | Path) -> Path:
    path = Path(out)
    if not path.parent.is_dir():
        raise RunStateError(f"{path}: its folder does not exist; make it, or choose another --out.")
    return path


def render(template: str, page: dict[str, Any]) -> bytes:
    """Return a page of one of the templates, style and all."""
    environment = Environment(
        loader=PackageLoader("scfae.train"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = resources.files("scfae.train").joinpath("templates/style.css").read_text("utf-8")
    html = environment.get_template(template).render(page=page, style=Markup(style))
    return (html.strip() + "\n").encode()


def _page(run: RunFolder, others: Sequence[RunFolder], examples: Examples) -> dict[str, Any]:
    config = run.config
    state = run.state()
    task = run.read("task.json")
    splits = run.read("splits.json")
    evaluation = read_evaluation(run)
    columns = run.columns
    page: dict[str, Any] = {
        "title": run.path.name,
        "subtitle": f"{config.model.fusion} on {config.data.label}",
        "headline": _headline(run, evaluation, state),
        "warnings": [
            f"{modality} ({info.name}) comes from random weights: that input is noise."
            for modality, info in columns.items()
            if info.is_random
        ],
        "label": config.data.label,
        "notes": list(splits["notes"]),
        "conditions": None,
        "confusion": None,
        "comparison": comparison([(r, read_evaluation(r)) for r in (run, *others)])
        if others
        else None,
        "worst": None,
        "retrieval": None,
        "curves": None,
        "regression": None,
        "charts": charts(run),
        "training": training_sentence(run, state),
        "analysis": analysis_section(run.path),
        "balance": _balance(task, splits, evaluation),
        "columns": columns_of(run),
        "config": settings_of(run),
        "environment": environment_of(run),
        "footer": f"scfae {metadata.version('scfae')}. Written from {run.path.name}/, and from "
        "nothing else but the media of its samples; scfae report writes it again.",
    }
    if evaluation is not None:
        page |= _evaluation_parts(evaluation)
        # Runs that were evaluated before scores were kept have none.
        if (run.path / SCORES_FILE).is_file():
            kept, asked = read_scores(run.path), load_task(task)
            page["curves"] = operating_curves(asked, kept)
            page["regression"] = regression_plots(asked, kept)
            page |= example_parts(run, asked, kept, examples)
    return page


def _headlines(
    names: Sequence[str], evaluations: Sequence[Mapping[str, Any]], beside: Mapping[str, Any]
) -> list[tuple[str, list[str]]]:
    """Return what each run says first; of runs over several seeds what each setting does."""
    if beside["seeds"] is None:
        return [(name, list(one["headline"])) for name, one in zip(names, evaluations, strict=True)]
    headline = title(evaluations[0]["headline_metric"])
    table = next((one for one in beside["seeds"] if one["metric"] == headline), beside["seeds"][0])
    condition, baseline = table["conditions"][-1], evaluations[0]["majority_name"]
    sentences = []
    for row in table["rows"]:
        found = f"{table['metric']} {row['figures'][-1]['text']} over {row['seeds']} seeds"
        sentences.append((row["name"], [f"{condition}: {found}; {baseline}: {table['baseline']}."]))
    return sentences


def _comparison_page(runs: Sequence[RunFolder]) -> dict[str, Any]:
    names = run_names(runs)
    evaluations = [read_evaluation(run) for run in runs]
    beside = comparison(list(zip(runs, evaluations, strict=True)))
    different = [one["name"] for one in beside["differences"]]
    return {
        "title": " beside ".join(names) if len(names) < 4 else f"{len(names)} runs side by side",
        "subtitle": ", ".join(dict.fromkeys(run.config.data.label for run in runs)),
        "headlines": _headlines(names, [one for one in evaluations if one is not None], beside),
        "comparison": beside,
        "columns": columns_of_all(names, runs),
        "config": settings_of(runs[0], [*different, "run"]),
        "footer": f"scfae {metadata.version('scfae')}. Written from the folders of the runs, and "
        "from nothing else; scfae report RUN RUN writes it again.",
    }


def _evaluation_parts(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    majority, metrics = evaluation["majority"], evaluation["metrics"]
    metric = evaluation["headline_metric"]
    scale = scale_of([evaluation], metric)
    names = list(evaluation["conditions"])
    answer = majority["class"]
    always = f"always “{answer}”, the majority" if evaluation["classes"] else None
    return {
        "split": evaluation["split"],
        "is_retrieval": evaluation["task"] == "retrieval",
        "glossary": explain(metrics),
        "metric": title(metric),
        "metric_names": [title(name) for name in metrics],
        "conditions": condition_rows(evaluation, scale),
        "axis": interval_axis(scale),
        "averages": [
            {"name": name, "figures": plain_figures(means, metrics)}
            for name, means in evaluation["averages"].items()
        ],
        "unimodal": [
            {
                "name": f"{name} alone, a linear model",
                "figures": plain_figures(probe, metrics),
                "n": probe["n"],
            }
            for name, probe in evaluation["unimodal"].items()
        ],
        "robustness": robustness_tables(evaluation),
        "calibration": calibration_sentence(evaluation),
        "majority": {
            "name": always or evaluation["majority_name"],
            "short": evaluation["majority_name"],
            "figures": plain_figures(majority, metrics),
            "n": majority["n"],
        },
        "confusion": _confusion(names[-1], evaluation) if evaluation["confusion"] else None,
        "notes": list(evaluation["notes"]),
    }


def _headline(
    run: RunFolder, evaluation: Mapping[str, Any] | None, state: Mapping[str, Any]
) -> list[Markup | str]:
    if evaluation is None:
        return [f"Not evaluated yet; the run is {state['state']}. scfae evaluate fills this in."]
    conditions = evaluation["conditions"]
    full = conditions[list(conditions)[-1]]
    if full.get("accuracy") is None:
        if full["n"] == 0:
            return ["No test sample has any of the modalities: there is nothing to measure."]
        return list(evaluation["headline"])
    majority = evaluation["majority"]["accuracy"]
    first = Markup(
        f"With all modalities present, <strong>{full['accuracy']:.1%}</strong> of "
        f"{full['n']} {escape(evaluation['split'])} samples are right "
        f"{_range(full['accuracy_ci95'])}; always answering the majority class: "
        f"{majority:.1%}."
    )
    sentences: list[Markup | str] = [first, *evaluation["headline"][1:]]
    alone = [(n, c["accuracy"]) for n, c in conditions.items() if "+" not in n]
    known = [(name, accuracy) for name, accuracy in alone if accuracy is not None]
    if len(alone) > 1 and known:
        parts = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in known)
        sentences.append(f"One modality at a time: {parts}.")
    return sentences


def _range(interval: Sequence[float] | None) -> str:
    return "" if interval is None else f"(95 % interval {interval[0]:.1%} to {interval[1]:.1%})"


def _confusion(condition: str, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    classes = [str(name) for name in evaluation["classes"]]
    rows = []
    for i, (name, counts) in enumerate(
        zip(classes, evaluation["confusion"][condition], strict=True)
    ):
        total = max(1, sum(counts))
        cells = [
            {
                "kind": "none" if not count else "hit" if i == j else "miss",
                "share": round(count / total, 3),
                "count": count,
            }
            for j, count in enumerate(counts)
        ]
        rows.append({"name": name, "cells": cells})
    return {"condition": condition, "classes": classes, "rows": rows}


def _balance(
    task: Mapping[str, Any], splits: Mapping[str, Any], evaluation: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Return samples of each class in training and, once evaluated, in the test split."""
    if "classes" not in task:
        return None
    tested: list[int | None] = [None] * len(task["classes"])
    if evaluation is not None:
        everything = list(evaluation["confusion"].values())[-1]
        tested = [sum(row) for row in everything]
    rows = [
        {"name": str(name), "figures": [figure(count), figure(test)]}
        for name, count, test in zip(task["classes"], task["counts"], tested, strict=True)
    ]
    sizes = splits["sizes"]
    rows.append({"name": "all", "figures": [figure(sizes["train"]), figure(sizes["test"])]})
    return {"splits": ["train", "test"], "rows": rows, "val": sizes["val"]}
