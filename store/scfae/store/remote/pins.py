"""Pins of runs that read a store behind a URL.

`pins/<digest of the run's path>.json` is an object that the run puts when it starts and again every
hour; `pins.json` names the pins, so that whoever wants to replace, rename or drop a column finds
them without a listing. The run's folder cannot be looked at from elsewhere, so a pin expires: one
that was not renewed for a day, by the server's clock, holds no more, unless the run is of this
machine and its folder is here. `gc` removes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..document import seal
from ..errors import StoreForbidden
from ..pins import PINS_FOLDER, Pin, read_pin
from .names import Names
from .objects import Objects, now_s

PINS_FILE: Final = "pins.json"
EXPIRY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class RemotePin:
    """A pin and how long ago it was renewed.

    Attributes:
        key: Its object.
        pin: What the run reads.
        age_s: Since it was put last, by the server's clock.
    """

    key: str
    pin: Pin
    age_s: float

    @property
    def is_expired(self) -> bool:
        """Nobody renewed it in time, and as seen from here the run may be gone."""
        return self.age_s > EXPIRY_S and (not self.pin.is_from_here or self.pin.is_stale)


def pin_url(objects: Objects, run: Path, columns: Mapping[str, str]) -> bool:
    """Pin what a run reads, or renew its pin.

    Args:
        objects: The store's objects.
        run: The run's folder.
        columns: The fingerprint of each column, by name.

    Returns:
        False where these credentials may not write.
    """
    pin = Pin.of(run, columns)
    try:
        objects.put(_key(pin.name), seal(pin.model_dump()))
        Names(objects, PINS_FILE).change(lambda names: [*names, pin.name])
    except StoreForbidden:
        return False
    return True


def pin_keys(objects: Objects) -> list[str]:
    """Return the objects of all pins."""
    return [_key(name) for name in Names(objects, PINS_FILE).read()]


def read_pins(objects: Objects) -> list[RemotePin]:
    """Return all pins, expired ones too.

    Raises:
        CorruptShard: If one is damaged: what it pins is not known.
    """
    keys = pin_keys(objects)
    if not keys:
        return []
    now, found = now_s(objects), []
    for key in keys:
        try:
            data, written_s = objects.get(key), objects.head(key).written_s
        except FileNotFoundError:
            continue  # `gc` has just removed it
        pin = read_pin(Path(f"{objects.url}/{key}"), data)
        found.append(RemotePin(key, pin, now - written_s))
    return found


def refuse_pinned(objects: Objects, column: str, fingerprint: str | None = None) -> None:
    """Raise if a run reads a column; see `pins.refuse_pinned`.

    Raises:
        ColumnPinned: Names the run.
        CorruptShard: If a pin is damaged.
    """
    for one in read_pins(objects):
        if not one.is_expired and one.pin.holds(column, fingerprint):
            raise one.pin.refusal(column, f"{objects.url}/{one.key}")


def remove_pin(objects: Objects, pin: RemotePin) -> None:
    """Remove a pin and its name."""
    name = pin.pin.name
    Names(objects, PINS_FILE).change(lambda names: [one for one in names if one != name])
    objects.delete(pin.key)


def _key(name: str) -> str:
    return f"{PINS_FOLDER}/{name}.json"
