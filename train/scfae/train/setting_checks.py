"""What is wrong with settings of a run beyond each one's own range: a sentence a problem.

Nothing here imports torch until it is asked about fusion models or tasks.
"""

import json
from typing import Any

from scfae.store.branches import modalities_of
from scfae.store.errors import ConfigError
from scfae.store.masking import named_modalities, parse_policy

from .setting_problems import suggest
from .settings import DataConfig, ModelConfig

RESERVED_MODALITIES = ("split", "labels", "where", "self")
"""Names that `FeatureStore.view` takes for itself, so no modality can have them."""


def modality_problems(branches: tuple[str, ...]) -> list[str]:
    """Return what is wrong with the names of a run's columns."""
    problems = []
    for branch in branches:
        words = branch.split(":")
        if len(words) <= 2 and all(map(str.isidentifier, words)):
            if branch in RESERVED_MODALITIES:
                names = ", ".join(RESERVED_MODALITIES)
                problems.append(f"columns.{branch}: a modality's name is none of {names}")
            continue
        problems.append(
            f"columns.{branch}: a modality's name is a plain word of letters, digits and _, or "
            "MODALITY:NAME for one more branch of it, such as video:motion"
        )
    return problems


def masking_problems(policy: str, modalities: tuple[str, ...] | None) -> list[str]:
    """Return what is wrong with a masking policy; `modalities` None: the columns are not known."""
    # Without columns to check against, the names that the policy itself gives are taken as known.
    named = named_modalities(policy)
    if named is None:
        return []  # a stored table; it is read when a stream is made of it
    known = modalities_of(modalities or named)
    try:
        parse_policy(policy, known)
    except ConfigError as error:
        return [f"masking = {policy!r}: {str(error).removeprefix('masking: ')}"]
    return []


def task_problems(data: DataConfig, select: Any) -> list[str]:
    """Return what is wrong with the options of a task, and with the figure that selects."""
    from .tasks import TASKS, parse_options  # torch comes with it

    kind = TASKS[data.task]
    options, problems = parse_options(kind, data.task_options)
    known = ("auto", "loss", *kind.possible_metrics(options))
    if isinstance(select, str) and select not in known:
        problems.append(
            f"select = {select!r}: {data.task} has no such metric.{suggest(select, known)} "
            f"Known: {', '.join(known)}"
        )
    return problems


def fusion_problems(model: ModelConfig) -> list[str]:
    """Return what is wrong with a fusion model's name and the names of its options."""
    from scfae.fusion import list_fusions  # torch comes with it, so only a whole config asks

    known = {info.name: info for info in list_fusions()}
    if model.fusion not in known:
        hint = suggest(model.fusion, known)
        return [f"fusion = {model.fusion!r}: no such model.{hint} Known: {', '.join(known)}"]
    # Pooling has a setting of its own.
    defaults = known[model.fusion].defaults
    options = [name for name in defaults if name != "pooling"]
    words = [
        f"options.{name} = {value!r}: a word; {json.dumps(default)} or the like is due"
        for name, value in model.options.items()
        if isinstance(value, str) and isinstance(default := defaults.get(name), int | float)
    ]
    return words + [
        f"options.{name} = {value!r}: {model.fusion} has no such option.{suggest(name, options)} "
        f"Known: {', '.join(options)}"
        for name, value in model.options.items()
        if name not in options
    ]
