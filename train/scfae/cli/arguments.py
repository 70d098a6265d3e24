"""What the commands share: flags from a dataclass by tyro, figures as one JSON document."""

import json
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

T = TypeVar("T")


def parse(kind: type[T], command: str, argv: Sequence[str], example: str) -> T:
    """Return the flags of one command.

    Args:
        kind: A dataclass whose fields are the flags; its docstring opens the help.
        command: The words typed so far, e.g. `scfae extract`.
        argv: The words after them.
        example: A worked example, shown under the help.

    Raises:
        SystemExit: 0 after --help, 2 for wrong usage (the message names the flag).
    """
    description = (
        f"{(kind.__doc__ or '').split('Args:')[0].strip()}\n\nexample:\n{example.rstrip()}"
    )
    return tyro.cli(
        kind,
        prog=command,
        description=description,
        args=list(argv),
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName),
    )


def print_json(document: Any) -> None:
    """Print one JSON document to stdout; everything else goes to stderr."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def say(text: str) -> None:
    """Print a line for a person to stderr."""
    print(text, file=sys.stderr)
