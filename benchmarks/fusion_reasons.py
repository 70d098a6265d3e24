"""Why a method passes concat on its own task, or does not, each reason as an experiment.

`CHANGES` has for each method of a family one change of it. Where the method passes concat, the
change takes away what is said to be the reason, and the figure has to fall; where it does not, the
change gives what is said to be missing, and the figure has to rise: by two standard errors both.
Where it does neither, the reason is wrong, and the table says that it was not shown.

A change that explains a figure is no victory over concat. With the same changes concat itself, over
the same three seeds, is at 100.0 on `missing` with half of the views hidden in training, at 61.2 on
`shared` in four times as many epochs, at 64.3 on `crossing` with numbered moments in as many, and
at 65.6 with both streams beside each other.

On `shared` concat has 256 hidden units: of 32, as wide as misa's small edition, it is at 44.7, of
16, as wide as dlf's, at 35.2. Of SCFAE the SwiGLUs are most of the reason: with them `scfae` stays
at 38.4 at expansion 8 in four times as many epochs; without them, and nothing else changed, it is
at 50.6, without the input one alone at 49.5, without the output one at 41.6. Labels do not make up
for them: of 512 for 64 `scfae` is at 61.7, without SwiGLUs at 81.4, concat at 85.6.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from benchmarks.fusion_tasks import MISMATCH, RETRIEVAL, Task
from torch import nn


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
        rebuild: Of the method, once built.
        by_distance: A forged sample is scored by how far its views are apart as they enter, where
            the method's own loss draws them together, and not by the head.
    """

    reason: str
    words: str
    options: Mapping[str, Any] = field(default_factory=dict)
    own_losses: bool = True
    hidden: float = 0.0
    epochs: int = 1
    data: Callable[[Task], Task] | None = None
    rebuild: Callable[[Any], None] | None = None
    by_distance: bool = False


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


def joined_twice(task: Task) -> Task:
    """Return the same samples, that one view in the place of each."""
    one = joined(task)
    (both,), (lengths,) = one.features.values(), one.lengths.values()
    names = tuple(task.features)
    return replace(one, features=dict.fromkeys(names, both), lengths=dict.fromkeys(names, lengths))


def beside(task: Task) -> Task:
    """Return the same samples, both streams beside each other in each view."""
    both = torch.cat(list(task.features.values()), dim=2)
    return replace(task, features=dict.fromkeys(task.features, both))


def numbered(task: Task) -> Task:
    """Return the same samples, the number of each moment beside it in both streams."""
    features = {}
    for m, x in task.features.items():
        code = 2.0 * torch.eye(x.shape[1]).expand(len(x), -1, -1)
        features[m] = torch.cat([x, code], dim=2)
    return replace(task, features=features)


def without_swiglus(model: Any) -> None:
    """Put the identity in the place of every SwiGLU of an SCFAE."""
    for block in (model, *model.deeper):
        for name in ("pre", "post"):
            setattr(block, name, nn.ModuleDict({m: nn.Identity() for m in model.modalities}))


_HIDES = "it hides views itself in training and learns to do without them"
_NEVER = "it has met complete samples alone in training"
_MOMENTS = "it sees the moments of both streams, of which concat sees the means"
_MATCH = "which moments go together it would have to learn from a faint code of time, or from none"
_OWN = "its own losses make both views' embeddings comparable"

_APART = Change(
    "each view has an encoder of its own before they meet", "both are one view", data=joined
)
_NOT_HIDDEN = Change(_HIDES, "nothing is hidden", {"hidden_share": 0.0})
_HIDDEN = Change(_NEVER, "training steps hide half of the views", hidden=0.5)
_MEANS = Change(_MOMENTS, "streams are their means", data=means)
_TASK_ALONE = "trained on the task's loss alone"
_NARROW = (
    "its small edition is too narrow to find the faint sums of 16 features that tell the class"
)
_NUMBERED = Change(
    _MATCH,
    "each moment has its number in both streams, four times as many epochs",
    data=numbered,
    epochs=4,
)
_DRAWN = Change(
    "its own losses draw a sample's two shared vectors together", _TASK_ALONE, own_losses=False
)
_SUMS = Change(
    "its SwiGLUs make products, where sums tell the class; narrow, it finds these slowly",
    "without SwiGLUs, expansion 8, four times as many epochs",
    {"batched": "never", "expansion": 8},
    epochs=4,
    rebuild=without_swiglus,
)
CHANGES: Mapping[str, Mapping[str, Change]] = {
    "missing": {
        "mctn": Change(
            "it reads nothing but its source, the view that is never missing",
            "the source is the other view",
            {"source": "b"},
        ),
        "mmin": Change(
            "half of the epochs train its teacher, and a dropout of one half slows the others",
            "four times as many epochs",
            epochs=4,
        ),
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
        "misa": Change(_APART.reason, _APART.words, data=joined_twice),
        "drfuse": _DRAWN,
    },
    "dialogue": {
        "gcnet": Change("it hears the samples around", "each sample is a dialogue", data=alone)
    },
    "crossing": {
        "mult": _MEANS,
        "layer_coupled": _MEANS,
        "state_coupled": _MEANS,
        "bottleneck": _NUMBERED,
        "cross_attention": _NUMBERED,
        "perceiver": _NUMBERED,
        "meter": _NUMBERED,
        "mamba_ltc_align": Change(
            "its streams meet only in their last states",
            "each stream has the other beside it",
            data=beside,
        ),
    },
    MISMATCH: {
        name: Change(_OWN, _TASK_ALONE, own_losses=False) for name in ("mds", "vfd", "emo_foren")
    }
    | {
        name: Change(
            "its loss makes the distance of the views tell, which its head does not read",
            "scored by that distance",
            by_distance=True,
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
            "mamba_ltc_align",
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
    "shared": dict.fromkeys(
        ("scfae", "scfae+misa_drfuse", "scfae+club", "scfae_stacked", "scfae_light"), _SUMS
    )
    | {
        "misa": Change(_NARROW, "128 features, as by default, not 32", {"width": 128}),
        "drfuse": _DRAWN,
        "dlf": Change(
            _NARROW, "50 features, as by default, not 16", {"width": 50, "num_heads": 10}
        ),
    },
    "product": {
        "lmf": Change("it multiplies what it makes of each view", "all are one view", data=joined)
    },
}
