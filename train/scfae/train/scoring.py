"""What a model says of a split, under one set of present modalities after another.

Every row is read once for all settings. What a setting hides is hidden before the model sees it; a
sample that has nothing left is not scored.

Shapes: B samples of a batch, N of the split, M modalities, W numbers that a task scores by.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from scfae.store import Batch, FeatureStream, StoreView

from .model import apply_model
from .tasks import Encode, Scored, Task

Change = Callable[[Batch], Batch]


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to show a split to a model.

    Attributes:
        key: What its scores are kept under.
        shown: Modalities that are shown, where a sample has them.
        change: What becomes of a batch before it is shown, such as noise; None: nothing.
    """

    key: Any
    shown: tuple[str, ...]
    change: Change | None = None


def show(modalities: Sequence[tuple[str, ...]]) -> list[Setting]:
    """Return the settings of plain sets of modalities, each its own key."""
    return [Setting(shown, shown) for shown in modalities]


@torch.no_grad()
def score_batch(
    model: nn.Module,
    task: Task,
    encode: Encode,
    batch: Batch,
    setting: Setting,
    *,
    autocast: AbstractContextManager[Any] | None = None,
) -> Scored:
    """Return what a model says of a batch, in the order of the batch."""
    changed = batch if setting.change is None else setting.change(batch)
    wanted = [m in setting.shown for m in batch.modalities]
    mask = changed.present & torch.tensor(wanted, device=changed.present.device)
    seen = mask.any(dim=1)
    targets = encode(changed, mask).cpu().numpy()
    if not seen.any():
        return Scored(targets, np.zeros((len(targets), 0)), seen.cpu().numpy())
    with autocast or nullcontext():
        output = apply_model(
            model,
            {m: x[seen] for m, x in changed.features.items()},
            mask[seen],
            {m: x[seen] for m, x in changed.lengths.items()},
            groups=None if changed.groups is None else changed.groups[seen],
        )
    found = task.scores(output, setting.shown).double().cpu().numpy()
    scores = np.full((len(targets), found.shape[1]), np.nan)
    scores[seen.cpu().numpy()] = found
    return Scored(targets, scores, seen.cpu().numpy())


@dataclass(slots=True)
class Collected:
    """Scores of a split by setting, batch by batch."""

    parts: dict[Any, list[Scored]] = field(default_factory=dict)
    ids: list[str] = field(default_factory=list)

    def add(self, ids: Sequence[str], scored: dict[Any, Scored]) -> None:
        """Add a batch's scores."""
        self.ids += ids
        for key, one in scored.items():
            self.parts.setdefault(key, []).append(one)

    def whole(self, order: Sequence[str] | None = None) -> dict[Any, Scored]:
        """Return the scores of all batches, in the order of these ids if given."""
        places: Any = slice(None)
        if order is not None:
            wanted = {name: i for i, name in enumerate(order)}
            places = np.argsort([wanted[name] for name in self.ids])
        return {key: _joined(parts, places) for key, parts in self.parts.items()}


def score_view(
    model: nn.Module,
    task: Task,
    view: StoreView,
    settings: Sequence[Setting],
    *,
    batch_size: int,
    device: str,
    group_batches: bool = False,
) -> dict[Any, Scored]:
    """Return what a model says of a split under every setting, in the order of the view.

    Args:
        model: In eval mode.
        task: What is asked.
        view: The split.
        settings: Each with a key of its own.
        batch_size: Samples (or groups) at a time.
        device: Where the model is.
        group_batches: Batches of whole groups.
    """
    stream = FeatureStream(view, batch_size=batch_size, shuffle=False, group_batches=group_batches)
    encode = task.encoder(view)
    collected = Collected()
    for cpu_batch in stream:
        batch = cpu_batch.to(device)
        scored = {one.key: score_batch(model, task, encode, batch, one) for one in settings}
        collected.add(batch.ids, scored)
    # Whole dialogues come in an order of their own; what is kept follows the view's.
    return collected.whole(view.ids.tolist())


def _joined(parts: Sequence[Scored], places: Any) -> Scored:
    width = max(part.scores.shape[1] for part in parts)
    scores = [
        part.scores
        if part.scores.shape[1] == width
        else np.full((len(part.targets), width), np.nan)
        for part in parts
    ]
    return Scored(
        np.concatenate([part.targets for part in parts])[places],
        np.concatenate(scores)[places],
        np.concatenate([part.seen for part in parts])[places],
    )
