"""Trackers: where an epoch's figures go beside events.jsonl, by `loop.trackers`.

`tensorboard` writes to the run folder in this thread (`board`). `mlflow` and `wandb` speak to
databases and servers, each in a thread of its own (`background`), so that a slow, absent or broken
one never stops or changes a run: it is a warning, once.
"""

import re
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from scfae.store.errors import ConfigError

if TYPE_CHECKING:
    from ..runs import RunFolder
    from .background import Background

REMOTE = ("mlflow", "wandb")


class Tracker(Protocol):
    """A run as another program shows it; any method may fail."""

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Show the figures of an epoch, by names such as `val/loss`; not twice the same step."""

    def end(self, state: str) -> None:
        """Show that the run is finished, failed or interrupted; a resume takes it up again."""


def check_trackers(names: tuple[str, ...]) -> None:
    """Check that what a config asks for is installed.

    Raises:
        ConfigError: It is not; names the extra.
    """
    for name in names:
        if name in REMOTE and find_spec(name) is None:
            raise ConfigError(f"trackers: {name} needs the extra: pip install 'scfae[{name}]'.")


def begin_trackers(names: tuple[str, ...], run: "RunFolder") -> list["Background"]:
    """Return the trackers of a run that work in the background."""
    from .background import Background
    from .identity import identity

    asked = [name for name in names if name in REMOTE]
    if asked:
        identity(run)  # made here: two threads would make two

    def begin(name: str) -> Tracker:
        if name == "mlflow":
            from .to_mlflow import MlflowTracker

            return MlflowTracker(run)
        from .to_wandb import WandbTracker

        return WandbTracker(run)

    return [Background(name, partial(begin, name)) for name in asked]


def flat_figures(figures: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return every number of nested figures, named by its path such as `val/loss`."""
    flat: dict[str, float] = {}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            flat |= flat_figures(value, f"{prefix}{name}/")
        elif isinstance(value, float):
            flat[f"{prefix}{name}"] = value
    return flat


def plain_name(name: str) -> str:
    """Return a figure's name in the letters that every tracker takes: `map@10` is `map_at_10`."""
    return re.sub(r"[^\w./-]", "_", name.replace("@", "_at_"))
