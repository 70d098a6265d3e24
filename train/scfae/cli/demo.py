"""`scfae demo`: the whole system on real input, ending with a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .arguments import parse, print_json, say
from .interrupt import Stopped, raise_on_sigterm
from .progress import Progress

EXAMPLE = "  scfae demo demo/"


@dataclass(frozen=True)
class DemoArguments:
    """Digits seen and heard: media -> features -> fusion -> every condition -> report.html."""

    folder: Annotated[Path, tyro.conf.Positional] = Path("demo")
    """Where media, store, runs and report go; run again, it goes on where it stopped."""
    json: bool = False
    """The evaluations as one JSON document on stdout."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(DemoArguments, "scfae demo", argv, EXAMPLE)

    from scfae.demo.story import run_demo
    from scfae.demo.summary import summary
    from scfae.extract import ExtractionInterrupted
    from scfae.train import Interrupted

    raise_on_sigterm()
    try:
        with Progress("demo", "steps") as progress:
            result = run_demo(flags.folder, say=say, progress=progress)
    except (ExtractionInterrupted, Interrupted) as stop:
        raise Stopped(f"stopped; go on with: scfae demo {flags.folder}", stop.signum) from None
    if flags.json:
        print_json({name: one.as_dict() for name, one in result.evaluations.items()})
    else:
        print(summary(result))
    return 0
