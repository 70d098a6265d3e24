"""Settings that a fusion method's authors trained it with, for what the user leaves open.

`FusionInfo.recipe` is data in the fusion library; here it becomes settings of a run, so that the
config in the run folder holds every figure that was used and `--resume` needs no recipe.
"""

from collections.abc import Mapping
from typing import Any

from scfae.fusion import FusionInfo, fusion_info

from .config import RunConfig
from .splits import Splits

_WARMUP_FROM = 0.05
"""A warm-up begins at this share of the rate: the paper's 2.5e-5 of 5e-4."""


def recipe_settings(info: FusionInfo) -> dict[str, Any]:
    """Return the optimizer settings of a method's recipe, by the names of the config."""
    recipe = info.recipe
    return {
        "epochs": sum(recipe.stage_epochs),
        "batch_size": recipe.batch_size,
        "optimizer": recipe.optimizer,
        "lr": recipe.lr,
        "lr_start": recipe.lr * _WARMUP_FROM if recipe.warmup_share else recipe.lr,
        "lr_end": 0.0 if recipe.schedule == "cosine" else recipe.lr,
        "warmup": recipe.warmup_share,
        "weight_decay": recipe.weight_decay,
        "clip_norm": recipe.clip_norm,
        "clip_value": recipe.clip_value,
        "combiner": recipe.combiner,
    }


def loss_weights(info: FusionInfo, given: Mapping[str, float]) -> dict[str, float]:
    """Return the weight of each auxiliary loss: the user's, else the recipe's."""
    return {**info.recipe.loss_weights, **given}


def dialogue_notes(config: RunConfig, splits: Splits) -> list[str]:
    """Return what to say where a method of dialogues is given samples one by one."""
    if "dialogue" not in fusion_info(config.model.fusion).needs or config.loop.group_batches:
        return []
    has_groups = len(set(splits.train.group_of.tolist())) < len(splits.train)
    hint = "add --group-batches true" if has_groups else "the store's samples have no group"
    return [f"{config.model.fusion} reads whole dialogues, and is given single samples: {hint}"]
