"""What is asked of a store of the user's own, and how it is told what the data are.

What SCFAE finds of structure that modalities share is not asked: only who made data knows what they
share.
"""

import math
from pathlib import Path

from .given import COMPONENTS, CONFLICTING, GivenData
from .questions import RATES, Condition, Form, Question

TWO_RATES = (0.2, 0.35, 0.5)
"""Of two modalities every sample keeps one, so that no more than half of each can be missing."""


def given_questions(data: GivenData, form: Form) -> tuple[Question, ...]:
    """Return the questions that can be asked of some data.

    Args:
        data: The samples.
        form: Says how wide modalities are laid.
    """
    dims = tuple(data.dims.values())
    plain = {form.name: dims}
    widths = data.widths_for(COMPONENTS[form.name])
    rates = RATES if len(dims) > 2 else TWO_RATES
    told = ", ".join(f"{100 * rate:.0f}" for rate in rates[:-1])
    mean = Condition(f"mean over {told} and {100 * rates[-1]:.0f} % missing", rates=rates)
    nothing = Condition("nothing hidden")
    gaps = (
        mean,
        nothing,
        *(Condition(f"{100 * rate:.0f} % missing", rates=(rate,)) for rate in rates),
    )
    which = (
        "With two modalities nothing but the features themselves tells which of them it is. "
        if len(dims) == 2
        else ""
    )
    return (
        Question(
            name="conflict",
            title="Conflict",
            asks="Does SCFAE help when modalities conflict?",
            setup=f"In {100 * CONFLICTING:.0f} % of the samples that have several modalities one, "
            "by chance, is that of another sample of the same split and of another class. "
            f"{which}Training, validation and test alike.",
            make=data.conflicting,
            conditions=(
                Condition("samples in conflict", where={"conflict": 1}),
                Condition("samples in agreement", where={"conflict": 0}),
                Condition("all test samples"),
            ),
            widths=plain,
            counts=data.counts,
        ),
        Question(
            name="missing-at-test",
            title="Missing at test",
            asks="Does SCFAE help when modalities are missing at test alone?",
            setup="Training samples are as they are; in validation each modality lacks half of the "
            "samples.",
            make=data.plain,
            conditions=gaps,
            widths=plain,
            counts=data.counts,
            missing={"val": 0.5},
            variants=("quick", "full"),
        ),
        Question(
            name="missing-in-training",
            title="Missing in training too",
            asks="Does SCFAE help when modalities are missing in training too?",
            setup="As before, but in training too each modality lacks half of the samples.",
            make=data.plain,
            conditions=gaps,
            widths=plain,
            counts=data.counts,
            missing={"train": 0.5, "val": 0.5},
        ),
        Question(
            name="widths",
            title="Unequal widths",
            asks="Does SCFAE help when widths are unequal and the information is not?",
            setup=f"Each modality's first {widths[0]} principal components, as the training "
            "samples have them, laid whole into unequal widths by a random rotation: no distance "
            "between samples changes.",
            make=data.widened,
            conditions=(nothing, Condition("50 % missing", rates=(0.5,))),
            widths={form.name: widths},
            counts=data.counts,
            missing={"val": 0.5},
            variants=("full",),
        ),
    )


def given_lines(data: GivenData, form: Form) -> list[tuple[str, str]]:
    """Return how the study was made that is not as on generated data, by topic."""
    columns = ", ".join(
        f"{m} = {column} ({data.dims[m]} features)" for m, column in data.given.columns.items()
    )
    counts, num_classes = data.counts, len(data.classes)
    gaps = " Some samples lack a modality as they are." if data.has_gaps else ""
    return [
        (
            "data",
            f"{Path(data.given.store).name}: {columns}; '{data.given.label}', "
            f"{num_classes} classes. Each sample is the mean over its rows.{gaps}",
        ),
        (
            "measuring",
            f"The chosen setting is trained {form.num_draws} times, with other weights, gaps and "
            "pairings, the same for every method, on the same training and validation samples; "
            "each time another part of the test samples is tested on, so that the intervals hold "
            "what other weights and other test samples would change, and not what other training "
            "samples would. Validation selects the epoch. Test labels choose nothing. "
            f"{form.epochs} epochs, {counts['train']} train, {counts['val']} val, "
            f"{form.num_draws} times {counts['test']} test samples. Where samples come in groups "
            "(several clips of one speaker), the intervals are too narrow.",
        ),
        (
            "learning",
            f"All methods have the same steps. A training loss near {math.log(num_classes):.2f}, "
            f"that of guessing among {num_classes} classes, says that a method has not "
            "learned in them; one near 0 beside mediocre figures, that it has learned its samples "
            "by heart.",
        ),
    ]
