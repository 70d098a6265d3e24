"""What the study asks, of which methods, and how much work that may take.

A question has generated sets: the first, drawn with seed 0, is for tuning; every further draw is
new samples under new maps, so that what differs between draws is all that chance can change.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from .generated import Views, conflict, evidence, shared

Role = Literal["scfae", "other", "variant"]
SCFAE = "scfae"


@dataclass(frozen=True, slots=True)
class Entrant:
    """A method as it enters the study.

    Attributes:
        name: As it is called there.
        fusion: Of `list_fusions()`.
        options: Of the method: sizes that suit a thousand samples.
        role: `variant`: SCFAE stacked or lighter, which is compared with SCFAE alone.
    """

    name: str
    fusion: str
    options: Mapping[str, Any] = field(default_factory=dict)
    role: Role = "other"

    def settings(self) -> dict[str, Any]:
        """Return the settings of its runs."""
        return {"fusion": self.fusion, "options": dict(self.options)}


@dataclass(frozen=True, slots=True)
class Condition:
    """Where a figure is read.

    Attributes:
        name: As shown.
        rates: Of the mean over these shares of samples that each view lacks at test.
        where: Only test samples with these marks.
    """

    name: str
    rates: tuple[float, ...] = ()
    where: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """One question and the sets that answer it.

    Attributes:
        name: Of its folder.
        title: In a few words.
        asks: The question.
        setup: What the samples are.
        make: (seed, samples, widths) to samples.
        conditions: Where figures are read; the first is the one that answers.
        widths: Of the views, by form.
        counts: Samples of splits of which there are not the form's number.
        missing: By split, the share of samples that each view lacks in the store.
        variants: Forms in which SCFAE stacked and lighter are asked too.
    """

    name: str
    title: str
    asks: str
    setup: str
    make: Callable[[int, int, tuple[int, ...]], Views]
    conditions: tuple[Condition, ...]
    widths: Mapping[str, tuple[int, ...]]
    counts: Mapping[str, int] = field(default_factory=dict)
    missing: Mapping[str, float] = field(default_factory=dict)
    variants: tuple[str, ...] = ()

    @property
    def rates(self) -> tuple[float, ...]:
        """Every rate that a condition needs, once, in order."""
        return tuple(sorted({rate for one in self.conditions for rate in one.rates}))


@dataclass(frozen=True, slots=True)
class Form:
    """How much work the study is.

    Attributes:
        name: `quick` or `full`.
        num_trials: Settings that each method tries; a power of 2, for they fill a space evenly.
        num_draws: Fresh sets and seeds on which the chosen setting is measured.
        counts: Samples of each split.
        epochs: Of every training.
        batch_size: Samples a step.
        entrants: Methods.
    """

    name: str
    num_trials: int
    num_draws: int
    counts: Mapping[str, int]
    epochs: int
    batch_size: int
    entrants: tuple[Entrant, ...]


SPACE = {"lr": (3e-4, 1e-2), "weight_decay": (1e-3, 0.3), "masking": ("none", "subsets")}
"""What every method tries: learning rate, weight decay (both log-uniform), hiding in training."""

RATES = (0.3, 0.5, 0.7)
_EQUAL = {"quick": (48, 48, 48), "full": (128, 128, 128)}
_GAPS = (
    Condition("mean over 30, 50 and 70 % missing", rates=RATES),
    Condition("all there"),
    *(Condition(f"{100 * rate:.0f} % missing", rates=(rate,)) for rate in RATES),
)

QUESTIONS = (
    Question(
        name="conflict",
        title="Conflict",
        asks="Does SCFAE help when modalities conflict?",
        setup="Three views with evidence for one of four classes. In half of the samples one view "
        "says another class, and gives itself away faintly.",
        make=conflict,
        conditions=(
            Condition("samples in conflict", where={"conflict": 1}),
            Condition("samples in agreement", where={"conflict": 0}),
            Condition("all test samples"),
        ),
        widths=_EQUAL,
    ),
    Question(
        name="missing-at-test",
        title="Missing at test",
        asks="Does SCFAE help when modalities are missing at test alone?",
        setup="Three views with evidence for one of four classes. Training samples are complete; "
        "in validation each view lacks half of the samples.",
        make=evidence,
        conditions=_GAPS,
        widths=_EQUAL,
        missing={"val": 0.5},
        variants=("quick", "full"),
    ),
    Question(
        name="missing-in-training",
        title="Missing in training too",
        asks="Does SCFAE help when modalities are missing in training too?",
        setup="As before, but in training too each view lacks half of the samples.",
        make=evidence,
        conditions=_GAPS,
        widths=_EQUAL,
        missing={"train": 0.5, "val": 0.5},
    ),
    Question(
        name="widths",
        title="Unequal widths",
        asks="Does SCFAE help when widths are unequal and the information is not?",
        setup="The views of 'missing at test', which say equally much, in unequal widths.",
        make=evidence,
        conditions=(Condition("all there"), Condition("50 % missing", rates=(0.5,))),
        widths={"quick": (16, 64, 256), "full": (32, 256, 1024)},
        missing={"val": 0.5},
        variants=("full",),
    ),
    Question(
        name="shared",
        title="Shared structure",
        asks="Does SCFAE find what modalities share among louder parts of their own?",
        setup="Two views share two faint factors, which tell the class; 64 samples to learn from.",
        make=lambda seed, num, widths: shared(seed, num, widths[0]),
        conditions=(Condition("all there"),),
        widths={"quick": (16,), "full": (16,)},
        counts={"train": 64},
    ),
)

_SCFAE = Entrant(SCFAE, "scfae", role="scfae")
_OTHERS = (
    Entrant("concat", "concat", {"hidden": 128}),
    Entrant("late fusion", "late_fusion", {"hidden": 128}),
    Entrant("gated", "gated", {"hidden": 128}),
    Entrant("bottleneck", "bottleneck", {"width": 32, "num_layers": 1, "fusion_layer": 0}),
    Entrant("MISA", "misa", {"width": 64, "feed_forward": 128}),
)
_MORE = (
    Entrant("cross-attention", "cross_attention", {"width": 64, "num_layers": 2}),
    Entrant("MulT", "mult", {"num_layers": 2}),
    Entrant("MMIN", "mmin", {"width": 64, "layers": (48, 32, 16), "num_blocks": 3}),
    Entrant("MoMKE", "momke", {"width": 64, "num_layers": 2}),
    Entrant("DrFuse", "drfuse"),
)
_VARIANTS = (
    Entrant("SCFAE, 2 layers", "scfae", {"num_layers": 2}, "variant"),
    Entrant("SCFAE, 3 layers", "scfae", {"num_layers": 3}, "variant"),
    Entrant("SCFAE, maps in 2 groups", "scfae", {"map_groups": 2}, "variant"),
    Entrant("SCFAE, output SwiGLU in 4 groups", "scfae_light", {}, "variant"),
)

QUICK = Form(
    "quick",
    num_trials=4,
    num_draws=5,
    counts={"train": 384, "val": 192, "test": 512},
    epochs=16,
    batch_size=64,
    entrants=(_SCFAE, *_OTHERS, *_VARIANTS),
)
FULL = Form(
    "full",
    num_trials=16,
    num_draws=10,
    counts={"train": 1024, "val": 512, "test": 2048},
    epochs=40,
    batch_size=64,
    entrants=(_SCFAE, *_OTHERS, *_MORE, *_VARIANTS),
)
FORMS = {"quick": QUICK, "full": FULL}
