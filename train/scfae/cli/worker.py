"""`scfae worker`: runs the jobs of a training service."""

import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .arguments import parse, print_json, say

EXAMPLE = """\
  scfae worker --service service/ --slots 2
  scfae worker --service service/ --gpus 0 1 --on-stop checkpoint
  scfae worker drain --service service/          # no new jobs; each ends with its last

Ctrl-C and SIGTERM end the worker within a second; its jobs go on, and the next worker takes them
over. Under systemd that needs KillMode=process. Several workers share one service folder on one
machine.
"""


@dataclass(frozen=True)
class WorkerArguments:
    """Claim jobs of a service, start a process for each, and say how they ended."""

    service: Path
    """The service's folder; made if it is not there."""
    slots: int = 1
    """Jobs at a time; GPUs decide where there are any."""
    gpus: tuple[str, ...] = ("auto",)
    """Numbers of the GPUs, one job each; auto takes all there are; none hides them."""
    on_stop: Literal["leave", "checkpoint"] = "leave"
    """When the worker ends, its jobs go on, or save and are queued again."""
    grace: float = 60.0
    """Seconds that a cancelled job has to save before it is killed."""


@dataclass(frozen=True)
class DrainArguments:
    """Have workers take no more jobs and end with their last."""

    service: Path
    """The service's folder."""
    worker: str | None = None
    """The worker's name; every worker if not given."""
    json: bool = False
    """The workers as one JSON document on stdout."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    if argv and argv[0] == "drain":
        return _drain(argv[1:])
    flags = parse(WorkerArguments, "scfae worker", argv, EXAMPLE)
    if flags.slots < 1:
        from scfae.store.errors import ConfigError

        raise ConfigError(f"--slots {flags.slots}: at least 1 is due.")

    from scfae.service.queue import Queue
    from scfae.service.worker import Worker, named_gpus

    gpus = named_gpus(flags.gpus, flags.slots)
    logging.basicConfig(format="%(asctime)s %(message)s", stream=sys.stderr, level=logging.INFO)
    worker = Worker(
        Queue(flags.service),
        gpus=gpus,
        num_slots=flags.slots,
        grace_s=flags.grace,
        on_stop=flags.on_stop,
    )
    say(f"worker {worker.id} on {flags.service}")
    worker.run()
    return 0


def _drain(argv: Sequence[str]) -> int:
    flags = parse(DrainArguments, "scfae worker drain", argv, "  scfae worker drain --service s/")

    from scfae.service.queue import Queue
    from scfae.service.roster import Roster

    roster = Roster(Queue.existing(flags.service).database)
    names = [flags.worker] if flags.worker else [one.id for one in roster.workers()]
    drained = [roster.drain(name) for name in names]
    if flags.json:
        print_json([one.model_dump(mode="json") for one in drained])
    else:
        say(f"draining: {', '.join(one.id for one in drained) or 'no worker'}")
    return 0
