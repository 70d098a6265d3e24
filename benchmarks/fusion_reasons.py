"""Why a method passes concat on its own task, or does not, each reason as an experiment.

`CHANGES` has for each method of a family one change of it. Where the method passes concat, the
change takes away what is said to be the reason, and the figure has to fall; where it does not, the
change gives what is said to be missing, and the figure has to rise: by two standard errors both.
Where it does neither, the reason is wrong, and the table says that it was not shown.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from benchmarks.fusion_tasks import MISMATCH, RETRIEVAL, Task


@dataclass(frozen=True, slots=True)
class Change:
    """One change of how a method is built or trained, and what it shows.

    Attributes:
        reason: Why the method passes, or does not; the change tests it.
        words: What is changed.
        options: Of the method.
        own_losses: Whether it is trained on its own losses too.
        hidden: Share of the views that a training step hides.
        epochs: Times as many.
        data: Of another set, made of this one.
    """

    reason: str
    words: str
    options: Mapping[str, Any] = field(default_factory=dict)
    own_losses: bool = True
    hidden: float = 0.0
    epochs: int = 1
    data: Callable[[Task], Task] | None = None


def means(task: Task) -> Task:
    """Return the same samples, each view as the mean over its steps."""
    features = {m: x.mean(dim=1, keepdim=True) for m, x in task.features.items()}
    lengths = {m: torch.ones_like(n) for m, n in task.lengths.items()}
    return replace(task, features=features, lengths=lengths)


def joined(task: Task) -> Task:
    """Return the same samples, both views side by side as one; what is absent is zeros in it."""
    present = task.present(0.0, 0)
    both = torch.cat(
        [x * present[:, i, None, None] for i, x in enumerate(task.features.values())], dim=2
    )
    lengths = {"ab": next(iter(task.lengths.values()))}
    return replace(task, features={"ab": both}, lengths=lengths, mask=None)


def alone(task: Task) -> Task:
    """Return the same samples, each a dialogue of its own."""
    return replace(task, groups=None)


_HIDES = "it hides views itself in training and learns to do without them"
_NEVER = "it has met complete samples alone in training"
_MOMENTS = "it sees the moments of both streams, of which concat sees the means"
_SLOW = "it may learn to match moments, but more slowly than it is trained here"
_OWN = "its own losses make both views' embeddings comparable"

_APART = Change(
    "each view has an encoder of its own before they meet", "both are one view", data=joined
)
_NOT_HIDDEN = Change(_HIDES, "nothing is hidden", {"hidden_share": 0.0})
_HIDDEN = Change(_NEVER, "training steps hide half of the views", hidden=0.5)
_MEANS = Change(_MOMENTS, "streams are their means", data=means)
_LONG = "four times as many epochs"
_LONGER = Change(_SLOW, _LONG, epochs=4)
_TASK_ALONE = "trained on the task's loss alone"

CHANGES: Mapping[str, Mapping[str, Change]] = {
    "missing": {
        "mctn": Change(
            "it reads nothing but its source, the view that is never missing",
            "the source is the other view",
            {"source": "b"},
        ),
        "mmin": _NOT_HIDDEN,
        "gcnet": _NOT_HIDDEN,
        "imder": _NOT_HIDDEN,
        "dicmor": _NOT_HIDDEN,
        "momke": _HIDDEN,
        "mculora": Change(
            "each sample draws a combination of its views in training",
            "nothing is drawn",
            {"draw_combinations": False},
        ),
        "uavm": _APART,
        "macb_df": _HIDDEN,
        "euar": _APART,
        "late_fusion": _APART,
    },
    "dialogue": {
        "gcnet": Change("it hears the samples around", "each sample is a dialogue", data=alone)
    },
    "crossing": {
        "mult": _MEANS,
        "layer_coupled": _MEANS,
        "state_coupled": _MEANS,
        "bottleneck": _LONGER,
        "cross_attention": _LONGER,
        "perceiver": _LONGER,
        "meter": _LONGER,
        "mamba_ltc_align": _LONGER,
    },
    MISMATCH: {
        name: Change(_OWN, _TASK_ALONE, own_losses=False) for name in ("mds", "vfd", "emo_foren")
    }
    | {
        name: Change(
            "it may learn to compare the views, but more slowly than it is trained here",
            _LONG,
            epochs=4,
        )
        for name in ("avoid_df", "align_maskrecon")
    },
    RETRIEVAL: {
        name: Change(_OWN, _TASK_ALONE, own_losses=False)
        for name in (
            "cmmp",
            "apivr",
            "map_ivr",
            "xmodal_distill",
            "dual_interaction",
            "scfae+infonce",
        )
    }
    | {
        "aadml": Change(
            "a proxy is a mean of embeddings, so that a triplet compares two embeddings",
            "a learned map comes between",
            {"values": "learned"},
        )
    },
    "shared": {
        name: Change("it learns more slowly than it is trained here", _LONG, epochs=4)
        for name in (
            "scfae",
            "scfae+misa_drfuse",
            "scfae+club",
            "scfae_stacked",
            "scfae_light",
            "misa",
            "drfuse",
            "dlf",
        )
    },
    "product": {
        "lmf": Change("its products learn more slowly than it is trained here", _LONG, epochs=4)
    },
}
