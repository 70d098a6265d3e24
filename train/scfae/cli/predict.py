"""`scfae predict`: raw media through the run's own encoders; one JSON line a file."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .arguments import parse, say

EXAMPLE = """\
  scfae predict runs/first clip.mp4 other.mp4
  scfae predict runs/first clip.mp4 --only audio        # leave the picture out
"""


@dataclass(frozen=True)
class PredictArguments:
    """Raw media -> the run's own encoders -> predictions, one JSON line a file on stdout."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run folder."""
    media: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Videos, sounds or images."""
    only: tuple[str, ...] = ()
    """Modalities to use; all of the run's if not given."""
    device: str = "cpu"
    """cpu, cuda, …"""
    max_failures: int = 0
    """More unreadable files than this end the command with status 3."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(PredictArguments, "scfae predict", argv, EXAMPLE)

    from scfae.train import predict

    failures = 0
    for line in predict(flags.run, flags.media, device=flags.device, only=flags.only or None):
        failures += "error" in line
        sys.stdout.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        sys.stdout.flush()
    if failures:
        say(f"{failures} of {len(flags.media)} files could not be read")
    return 3 if failures > flags.max_failures else 0
