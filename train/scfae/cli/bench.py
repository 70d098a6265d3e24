"""`scfae bench ACTION`: side by side, as ratios in one run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from scfae.store.errors import ConfigError

from .arguments import dispatch, parse, print_json, say


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


@dataclass(frozen=True)
class FusionArguments:
    """Time SCFAE beside its own matrix products, batched branches, and every fusion method.

    Prints which promised ratios were reached, and each method's parameters, operations and times
    beside SCFAE's. The status is 0 also where one was missed: a benchmark says what it measured.
    """

    rounds: int = 5
    """How often each is run; the best time counts."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where to run."""
    methods: bool = True
    """Whether to measure every method too (about two minutes on two cores)."""
    batch_size: int = 512
    """Samples in a batch of SCFAE beside its matrix products."""
    json: bool = False
    """As one JSON document."""


def _fusion(argv: Sequence[str]) -> int:
    flags = parse(FusionArguments, "scfae bench fusion", argv, "  scfae bench fusion --rounds 5")
    for name in ("rounds", "batch_size"):
        if getattr(flags, name) < 1:
            option = name.replace("_", "-")
            raise ConfigError(f"{option}: must be at least 1, not {getattr(flags, name)}")
    from scfae.bench.fusion import measure
    from scfae.extract.device import choose_device

    choose_device(flags.device, where=f"--device {flags.device}")
    result = measure(
        flags.rounds,
        device=flags.device,
        methods=flags.methods,
        batch_size=flags.batch_size,
        say=say,
    )
    if flags.json:
        print_json(result.to_json())
    else:
        print(result.to_text())
    return 0


@dataclass(frozen=True)
class TrainArguments:
    """Measure the trainer beside a bare loop on tensors in memory and the machine's limit.

    SCFAE on two modalities of 512 features, batches of 512, on the CPU. Prints which promised
    ratios were reached, and a step's cost as modalities, features, time steps and samples grow. The
    status is 0 also where one was missed: a benchmark says what it measured.
    """

    samples: int = 4096
    """Samples to train on; a store of four times as many is written too."""
    rounds: int = 3
    """Epochs of each way; the best counts."""
    folder: Path | None = None
    """Where to write the stores for the run; by default the system's folder for temporaries."""
    json: bool = False
    """As one JSON document."""


def _train(argv: Sequence[str]) -> int:
    flags = parse(TrainArguments, "scfae bench train", argv, "  scfae bench train --rounds 3")
    from scfae.bench.training import BATCH_SIZE, measure

    if flags.samples < BATCH_SIZE:
        raise ConfigError(f"samples: must be at least {BATCH_SIZE}, not {flags.samples}")
    if flags.rounds < 1:
        raise ConfigError(f"rounds: must be at least 1, not {flags.rounds}")
    result = measure(flags.samples, flags.rounds, folder=flags.folder, say=say)
    if flags.json:
        print_json(result.to_json())
    else:
        print(result.to_text())
    return 0


ACTIONS = {"extract": _extract, "fusion": _fusion, "loader": _loader, "train": _train}

USAGE = """\
usage: scfae bench {extract|fusion|loader|train} [--json]

  extract the engine against decoding once plus the bare forward passes, and against decoding
          anew for each encoder

  loader  the store's reader and stream against a raw memory map, webdataset, LitData,
          Mosaic Streaming and zarr-python; peers come with: pip install 'scfae[bench]'
  fusion  SCFAE against its own bare matrix products, its branches batched, and what every fusion
          method costs beside it
  train   the trainer against a bare loop on tensors in memory and the limit of matrix products,
          and what a step costs as modalities, features, time steps and samples grow

example:
  scfae bench loader --samples 6000 --rounds 5
  scfae bench fusion --rounds 5
"""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    return dispatch("scfae bench", argv, ACTIONS, USAGE)
