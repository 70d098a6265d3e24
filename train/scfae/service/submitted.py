"""What the config of a submitted run may say: no place outside the roots, no tracker not allowed.

A config from the command line is its writer's own affair; one that came over HTTP runs with the
rights of the worker.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scfae.store.errors import ConfigError
from scfae.store.masking import named_modalities
from scfae.train.config import RunConfig, load_config
from scfae.train.sweeps.plan import SweepPlan, grid_of

from .roots import Roots

MOST_CELLS = 2000
"""Settings that the grid of one sweep may make."""
_TABLE = "table:"
_NO_PLACE = re.compile(r"(timm:)?[A-Za-z0-9._-]+(@random:\d+)?(:[a-z_]+=[^:@/]*)?")
"""An encoder whose string names no file."""


def checked_config(config: Mapping[str, Any], roots: Roots) -> dict[str, Any]:
    """Return the whole config of a run, in its groups, without `run`, every path absolute.

    Args:
        config: As it came, flat or in groups.
        roots: What it may name.

    Raises:
        ConfigError: A setting cannot be used; names it.
    """
    loop = config.get("loop")
    if "run" in config or (isinstance(loop, Mapping) and "run" in loop):
        raise ConfigError("run: the service chooses the folder of a run; leave it out.")
    whole = _confined(load_config(None, {**config, "run": "run"}), roots).model_dump(mode="json")
    del whole["loop"]["run"]
    return whole


def checked_grid(
    config: Mapping[str, Any], grid: Mapping[str, Sequence[Any]], roots: Roots
) -> dict[str, tuple[Any, ...]]:
    """Return the grid of a sweep, each of its settings checked as a run's config.

    Args:
        config: What all runs share, by `checked_config`.
        grid: Values of settings.
        roots: What they may name.

    Raises:
        ConfigError: A setting cannot be used, names a place, or there are too many.
    """
    count = 1
    for values in grid.values():
        count *= len(values)
    if count > MOST_CELLS:
        raise ConfigError(f"grid: {count} settings; a sweep may have {MOST_CELLS}.")
    shared = {name: dict(group) for name, group in config.items()}
    plan = SweepPlan(shared, grid_of(grid))
    for cell in plan.cells(Path("sweep")):
        if cell.config.data.store != shared["data"]["store"]:
            raise ConfigError("grid: store cannot vary within a sweep.")
        if _confined(cell.config, roots) != cell.config:
            raise ConfigError("grid: masking: name the file of a table by its absolute path.")
    return {name: tuple(values) for name, values in grid.items()}


def _confined(config: RunConfig, roots: Roots) -> RunConfig:
    """Return a config with absolute paths.

    Raises:
        ConfigError: A path lies outside of every root, or a tracker is not allowed.
    """
    for tracker in config.loop.trackers:
        if tracker not in roots.trackers:
            raise ConfigError(
                f"trackers: {tracker} is not allowed by this service, which would send figures "
                "there in its own name; it is by --allow-trackers."
            )
    for modality, one in config.model.encoders.items():
        if not _NO_PLACE.fullmatch(one.encoder):
            raise ConfigError(
                f"encoders.{modality} = {one.encoder}: a submitted run takes published weights or "
                "random:SEED, and no model of a folder."
            )
    masking = config.loop.masking
    if named_modalities(masking) is None:
        kind, _, place = masking.strip().partition(":")
        if kind != "table":
            raise ConfigError("masking: a table within a schedule cannot be submitted.")
        masking = _TABLE + roots.store(place.strip())
    data = config.data.model_copy(update={"store": roots.store(config.data.store)})
    return config.with_loop(masking=masking).model_copy(update={"data": data})
