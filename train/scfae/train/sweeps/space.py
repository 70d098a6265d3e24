"""The settings among which a search tries: ranges and choices, as plain data.

`{"lr": {"log": [1e-4, 1e-2]}, "epochs": {"int": [5, 20]}, "fusion": ["scfae", "concat"]}`; on the
command line `lr=log:1e-4:1e-2 epochs=int:5:20 fusion=scfae,concat`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scfae.store.errors import ConfigError

KINDS = ("uniform", "log", "int", "log-int")
TRIALS = 20
ONE_FIGURE = ("task", "label", "select")
"""Settings that say which figure selects: trials of different figures cannot be ranked."""


@dataclass(frozen=True, slots=True)
class Search:
    """What a search tries, and how often.

    Attributes:
        space: By key of the config, `{kind: [low, high]}` or a list of choices; checked.
        trials: Settings to try in all.
        seed: Of what is tried.
    """

    space: Mapping[str, Any]
    trials: int
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ConfigError(f"trials must be at least 1, not {self.trials}.")
        if not self.space:
            raise ConfigError("search: name at least one setting to vary.")

    def corners(self) -> tuple[dict[str, Any], ...]:
        """Return the settings at which every range begins, and ends; choices as they come."""
        count = max(2, *(len(one) for one in self.space.values() if isinstance(one, list)), 0)
        return tuple(
            {key: _corner(one, place) for key, one in self.space.items()} for place in range(count)
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the search as plain JSON values."""
        return {"space": dict(self.space), "trials": self.trials, "seed": self.seed}


def dimension(key: str, given: Any) -> Any:
    """Return the checked form of one range or list of choices.

    Args:
        key: The setting's key without its group.
        given: `log:1e-4:1e-2`, `{"log": [1e-4, 1e-2]}` or a list of choices.

    Raises:
        ConfigError: It is none of these, or cannot be.
    """
    if key.partition(".")[0] in ONE_FIGURE:
        raise ConfigError(
            f"search: {key} says what is measured, so trials could not be ranked: make a grid of "
            "it, or several searches."
        )
    if isinstance(given, list):
        if not given:
            raise ConfigError(f"search: {key}: at least one choice is due.")
        return given
    if isinstance(given, str):
        kind, _, bounds = given.partition(":")
        pair: Any = bounds.split(":")
    elif isinstance(given, Mapping) and len(given) == 1:
        ((kind, pair),) = given.items()
    else:
        kind, pair = "", []
    if kind not in KINDS:
        raise ConfigError(
            f"search: {key} = {given!r}: {'|'.join(KINDS)}:LOW:HIGH or a list of choices is due."
        )
    try:
        low, high = (_number(word, kind) for word in pair)
    except (TypeError, ValueError):
        raise ConfigError(
            f"search: {key} = {given!r}: two numbers, LOW and HIGH, are due, whole ones for int."
        ) from None
    if not low < high:
        raise ConfigError(f"search: {key} = {given!r}: LOW must be below HIGH.")
    if kind in ("log", "log-int") and low <= 0:
        raise ConfigError(f"search: {key} = {given!r}: a logarithm needs LOW above 0.")
    return {kind: [low, high]}


def _number(word: Any, kind: str) -> float | int:
    number = float(word)
    if not math.isfinite(number) or (kind in ("int", "log-int") and number != int(number)):
        raise ValueError
    return int(number) if kind in ("int", "log-int") else number


def _corner(one: Any, place: int) -> Any:
    if isinstance(one, list):
        return one[place % len(one)]
    (bounds,) = one.values()
    return bounds[place % 2]
