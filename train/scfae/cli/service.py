"""`scfae service`: access tokens, and the index made anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from .arguments import dispatch, parse, print_json, say

USAGE = """\
usage: scfae service ACTION …

actions
  token               add, list or remove access tokens
  reindex SERVICE     make service.db anew from the folders of the jobs

example:
  scfae service token add service/ ann --role operator
  scfae service reindex service/
"""


@dataclass(frozen=True)
class ReindexArguments:
    """Make service.db anew from the folders of the jobs, which are the truth."""

    service: Annotated[Path, tyro.conf.Positional]
    """The service's folder."""


@dataclass(frozen=True)
class TokenArguments:
    """Add, list or remove access tokens; only their hashes are kept."""

    action: Annotated[Literal["add", "list", "remove"], tyro.conf.Positional]
    """What to do."""
    service: Annotated[Path, tyro.conf.Positional]
    """The service's folder."""
    name: Annotated[str, tyro.conf.Positional] = ""
    """Whose token it is."""
    role: Literal["viewer", "operator", "admin"] = "viewer"
    """viewer reads; operator submits, cancels and edits; admin deletes and drains too."""
    json: bool = False
    """As one JSON document on stdout."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    return dispatch("scfae service", argv, {"reindex": _reindex, "token": _token}, USAGE)


def _reindex(argv: Sequence[str]) -> int:
    flags = parse(
        ReindexArguments, "scfae service reindex", argv, "  scfae service reindex service/"
    )

    from scfae.service.queue import Queue

    say(f"{Queue.existing(flags.service).reindex()} jobs are indexed")
    return 0


def _token(argv: Sequence[str]) -> int:
    example = (
        "  scfae service token add service/ ann --role operator\n"
        "  scfae service token list service/\n"
        "  scfae service token remove service/ ann"
    )
    flags = parse(TokenArguments, "scfae service token", argv, example)

    from scfae.service.access import Tokens
    from scfae.service.queue import Queue
    from scfae.store.errors import ConfigError

    if flags.action != "list" and not flags.name:
        raise ConfigError(f"scfae service token {flags.action}: a folder and a name are due.")
    is_new = flags.action == "add"  # a service may get its first token before it is started
    queue = Queue(flags.service) if is_new else Queue.existing(flags.service)
    tokens = Tokens(queue.folder)
    if flags.action == "add":
        secret = tokens.add(flags.name, flags.role)
        if flags.json:
            print_json({"name": flags.name, "role": flags.role, "token": secret})
        else:
            print(secret)
            say(f"the token of {flags.name} ({flags.role}), shown this once")
    elif flags.action == "remove":
        tokens.remove(flags.name)
        say(f"the token of {flags.name} is refused from now on")
    else:
        known = [{"name": one.name, "role": one.role} for one in tokens.tokens()]
        if flags.json:
            print_json(known)
        else:
            for one in known:
                print(f"{one['name']}  {one['role']}")
    return 0
