"""The config of a run: from YAML, a command line or a request, to checked settings.

Field names are unique across the groups of `settings`, so `batch_size: 32` needs no group: flat or
nested in YAML, and `--batch-size 32` on the command line, mean the same. Nothing here imports torch
until a whole config is checked against the fusion models there are.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from scfae.store.config import Frozen, digest
from scfae.store.errors import ConfigError

from .setting_checks import fusion_problems, masking_problems, modality_problems, task_problems
from .setting_problems import describe, suggest
from .settings import (
    GROUP_OF,
    GROUPS,
    PLACES,
    DataConfig,
    Group,
    LoopConfig,
    ModelConfig,
    OptimConfig,
)
from .yaml_text import to_yaml, yaml_problem


class RunConfig(Frozen):
    """Every setting of a run, checked.

    Attributes:
        data: Columns, label and splits.
        model: The fusion model and its losses.
        optim: Optimizer and schedule.
        loop: Masking, seed, device, selection, checkpoints, run folder.
    """

    data: DataConfig
    model: ModelConfig
    optim: OptimConfig
    loop: LoopConfig

    def flat(self) -> dict[str, Any]:
        """Return every setting by its own name, as plain JSON values."""
        nested = self.model_dump(mode="json")
        return {name: value for group in nested.values() for name, value in group.items()}

    def digest(self) -> str:
        """Return the sha256 of everything but where the run and its figures go."""
        # What is as by default is left out, so that a new setting leaves old digests as they are.
        nested = self.model_dump(mode="json", exclude_defaults=True)
        flat = {name: value for group in nested.values() for name, value in group.items()}
        return digest({name: value for name, value in flat.items() if name not in PLACES})

    def differences(self, other: "RunConfig") -> dict[str, tuple[Any, Any]]:
        """Return what differs from another config, places aside: {field: (mine, other's)}."""
        mine, theirs = self.flat(), other.flat()
        # The order of the columns is the cycle of the model, so {a, b} is not {b, a} here.
        return {
            name: (value, theirs[name])
            for name, value in mine.items()
            if name not in PLACES
            and (value != theirs[name] or _order(value) != _order(theirs[name]))
        }

    def with_loop(self, **settings: Any) -> "RunConfig":
        """Return the config with other settings of the loop, such as `seed` and `run`."""
        loop = LoopConfig.model_validate(self.loop.model_dump() | settings)
        return self.model_copy(update={"loop": loop})

    def yaml(self) -> str:
        """Return the config as YAML, nested in its groups."""
        return to_yaml(self.model_dump(mode="json"))


def load_config(
    path: str | Path | None,
    overrides: Mapping[str, Any] | None = None,
    *,
    source: str | Path | None = None,
) -> RunConfig:
    """Return the checked config of a run.

    Args:
        path: A YAML file, nested in groups or flat, or None.
        overrides: Settings that win over the file's, nested or flat; dicts are replaced whole.
        source: Where the overrides are from, for the message.

    Raises:
        ConfigError: Names every setting that is unknown, missing or not allowed, its value and
            what is allowed.
    """
    problems: list[str] = []
    settings: dict[str, Any] = {}
    if path is not None:
        settings.update(flatten(read_yaml(Path(path)), problems))
    settings.update(flatten(overrides or {}, problems))
    if settings.get("recipe") == "authors":
        settings = _recipe(settings) | settings

    groups: dict[str, Group] = {}
    for key, kind in GROUPS.items():
        try:
            groups[key] = kind(
                **{name: settings[name] for name in kind.model_fields if name in settings}
            )
        except ValidationError as error:
            problems.extend(describe(kind.model_fields, error.errors()))
    data, model, loop = groups.get("data"), groups.get("model"), groups.get("loop")
    modalities = tuple(data.columns) if isinstance(data, DataConfig) else None
    if modalities is not None:
        problems.extend(modality_problems(modalities))
    if isinstance(model, ModelConfig):
        problems.extend(fusion_problems(model))
    if modalities is not None and isinstance(model, ModelConfig):
        problems.extend(
            f"{field}.{name}: columns names no {name}.{suggest(name, modalities)} It names: "
            + ", ".join(modalities)
            for field in ("linear_maps", "encoders")
            for name in getattr(model, field)
            if name not in modalities
        )
    if isinstance(loop, LoopConfig):
        problems.extend(masking_problems(loop.masking, modalities))
    if isinstance(data, DataConfig):
        problems.extend(task_problems(data, settings.get("select", "auto")))
    if problems:
        where = f" of {path or source}" if path or source else ""
        raise ConfigError(f"the config{where} cannot be used:\n  " + "\n  ".join(problems))
    return RunConfig.model_validate(groups)


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        ConfigError: It is not there, cannot be read, or holds something else.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no config file {path}.") from None
    except IsADirectoryError:
        raise ConfigError(
            f"{path} is a folder; a YAML file is due (to go on with a run: --resume {path})."
        ) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {yaml_problem(error)}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds a {type(content).__name__}; a mapping of settings is due.")
    return {str(key): value for key, value in content.items()}


def flatten(settings: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Return settings by their own names, whether they came nested or flat.

    Args:
        settings: As in YAML.
        problems: What is wrong with them is appended, a sentence each.
    """
    flat: dict[str, Any] = {}

    def put(name: str, value: Any, allowed: Iterable[str], inside: str) -> None:
        if name not in allowed:
            hint = suggest(name, [*GROUP_OF, *GROUPS])
            fields = ", ".join(allowed)
            problems.append(f"{inside}{name} = {value!r}: no such setting.{hint} Known: {fields}")
        elif name in flat:
            problems.append(f"{name}: given twice, {flat[name]!r} and {value!r}; keep one")
        else:
            flat[name] = value

    for name, value in settings.items():
        if name in GROUPS and isinstance(value, Mapping):
            for field, inner in value.items():
                put(str(field), inner, GROUPS[name].model_fields, f"{name}.")
        elif name in GROUPS:
            problems.append(f"{name} = {value!r}: a group; a mapping of its settings is due")
        else:
            put(name, value, GROUP_OF, "")
    return flat


def _recipe(settings: Mapping[str, Any]) -> dict[str, Any]:
    from scfae.fusion import list_fusions  # torch comes with it

    from .recipe import recipe_settings

    name = settings.get("fusion", ModelConfig.model_fields["fusion"].default)
    # A name that is unknown is reported with everything else that is wrong.
    return next((recipe_settings(info) for info in list_fusions() if info.name == name), {})


def _order(value: Any) -> list[str]:
    return list(value) if isinstance(value, dict) else []
