"""What a linear model tells from each part of a trained model alone.

As the probes of modalities: fitted on the training split, its strength chosen on validation, and
measured on the split that is analysed, each modality by what the task asks of it alone.
"""

from collections.abc import Sequence

import numpy as np

from scfae.store import StoreView

from ..loading import LoadedRun
from ..probes import MOST_SAMPLES, Labelled, Probe, linear_probe
from ..splits import Splits
from ..tasks import Classification, MultiLabel, Regression
from .parts import Array, Part, parts_of


def part_probes(
    loaded: LoadedRun, splits: Splits, parts: Sequence[Part], *, device: str = "cpu"
) -> dict[str, Probe]:
    """Return a probe of each part, by the part's name; {} for retrieval.

    Args:
        loaded: The run, its model in eval mode.
        splits: Training and validation.
        parts: Of the split that is analysed, by `parts_of`.
        device: Where the model is.
    """
    task = loaded.task
    if not isinstance(task, Classification | MultiLabel | Regression):
        return {}
    train, val = (
        {part.name: part for part in parts_of(loaded, view, device=device)}
        for view in (_capped(splits.train), splits.val)
    )
    probes = {}
    for part in parts:
        if part.name in train and part.name in val:
            three = (_labelled(one) for one in (train[part.name], val[part.name], part))
            probe = linear_probe(task, *three)
            if probe is not None:
                probes[part.name] = probe
    return probes


def _labelled(part: Part) -> Labelled:
    return part.vectors, part.targets


def _capped(view: StoreView) -> StoreView:
    if len(view) <= MOST_SAMPLES:
        return view
    rows: Array = np.linspace(0, len(view) - 1, MOST_SAMPLES).astype(np.int64)
    return view.with_rows(rows)
