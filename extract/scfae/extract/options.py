"""Options of an encoder: known, of the right type, in range, with a default."""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scfae.store.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Option:
    """One option.

    Attributes:
        default: Its value if not given; None may mean "as the media have it".
        kind: int, float or str.
        least: The smallest value of a number.
        choices: The values of a string.
        words: Strings that may stand for a number, e.g. `all`.
    """

    default: Any
    kind: type[int] | type[float] | type[str]
    least: float | None = None
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    def check(self, encoder: str, name: str, value: Any) -> Any:
        """Return the value in its type.

        Raises:
            ConfigError: If it is not of the type or out of range.
        """
        is_number = (
            isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        )
        if self.kind is str:
            if value not in self.choices:
                raise ConfigError(
                    f"{encoder}: option {name} must be one of {', '.join(self.choices)}, "
                    f"not {value!r}."
                )
            return value
        if value in self.words:
            return value
        if not is_number or (self.kind is int and value != int(value)):
            kinds = " or ".join(("a number", *self.words))
            raise ConfigError(f"{encoder}: option {name} must be {kinds}, not {value!r}.")
        if self.least is not None and value < self.least:
            raise ConfigError(
                f"{encoder}: option {name} must be at least {self.least:g}, not {value}."
            )
        return self.kind(value)


def check_options(
    encoder: str, given: Mapping[str, Any], known: Mapping[str, Option]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return (every option with its value in force, those that were given).

    Raises:
        ConfigError: If an option is unknown or out of range; the message names it.
    """
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            options = ", ".join(known) or "none"
            raise ConfigError(f"{encoder}: unknown option '{name}'.{hint} Its options: {options}.")
    checked = {name: known[name].check(encoder, name, value) for name, value in given.items()}
    return {name: checked.get(name, option.default) for name, option in known.items()}, checked
