"""`scfae bench loader`: side by side with the peers, as ratios in one run."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from scfae.store.errors import ConfigError

from .arguments import parse, print_json, say


@dataclass(frozen=True)
class LoaderArguments:
    """Read ragged features with ours, a raw memory map and the peers, side by side.

    Prints how many times as fast as the memory map each is, and which promised ratios were reached.
    The status is 0 also where one was missed: a benchmark says what it measured.
    """

    samples: int = 6000
    """How many samples to read, about 110 KB each; each peer writes a copy of them."""
    rounds: int = 5
    """How often each loader reads everything; the best time counts."""
    folder: Path | None = None
    """Where to write the data for the run; by default the system's folder for temporaries."""
    json: bool = False
    """As one JSON document."""


def _loader(argv: Sequence[str]) -> int:
    flags = parse(LoaderArguments, "scfae bench loader", argv, "  scfae bench loader --rounds 5")
    for name in ("samples", "rounds"):
        if getattr(flags, name) < 1:
            raise ConfigError(f"{name}: must be at least 1, not {getattr(flags, name)}")
    from scfae.bench.loader import measure

    result = measure(flags.samples, flags.rounds, folder=flags.folder, say=say)
    if flags.json:
        print_json(result.to_json())
    else:
        print(result.to_text())
    return 0


@dataclass(frozen=True)
class ExtractArguments:
    """Measure the extraction engine against the bare work it does, and one decode an encoder.

    Prints the seconds of each way and which promised ratios were reached. The status is 0 also
    where one was missed: a benchmark says what it measured.
    """

    clips: int = 48
    """How many clips of four seconds to make and extract."""
    rounds: int = 3
    """How often each way is taken; the best time counts."""
    encoder: Annotated[
        tuple[str, ...],
        tyro.conf.arg(aliases=["-e"], metavar="NAME[@WEIGHTS][:option=value,…]"),
        tyro.conf.UseAppendAction,
    ] = ()
    """An encoder, once for each, the last being the one that is added; three if not given."""
    folder: Path | None = None
    """Where to write the data for the run; by default the system's folder for temporaries."""
    json: bool = False
    """As one JSON document."""


def _extract(argv: Sequence[str]) -> int:
    flags = parse(ExtractArguments, "scfae bench extract", argv, "  scfae bench extract --rounds 3")
    for name in ("clips", "rounds"):
        if getattr(flags, name) < 1:
            raise ConfigError(f"{name}: must be at least 1, not {getattr(flags, name)}")
    if len(flags.encoder) == 1:
        raise ConfigError("encoder: give at least two, so that one can be added to the others")
    from scfae.bench.extract import ENCODERS, measure

    result = measure(
        flags.clips,
        flags.rounds,
        encoders=flags.encoder or ENCODERS,
        folder=flags.folder,
        say=say,
    )
    if flags.json:
        print_json(result.to_json())
    else:
        print(result.to_text())
    return 0


ACTIONS = {"extract": _extract, "loader": _loader}

USAGE = """\
usage: scfae bench {extract|loader} [--json]

  extract the engine against decoding once plus the bare forward passes, and against decoding
          anew for each encoder

  loader  the store's reader and stream against a raw memory map, webdataset, LitData,
          Mosaic Streaming and zarr-python; peers come with: pip install 'scfae[bench]'

example:
  scfae bench loader --samples 6000 --rounds 5
"""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if argv else 2
    if argv[0] not in ACTIONS:
        near = difflib.get_close_matches(argv[0], ACTIONS, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ConfigError(
            f"scfae bench has no action '{argv[0]}'.{hint} Actions: {', '.join(ACTIONS)}."
        )
    return ACTIONS[argv[0]](argv[1:])
