"""`scfae predict`: raw media through the run's own encoders; one JSON line a sample."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from scfae.store.errors import ConfigError

from .arguments import parse, say

EXAMPLE = """\
  scfae predict runs/first clip.mp4 other.mp4
  scfae predict runs/first clip.mp4 --only audio        # leave the picture out
  scfae predict runs/first new-clips/                   # a folder, or a manifest
  tail -f new.jsonl | scfae predict runs/first -        # answers line by line, as they come

A line of stdin is a path, or a JSON object with a path for video, audio, image or text, and an id.
"""


@dataclass(frozen=True)
class PredictArguments:
    """Raw media -> the run's own encoders -> predictions, one JSON line a sample on stdout."""

    run: Annotated[str, tyro.conf.Positional]
    """The run folder."""
    media: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Videos, sounds, images or texts; folders or manifests of them; - for lines of stdin."""
    only: tuple[str, ...] = ()
    """Modalities to use; all of the run's if not given."""
    device: str = "cpu"
    """cpu, cuda, …"""
    timeout: float = 60.0
    """Seconds one file may take to decode."""
    max_failures: int = 0
    """More unreadable samples than this end the command with status 3."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    # A lone - is the name of stdin, which the parser would take for a flag.
    words = ["/dev/stdin" if word == "-" else word for word in argv]
    flags = parse(PredictArguments, "scfae predict", words, EXAMPLE)
    is_streaming = "/dev/stdin" in flags.media
    if is_streaming and len(flags.media) > 1:
        raise ConfigError("MEDIA: - stands alone; name files on its lines.")

    from scfae.train import predict

    answers: Iterator[dict[str, Any]] = predict(
        flags.run,
        _lines() if is_streaming else flags.media,
        device=flags.device,
        only=flags.only or None,
        timeout_s=flags.timeout,
        is_streaming=is_streaming,
    )
    failures = total = 0
    for line in answers:
        total += 1
        failures += "error" in line
        sys.stdout.write(json.dumps(line, ensure_ascii=False, allow_nan=False) + "\n")
        sys.stdout.flush()
    if failures:
        say(f"{failures} of {total} samples could not be read")
    return 3 if failures > flags.max_failures else 0


def _lines() -> Iterator[Any]:
    from scfae.train.media_inputs import parse_line

    for line in sys.stdin:
        if line.strip():
            yield parse_line(line)
