"""The flags of `scfae train`, made from the config's fields; nothing here imports torch.

Every flag is read as plain words and judged by `load_config`, so that whatever is wrong, in the
file or on the command line, is reported together and in the same words.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import tyro
from pydantic.fields import FieldInfo
from tyro.constructors import PrimitiveConstructorSpec

from scfae.store.config import Frozen
from scfae.store.errors import ConfigError

from .config import RunConfig, load_config
from .settings import GROUPS

EXAMPLE = """\
example:
  scfae train --store features/ --columns video=efficientnet-lite0 audio=ge2e \\
      --label digit --fusion scfae --masking bernoulli:0.3 --epochs 10 --run runs/first
  scfae train experiment.yaml --lr 1e-3 --run runs/second     # flags win over the file
  scfae train --resume runs/first                             # go on after a stop or a kill
  scfae train experiment.yaml --run runs/x --dry-run          # what it would take

The same keys work in YAML, flat (`batch_size: 32`) or in their groups (data, model, optim, loop).
The same command on the same run folder goes on with it too."""


@dataclass(frozen=True, slots=True)
class ResumeRequest:
    """`scfae train --resume RUN`: go on with a run by its own config.

    Attributes:
        run: The run folder.
    """

    run: Path


def parse_train_args(argv: Sequence[str]) -> RunConfig | ResumeRequest:
    """Return what `scfae train …` asks for.

    Args:
        argv: The words after `scfae train`.

    Raises:
        ConfigError: A setting is unknown, missing or not allowed; all of them are listed.
        SystemExit: 0 after --help, 2 for a flag that does not exist.
    """
    parsed, given = parse_settings(
        argv,
        prog="scfae train",
        description=f"Train a fusion model on chosen columns; writes a run folder.\n\n{EXAMPLE}",
        resume=(words("RUN", "(optional)", "Go on with this run."), None),
    )
    if parsed.resume is None:
        return load_config(parsed.config, given)
    refuse_beside_resume(parsed, given, "run")
    return ResumeRequest(Path(parsed.resume))


def parse_settings(
    argv: Sequence[str], *, prog: str, description: str, **own: tuple[Any, Any]
) -> tuple[Any, dict[str, Any]]:
    """Return a command's flags, and of them the settings of a config that are given.

    Args:
        argv: The words after the command.
        prog: The command.
        description: Opens its help.
        own: Type and default of each flag that is no setting, by name.

    Raises:
        SystemExit: 0 after --help, 2 for a flag that does not exist.
    """
    parsed = tyro.cli(
        _flags(own),
        prog=prog,
        description=description,
        args=list(argv),
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.PositionalMetavarFromFieldName),
    )
    given = {
        name: value
        for group in GROUPS
        for name, value in vars(getattr(parsed, group)).items()
        if value is not None
    }
    return parsed, given


def setting_words(config: RunConfig) -> list[str]:
    """Return the flags of `scfae train` that spell a config, defaults left out."""
    spelled: list[str] = []
    for group in GROUPS:
        settings = getattr(config, group)
        for name, info in type(settings).model_fields.items():
            value = getattr(settings, name)
            if not info.is_required() and value == info.get_default(call_default_factory=True):
                continue
            spelled += [f"--{name.replace('_', '-')}", *_spelled(value)]
    return spelled


def refuse_beside_resume(parsed: Any, given: Mapping[str, Any], what: str) -> None:
    """Check that nothing is given beside `--resume` that it would not heed.

    Raises:
        ConfigError: Names what is.
    """
    others = [f"--{name.replace('_', '-')}" for name in given]
    others += [str(parsed.config)] if parsed.config is not None else []
    if others:
        raise ConfigError(
            f"--resume {parsed.resume} goes on with the {what}'s own config: leave out "
            f"{', '.join(others)}, or start another {what} with --run."
        )


def _flags(own: Mapping[str, tuple[Any, Any]]) -> type[Any]:
    """Return a dataclass of dataclasses with one flag a field, None where it is not given."""
    word = words("PATH", "(optional)", "")
    config_help = "A YAML file with any of the settings below."
    groups: list[tuple[str, Any, Any]] = [
        (
            "config",
            Annotated[word, tyro.conf.Positional, tyro.conf.arg(help=config_help)],
            field(default=None),
        ),
    ]
    groups += [(name, kind, field(default=default)) for name, (kind, default) in own.items()]
    for key, kind in GROUPS.items():
        leaves = [
            (name, _flag(info), field(default=None)) for name, info in kind.model_fields.items()
        ]
        group = make_dataclass(kind.__name__, leaves)
        group.__doc__ = kind.__doc__
        groups.append((key, group, field(default_factory=group)))
    flags = make_dataclass("TrainFlags", groups)
    flags.__doc__ = "Train a fusion model."
    return flags


def _flag(info: FieldInfo) -> Any:
    hint = "(required)"
    if not info.is_required():
        default = info.get_default(call_default_factory=True, validated_data={})
        if isinstance(default, dict):
            default = " ".join(_pairs(default))
        shown = ",".join(default) if isinstance(default, tuple) else str(default).lower()
        hint = f"(default: {shown})" if shown else "(optional)"
    kinds = _kinds(info.annotation)
    text = " ".join((info.description or "").split())
    if dict in kinds:
        return mapping(hint, text)
    choices = [str(choice) for kind in kinds if isinstance(kind, tuple) for choice in kind]
    metavar = "INT" if int in kinds else "FLOAT" if float in kinds else "TEXT"
    return words("{" + ",".join(choices) + "}" if choices else metavar, hint, text)


def _kinds(annotation: Any) -> list[Any]:
    """Return the plain types of an annotation; the choices of a Literal as one tuple."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin is Literal:
        return [get_args(annotation)]
    if origin in (Union, UnionType):
        return [kind for branch in get_args(annotation) for kind in _kinds(branch)]
    return [origin or annotation]


