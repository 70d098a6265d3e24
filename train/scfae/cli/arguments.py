"""What the commands share: flags from a dataclass by tyro, figures as one JSON document."""

import difflib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import tyro

from scfae.store.errors import ConfigError

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


def dispatch(
    command: str,
    argv: Sequence[str],
    actions: Mapping[str, Callable[[Sequence[str]], int]],
    usage: str,
    *,
    what: str = "action",
    known: str = "Actions",
) -> int:
    """Run one of a command's actions; return its exit status: 2 for none, after its usage.

    Args:
        command: The words typed so far, e.g. `scfae store`.
        argv: The words after them, the action first.
        actions: What runs each, by name.
        usage: The help.
        what: What an action is called.
        known: What stands before the names of all.

    Raises:
        ConfigError: There is no such action; names the nearest, and all.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(usage, end="")
        return 0 if argv else 2
    if argv[0] not in actions:
        near = difflib.get_close_matches(argv[0], actions, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ConfigError(
            f"{command} has no {what} '{argv[0]}'.{hint} {known}: {', '.join(actions)}."
        )
    return actions[argv[0]](argv[1:])


def print_json(document: Any) -> None:
    """Print one JSON document to stdout; everything else goes to stderr."""
    json.dump(document, sys.stdout, indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write("\n")


def say(text: str) -> None:
    """Print a line for a person to stderr."""
    print(text, file=sys.stderr)
