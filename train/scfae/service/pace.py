"""How fast a run goes, how long it has still to go, and the line of its figure, from its events."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from scfae.store.config import Frozen

from .series import decimate

SPARK_POINTS = 60


class Pace(Frozen):
    """The pace of a run that is at work, or was.

    Attributes:
        spark: The selecting figure after each epoch, 60 points at most.
        steps_per_s: Steps a second, over the epochs since it last began.
        waiting: Share of the last epoch's time that it waited for data.
        left_s: Seconds still to go, if it goes on as it did; None before the first epoch ended.
        least_s: The same, as fast as its fastest epoch.
        most_s: The same, as slow as its slowest.
    """

    spark: tuple[float | None, ...] = ()
    steps_per_s: float | None = None
    waiting: float | None = None
    left_s: float | None = None
    least_s: float | None = None
    most_s: float | None = None


def pace(
    events: Iterable[Mapping[str, Any]],
    progress: Mapping[str, Any],
    *,
    now_s: float | None = None,
) -> Pace:
    """Return the pace of a run.

    Args:
        events: Of the run, those that a resume superseded left out.
        progress: `total_steps`, and the selecting figure as `best.metric`, as far as known.
        now_s: The present; the clock's if not given.
    """
    epochs: list[Mapping[str, Any]] = []
    begun: Mapping[str, Any] | None = None
    since: list[Mapping[str, Any]] = []
    for event in events:
        if event["type"] in ("started", "resumed"):
            begun, since = event, []
        elif event["type"] == "epoch":
            epochs.append(event)
            since.append(event)
    if not epochs:
        return Pace()
    metric = (progress.get("best") or {}).get("metric", "loss")
    line = [epoch.get("val", {}).get(metric) for epoch in epochs]
    told = Pace(
        spark=tuple(line[i] for i in decimate(line, SPARK_POINTS)), waiting=_waiting(epochs)
    )
    if begun is None or not since:
        return told
    ends = [begun, *since]
    times = [
        (after["time"] - before["time"]) / (after["step"] - before["step"])
        for before, after in zip(ends, since, strict=False)
        if after["step"] > before["step"] and after["time"] > before["time"]
    ]
    if not times:
        return told
    mean = (since[-1]["time"] - begun["time"]) / (since[-1]["step"] - begun["step"])
    steps = max(0, progress.get("total_steps", 0) - since[-1]["step"])
    passed = (time.time() if now_s is None else now_s) - since[-1]["time"]
    left, least, most = (max(0.0, steps * one - passed) for one in (mean, min(times), max(times)))
    return told.model_copy(
        update={"steps_per_s": 1 / mean, "left_s": left, "least_s": least, "most_s": most}
    )


def _waiting(epochs: list[Mapping[str, Any]]) -> float | None:
    speed = epochs[-1].get("speed", {})
    seconds = speed.get("seconds")
    return speed["waiting_s"] / seconds if seconds else None
