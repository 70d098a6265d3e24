"""What a trained SCFAE scores when one of its branches, shared or specific, is set to zero.

The branch is zeroed before the output map, at test alone, with no further training; everything
else is as in `evaluate`. Figures are kept in the run folder as `branches.json`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from scfae.fusion import SCFAE
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError, RunStateError

from .evaluation import measure_conditions
from .loading import LoadedRun, load_run
from .model import fusion_of
from .runs import write_json
from .splits import make_splits

BRANCHES_FILE: Final = "branches.json"
BRANCHES: Final = ("shared", "specific")


def mask_branches(run: str | Path, *, device: str = "cpu", bootstrap: int = 1000) -> dict[str, Any]:
    """Return a run's test figures with each branch alone, under every condition; keep them.

    Args:
        run: The folder of a run of SCFAE or a relative of it.
        device: Where the model runs, e.g. `cpu` or `cuda`.
        bootstrap: Resamples behind each interval; 0 leaves intervals out.

    Returns:
        `{"shared": {condition: figures}, "specific": …}`, figures as `evaluate` keeps them.

    Raises:
        RunNotFound, CheckpointError: If there is no run, or nothing was selected yet.
        RunStateError: If its model has no such branches.
        ConfigError: If `bootstrap` is negative.
    """
    if bootstrap < 0:
        raise ConfigError(f"bootstrap must be at least 0, not {bootstrap}.")
    loaded = load_run(run, device=device)
    fusion = fusion_of(loaded.model)
    if not isinstance(fusion, SCFAE):
        name = loaded.config.model.fusion
        raise RunStateError(f"{run} is a run of {name}, which has no shared and specific branch.")
    before, found = fusion.branches, {}
    try:
        for branch in BRANCHES:
            fusion.branches = branch
            found[branch] = _measured(loaded, device, bootstrap)
    finally:
        fusion.branches = before
    of = {"epoch": loaded.epoch, "bootstrap": bootstrap}
    write_json(loaded.run.path / BRANCHES_FILE, {**of, **found})
    return found


def _measured(loaded: LoadedRun, device: str, bootstrap: int) -> Mapping[str, Any]:
    config = loaded.config
    store = FeatureStore.open(config.data.store, check=config.loop.check)
    view = make_splits(store, config.data).test
    conditions, _ = measure_conditions(loaded, view, device=device, bootstrap=bootstrap)
    return {one.name: one.as_dict() for one in conditions}
