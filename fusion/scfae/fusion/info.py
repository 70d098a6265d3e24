"""What a fusion method is, as data: where it comes from, what it needs, how it is trained.

Each method's module has `INFOS`, one `FusionInfo` for each name that it offers. A trainer reads the
recipe; a table of the paper reads the row; nothing here computes.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .base import Fusion

Faithfulness = Literal["code", "port", "text", "substitute"]
Need = Literal["sequence", "dialogue", "labels", "two_stages"]


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """How a method is trained where its authors say so, and how we train it where they do not.

    Attributes:
        optimizer: `adamw`, `adam` or `sgd`.
        lr: Peak learning rate.
        weight_decay: Of the optimizer.
        batch_size: Samples, or dialogues where the method needs them.
        stage_epochs: Epochs of each stage; one number for a method of one stage.
        schedule: Of the learning rate: `constant`, or `cosine` to zero.
        warmup_share: Share of all steps in which the rate rises linearly.
        clip_norm: Largest norm of the gradient; None does not clip.
        clip_value: Largest absolute value of one derivative; None does not clip.
        loss_weights: Weight of each auxiliary loss; one not named weighs 1.
        combiner: How the gradients of the losses come together: `sum`, `pcgrad` or `min_norm`.
        source: Where these figures are from.
    """

    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.01
    batch_size: int = 32
    stage_epochs: tuple[int, ...] = (30,)
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_share: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None
    loss_weights: Mapping[str, float] = field(default_factory=dict)
    combiner: Literal["sum", "pcgrad", "min_norm"] = "sum"
    source: str = "ours"


@dataclass(frozen=True, slots=True)
class FusionInfo:
    """What a fusion method is.

    Attributes:
        name: What `build_fusion` takes.
        method: The class.
        paper_row: The row of the paper's tables that it stands for; of a method in none of them,
            its usual name.
        source: Where it comes from: authors, venue, code or text.
        faithfulness: `code` and `text`: after the authors' code or text; `port`: after others' code
            for it; `substitute`: ours.
        missing: What it does when a modality is missing.
        deviations: What differs from the source, one sentence each.
        needs: `sequence`: it says little on vectors; `dialogue`: samples of one dialogue in a
            batch, in order, named by `groups`; `labels`: some of its losses need them;
            `two_stages`: `begin_stage` is to be called between them.
        min_modalities: The least number of modalities; fewer are a ValueError.
        max_modalities: The largest number, None for any.
        recipe: How it is trained.
        batch_losses: Losses that are no mean over samples: they compare samples of a batch.
        is_ours: It is neither in the paper nor published elsewhere.
    """

    name: str
    method: "type[Fusion]"
    paper_row: str
    source: str
    faithfulness: Faithfulness
    missing: str
    deviations: tuple[str, ...] = ()
    needs: tuple[Need, ...] = ()
    min_modalities: int = 1
    max_modalities: int | None = None
    recipe: TrainingRecipe = field(default_factory=TrainingRecipe)
    batch_losses: tuple[str, ...] = ()
    is_ours: bool = False

    @property
    def defaults(self) -> dict[str, Any]:
        """The options that `build_fusion` passes on, and what each is if not given.

        Where a class passes `**` on to its parent, the parent's options are its own too.
        """
        found: dict[str, Any] = {}
        for cls in self.method.__mro__:
            if "__init__" not in vars(cls):
                continue
            passes_on = False
            for name, parameter in inspect.signature(vars(cls)["__init__"]).parameters.items():
                if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name != "num_outputs":
                    found.setdefault(name, parameter.default)
                passes_on |= parameter.kind is inspect.Parameter.VAR_KEYWORD
            if not passes_on:
                break
        return found

    @property
    def options(self) -> tuple[str, ...]:
        """The names of `defaults`."""
        return tuple(self.defaults)

    def check_modalities(self, number: int) -> None:
        """Check that the method takes this many modalities.

        Raises:
            ValueError: If it does not.
        """
        if number < self.min_modalities:
            raise ValueError(
                f"dims: {self.name} needs at least {self.min_modalities} modalities, not {number}"
            )
        if self.max_modalities is not None and number > self.max_modalities:
            raise ValueError(
                f"dims: {self.name} takes at most {self.max_modalities} modalities, not {number}"
            )
