"""`scfae report`: a run's report.html again, or one that compares several runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .arguments import parse

EXAMPLE = """\
  scfae report runs/first
  scfae report runs/first runs/second --out comparison.html
"""


@dataclass(frozen=True)
class ReportArguments:
    """Write one self-contained page about a run, or one that compares runs side by side."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders; the first is compared to the others."""
    out: Path | None = None
    """Where to write; RUN/report.html for one run, comparison.html for several."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(ReportArguments, "scfae report", argv, EXAMPLE)

    from scfae.train import write_comparison, write_report

    if len(flags.runs) == 1 and flags.out is None:
        print(write_report(flags.runs[0]))
    else:
        print(write_comparison(flags.runs, flags.out or Path("comparison.html")))
    return 0
