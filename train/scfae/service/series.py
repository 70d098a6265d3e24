"""Curves of a run: figures of its epochs by name, with no more points than can be seen."""

import csv
import io
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
        smooth: Its running mean, if that was asked for.
    """

    step: tuple[int, ...]
    epoch: tuple[int, ...]
    time_s: tuple[float, ...]
    value: tuple[float | None, ...]
    smooth: tuple[float | None, ...] = ()


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


def curves(
    events: Iterable[Mapping[str, Any]],
    keys: Sequence[str],
    max_points: int,
    *,
    smoothing: float = 0.0,
) -> Curves:
    """Return the curves of a run.

    Args:
        events: Of the run, those that a resume superseded left out.
        keys: Which figures, e.g. `val.accuracy`; all if empty.
        max_points: Most points a curve; extremes are kept.
        smoothing: Weight of what was before in the running mean, 0 for none; the mean is taken over
            every point, before any is left out.
    """
    events = list(events)
    epochs = [(event, _figures(event)) for event in events if event["type"] == "epoch"]
    known = list(dict.fromkeys(key for _, figures in epochs for key in figures))
    found = {}
    for key in keys or known:
        points = [(event, figures[key]) for event, figures in epochs if key in figures]
        values = [value for _, value in points]
        kept = decimate(values, max_points)
        mean = smoothed(values, smoothing) if smoothing else []
        found[key] = Curve(
            step=tuple(points[i][0]["step"] for i in kept),
            epoch=tuple(points[i][0]["epoch"] for i in kept),
            time_s=tuple(points[i][0]["time"] for i in kept),
            value=tuple(values[i] for i in kept),
            smooth=tuple(mean[i] for i in kept) if smoothing else (),
        )
    resumed = tuple(event["step"] for event in events if event["type"] == "resumed")
    return Curves(keys=tuple(known), curves=found, resumed=resumed)


def as_csv(whole: Curves) -> str:
    """Return curves as a table, a line for each step at which an epoch ended."""
    steps: dict[int, dict[str, Any]] = {}
    for key, curve in whole.curves.items():
        points = zip(curve.step, curve.epoch, curve.time_s, curve.value, strict=True)
        for step, epoch, time_s, value in points:
            row = steps.setdefault(step, {"step": step, "epoch": epoch, "time_s": time_s})
            row[key] = "" if value is None else value
    text = io.StringIO()
    writer = csv.DictWriter(text, ["step", "epoch", "time_s", *whole.curves], restval="")
    writer.writeheader()
    writer.writerows(steps[step] for step in sorted(steps))
    return text.getvalue()


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


def smoothed(values: Sequence[float | None], weight: float) -> list[float | None]:
    """Return the running mean of a curve, without the pull of its beginning towards 0.

    Args:
        values: The curve; where it is undefined its mean is too.
        weight: Of what was before, in [0, 1).
    """
    mean, total = 0.0, 0.0
    found: list[float | None] = []
    for value in values:
        if value is None:
            found.append(None)
            continue
        mean = weight * mean + (1 - weight) * value
        total = weight * total + (1 - weight)
        found.append(mean / total)
    return found


def _figures(event: Mapping[str, Any]) -> dict[str, float | None]:
    figures: dict[str, float | None] = {}
    for name, value in event.items():
        if name in GROUPS and isinstance(value, Mapping):
            figures |= {f"{name}.{key}": v for key, v in value.items() if _is_number(v)}
            if name == "speed" and value.get("seconds"):
                figures["speed.waiting"] = value["waiting_s"] / value["seconds"]
                figures["speed.steps_per_s"] = value["steps"] / value["seconds"]
        elif name in ("lr", "grad_norm") and _is_number(value):
            figures[name] = value
    return figures


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