def words(metavar: str, hint: str, text: str) -> Any:
    """Return the type of a flag that takes one word.

    Args:
        metavar: What stands for the word in the help.
        hint: What the help says of its default.
        text: The help.
    """
    spec = PrimitiveConstructorSpec[Any](
        nargs=1,
        metavar=metavar,
        instance_from_str=lambda words: words[0],
        is_instance=lambda value: value is None or isinstance(value, str),
        str_from_instance=lambda value: ["none" if value is None else str(value)],
    )
    return Annotated[Any, spec, tyro.conf.arg(help=text, help_behavior_hint=hint)]


def mapping(hint: str, text: str, metavar: str = "KEY=VALUE …") -> Any:
    """Return the type of a flag that takes any number of KEY=VALUE words."""
    spec = PrimitiveConstructorSpec[Any](
        nargs="*",
        metavar=metavar,
        instance_from_str=_read_pairs,
        is_instance=lambda value: value is None or isinstance(value, dict),
        str_from_instance=lambda value: _pairs(value or {}),
    )
    return Annotated[Any, spec, tyro.conf.arg(help=text, help_behavior_hint=hint)]


def _read_pairs(words: list[str]) -> dict[str, Any]:
    pairs: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not (key and equals and value):
            raise ValueError(f"'{word}' is not KEY=VALUE")
        if key in pairs:
            raise ValueError(f"'{key}' is given twice")
        pairs[key] = word_value(value)
    return pairs


def word_value(word: str) -> Any:
    """Return the JSON value that a word spells, or the word."""
    try:
        return json.loads(word)
    except ValueError:
        return word


def _spelled(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{key}={_spelled_one(one)}" for key, one in value.items()]
    if isinstance(value, tuple):
        return [",".join(value) or "none"]
    if isinstance(value, bool):
        return [str(value).lower()]
    return ["none" if value is None else str(value)]


def _spelled_one(value: Any) -> str:
    if isinstance(value, Frozen):
        value = value.model_dump(mode="json", exclude_defaults=True)
    is_plain = isinstance(value, str) and word_value(value) == value
    return value if is_plain else json.dumps(value)


def _pairs(pairs: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in pairs.items()]
