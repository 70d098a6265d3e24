"""What a person should know before reading figures of several runs beside each other."""

from collections.abc import Mapping, Sequence
from typing import Any


def alike_notes(names: Sequence[str], evaluations: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return sentences on what makes evaluations differ beside the models.

    Args:
        names: What the page calls the runs.
        evaluations: Theirs, as `scfae evaluate` keeps them.
    """
    notes = [
        f"{name} reads {', '.join(one['is_random'])} through random weights: noise, a baseline."
        for name, one in zip(names, evaluations, strict=True)
        if one["is_random"]
    ]
    labels = {one["label"] for one in evaluations}
    if len(labels) > 1:
        notes.append(f"The runs answer different questions ({', '.join(sorted(labels))}).")
    if len({one["task"] for one in evaluations}) > 1:
        notes.append("The runs are of different tasks: what one has not is left empty.")
    if len({one["n"] for one in evaluations}) > 1:
        notes.append("The runs were evaluated on different numbers of samples.")
    return notes
