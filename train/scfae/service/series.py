"""Curves of a run: figures of its epochs by name, with no more points than can be seen."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scfae.store.config import Frozen

GROUPS = ("train", "val", "speed")


class Curve(Frozen):
    """One figure over a run.

    Attributes:
        step: Steps done at each point.
        epoch: Epochs done.
        time_s: Seconds since 1970.
        value: The figure; None where it is undefined.
    """

    step: tuple[int, ...]
    epoch: tuple[int, ...]
    time_s: tuple[float, ...]
    value: tuple[float | None, ...]


class Curves(Frozen):
    """Figures of a run.

    Attributes:
        keys: Every figure there is.
        curves: Those that were asked for.
        resumed: Steps at which the run went on after a stop.
    """

    keys: tuple[str, ...]
    curves: dict[str, Curve]
    resumed: tuple[int, ...]


def curves(events: Iterable[Mapping[str, Any]], keys: Sequence[str], max_points: int) -> Curves:
    """Return the curves of a run.

    Args:
        events: Of the run, those that a resume superseded left out.
        keys: Which figures, e.g. `val.accuracy`; all if empty.
        max_points: Most points a curve; extremes are kept.
    """
    events = list(events)
    epochs = [(event, _figures(event)) for event in events if event["type"] == "epoch"]
    known = list(dict.fromkeys(key for _, figures in epochs for key in figures))
    found = {}
    for key in keys or known:
        points = [(event, figures[key]) for event, figures in epochs if key in figures]
        kept = decimate([value for _, value in points], max_points)
        found[key] = Curve(
            step=tuple(points[i][0]["step"] for i in kept),
            epoch=tuple(points[i][0]["epoch"] for i in kept),
            time_s=tuple(points[i][0]["time"] for i in kept),
            value=tuple(points[i][1] for i in kept),
        )
    resumed = tuple(event["step"] for event in events if event["type"] == "resumed")
    return Curves(keys=tuple(known), curves=found, resumed=resumed)


def decimate(values: Sequence[float | None], max_points: int) -> list[int]:
    """Return which values to keep, in order: the least and the greatest of equal stretches.

    First and last stay too, so that a curve begins and ends where it does.
    """
    count = len(values)
    if count <= max_points:
        return list(range(count))
    stretches = max(1, (max_points - 2) // 2)
    kept = {0, count - 1}
    for number in range(stretches):
        places = range(number * count // stretches, (number + 1) * count // stretches)
        told = [(value, i) for i in places if (value := values[i]) is not None]
        if told:
            kept |= {min(told)[1], max(told)[1]}
    return sorted(kept)


def _figures(event: Mapping[str, Any]) -> dict[str, float | None]:
    figures: dict[str, float | None] = {}
    for name, value in event.items():
        if name in GROUPS and isinstance(value, Mapping):
            figures |= {f"{name}.{key}": v for key, v in value.items() if _is_number(v)}
        elif name in ("lr", "grad_norm") and _is_number(value):
            figures[name] = value
    return figures


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
