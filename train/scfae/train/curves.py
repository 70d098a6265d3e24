"""How a run learned: charts of its events."""

from collections.abc import Mapping, Sequence
from typing import Any

from .figures import title
from .plots import Series, line_chart
from .runs import RunFolder

VALIDATION = ("accuracy", "balanced_accuracy", "macro_f1")
"""Of a classification; other tasks show the first figures that they have."""
MOST_LINES = 4


def charts(run: RunFolder) -> list[dict[str, Any]]:
    """Return the charts of a run by epoch; none before its first epoch ended."""
    events, epochs = run.events(), epochs_of(run)
    if not epochs:
        return []
    steps = epochs[0]["step"] / epochs[0]["epoch"]
    marks = [event["step"] / steps for event in events if event["type"] == "resumed"]
    x = [event["epoch"] for event in epochs]
    parts = [name for name in epochs[0]["train"] if name != "loss"]
    return [
        _chart(
            "loss, weighted sum",
            _pick(epochs, x, {"train": ("train", "loss"), "validation": ("val", "loss")}),
            marks,
        ),
        _chart(
            "validation metrics, nothing masked",
            _pick(
                epochs, x, {title(name): ("val", name) for name in _validation(epochs[0]["val"])}
            ),
            marks,
        ),
        _chart(
            "parts of the training loss, each times its weight",
            _pick(epochs, x, {p: ("train", p) for p in parts}),
            marks,
        ),
        _chart(
            "norm of the gradient, mean of the epoch's steps",
            [Series("gradient", x, [e["grad_norm"] for e in epochs])],
            marks,
        ),
        _chart("learning rate", [Series("learning rate", x, [e["lr"] for e in epochs])], marks),
    ]


def epochs_of(run: RunFolder) -> list[dict[str, Any]]:
    """Return the events of the epochs that ended."""
    return [event for event in run.events() if event["type"] == "epoch"]


def training_sentence(run: RunFolder, state: Mapping[str, Any]) -> str:
    """Return one sentence on how far the run is and which epoch was selected."""
    times = state.get("attempt", 1) - 1
    often = "once" if times == 1 else f"{times} times"
    resumed = f"; resumed {often} (dashed lines)" if times > 0 else ""
    return run.summary().removeprefix(f"{run.path}: ") + resumed


def _validation(figures: Mapping[str, Any]) -> list[str]:
    names = [name for name in figures if name != "loss"]
    if set(VALIDATION) <= set(names):
        return list(VALIDATION)
    return names[:MOST_LINES]


def _pick(
    epochs: Sequence[Mapping[str, Any]],
    x: Sequence[float],
    wanted: Mapping[str, tuple[str, str]],
) -> list[Series]:
    return [
        Series(name, x, [epoch[group].get(key) for epoch in epochs])
        for name, (group, key) in wanted.items()
    ]


def _chart(caption: str, series: Sequence[Series], marks: Sequence[float]) -> dict[str, Any]:
    return {
        "caption": caption,
        "keys": [one.name for one in series],
        "plot": line_chart(series, caption, x_label="epoch", marks=marks),
    }
