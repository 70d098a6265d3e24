"""`scfae service`: what a service folder needs now and then."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .arguments import dispatch, parse, say

USAGE = """\
usage: scfae service ACTION …

actions
  reindex SERVICE     make service.db anew from the folders of the jobs

example:
  scfae service reindex service/
"""


@dataclass(frozen=True)
class ReindexArguments:
    """Make service.db anew from the folders of the jobs, which are the truth."""

    service: Annotated[Path, tyro.conf.Positional]
    """The service's folder."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    return dispatch("scfae service", argv, {"reindex": _reindex}, USAGE)


def _reindex(argv: Sequence[str]) -> int:
    flags = parse(
        ReindexArguments, "scfae service reindex", argv, "  scfae service reindex service/"
    )

    from scfae.service.queue import Queue

    say(f"{Queue.existing(flags.service).reindex()} jobs are indexed")
    return 0
