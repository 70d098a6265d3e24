"""What sweeps and jobs that print have found, as the page of a run shows it."""

import json
from dataclasses import dataclass
from typing import Any, Final

from scfae.store.errors import RunError
from scfae.train.runs import RunFolder

from ..folder import JobFolder

_MOST_BYTES: Final = 1 << 16


@dataclass(frozen=True)
class SweepRun:
    """One run of a sweep.

    Attributes:
        name: Of its folder, e.g. `lr=0.001,seed=1`.
        state: running, interrupted, failed, finished.
        epoch: Epochs done.
        epochs: Epochs asked for.
        best: Metric and value of the selected epoch; empty for none.
    """

    name: str
    state: str
    epoch: int | None
    epochs: int | None
    best: dict[str, Any]


@dataclass(frozen=True)
class SweepTable:
    """A sweep so far.

    Attributes:
        runs: Those that have begun.
        damaged: Runs whose config cannot be read, and why.
        results: As the sweep kept them when it last ended, or None.
        has_comparison: Whether the page that puts them side by side is there.
    """

    runs: tuple[SweepRun, ...]
    damaged: dict[str, str]
    results: dict[str, Any] | None
    has_comparison: bool


@dataclass(frozen=True)
class Printed:
    """What a job printed as its result.

    Attributes:
        path: Of the artifact.
        text: Its beginning.
        is_whole: Whether that is all.
    """

    path: str
    text: str
    is_whole: bool


def sweep_table(folder: JobFolder) -> SweepTable | None:
    """Return what a sweep has found so far; None before it has begun."""
    from scfae.train.sweeps.folder import SweepFolder  # torch comes with it

    if not SweepFolder.exists(folder.run_path):
        return None
    sweep = SweepFolder(folder.run_path)
    runs = []
    for path in sweep.runs():
        try:
            state = RunFolder(path).state()
        except RunError as error:
            runs.append(SweepRun(path.name, f"unreadable: {error}", None, None, {}))
            continue
        best = state.get("best") or {}
        runs.append(
            SweepRun(path.name, state["state"], state.get("epoch"), state.get("epochs"), best)
        )
    results_path = folder.run_path / "results.json"
    results = json.loads(results_path.read_text()) if results_path.is_file() else None
    has_comparison = (folder.run_path / "comparison.html").is_file()
    damaged = {path.name: why for path, why in sweep.damaged().items()}
    return SweepTable(tuple(runs), damaged, results, has_comparison)


def printed(folder: JobFolder) -> Printed | None:
    """Return what a job printed as its result; None for kinds that print none, or nothing yet."""
    name = folder.submitted().request.job.prints
    path = folder.artifacts / name if name else None
    if path is None or not path.is_file() or not path.stat().st_size:
        return None
    with open(path, "rb") as file:
        data = file.read(_MOST_BYTES)
        is_whole = not file.read(1)
    return Printed(f"artifacts/{name}", data.decode("utf-8", "replace"), is_whole)
