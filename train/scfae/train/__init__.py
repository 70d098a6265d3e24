"""Stage two: from columns of a store to a trained, evaluated and reported fusion model.

Names are imported when they are first used, so that `scfae train --help` does not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .config import RunConfig, load_config

if TYPE_CHECKING:
    from .evaluated import Evaluation
    from .evaluation import evaluate
    from .examples import Examples
    from .export import export_run, load_export
    from .loading import LoadedRun, load_run
    from .loop import train
    from .paired import compare_runs
    from .prediction import predict
    from .report import write_comparison, write_report
    from .runs import Interrupted, RunFolder
    from .seeds import over_seeds
    from .sweeps.folder import named_runs
    from .sweeps.plan import SweepPlan
    from .sweeps.results import SweepResult
    from .sweeps.running import SweepInterrupted
    from .sweeps.sweep import read_sweep, resume_sweep, run_plan, sweep

_HOME = {
    "Evaluation": "evaluated",
    "Examples": "examples",
    "Interrupted": "runs",
    "LoadedRun": "loading",
    "RunFolder": "runs",
    "compare_runs": "paired",
    "evaluate": "evaluation",
    "export_run": "export",
    "load_export": "export",
    "load_run": "loading",
    "SweepInterrupted": "sweeps.running",
    "SweepPlan": "sweeps.plan",
    "SweepResult": "sweeps.results",
    "named_runs": "sweeps.folder",
    "over_seeds": "seeds",
    "predict": "prediction",
    "read_sweep": "sweeps.sweep",
    "resume_sweep": "sweeps.sweep",
    "run_plan": "sweeps.sweep",
    "sweep": "sweeps.sweep",
    "train": "loop",
    "write_comparison": "report",
    "write_report": "report",
}

__all__ = [
    "Evaluation",
    "Examples",
    "Interrupted",
    "LoadedRun",
    "RunConfig",
    "RunFolder",
    "SweepInterrupted",
    "SweepPlan",
    "SweepResult",
    "compare_runs",
    "evaluate",
    "export_run",
    "load_config",
    "load_export",
    "load_run",
    "named_runs",
    "over_seeds",
    "predict",
    "read_sweep",
    "resume_sweep",
    "run_plan",
    "sweep",
    "train",
    "write_comparison",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
