"""`scfae probe`: what each encoder that a run has trained is worth by itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from .arguments import parse, print_json
from .pairs import Pairs

if TYPE_CHECKING:
    from scfae.train.encoder_probes import Change

EXAMPLE = """\
  scfae probe runs/joint
  scfae probe runs/joint --alone video=runs/video-alone audio=runs/audio-alone
"""


@dataclass(frozen=True)
class ProbeArguments:
    """A linear probe of each encoder (or adapter) that a run has trained, the fusion taken away.

    With --alone, what joint training did to each: its probe minus that of a run which trained the
    same encoder with nothing to fuse. Kept as encoder_probes.json and degradation.json in the run.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """The run folder."""
    alone: Pairs = ()
    """Run that trained the encoder of a modality alone, e.g. video=runs/video-alone."""
    device: str = "cpu"
    """Where the encoders run: cpu, cuda or auto."""
    bootstrap: int = 1000
    """Resamples behind each 95 % interval; 0 leaves intervals out."""
    json: bool = False
    """The figures as one JSON document on stdout."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(ProbeArguments, "scfae probe", argv, EXAMPLE)

    from scfae.train.encoder_probes import COMPARED, degradation, probe_encoders

    runs = [flags.run, *(Path(path) for _, path in flags.alone)]
    probes = [probe_encoders(one, device=flags.device, bootstrap=flags.bootstrap) for one in runs]
    changes: dict[str, dict[str, Change]] = {}
    if flags.alone:
        changes = degradation(flags.run, dict(flags.alone), bootstrap=flags.bootstrap)
    if flags.json:
        found = {
            modality: {
                "probe": probe.as_dict(),
                "change": {k: one.as_dict() for k, one in changes.get(modality, {}).items()},
            }
            for modality, probe in probes[0].items()
        }
        print_json(found)
        return 0
    for modality, probe in probes[0].items():
        for name in COMPARED:
            value, ends = probe.metrics[name], probe.intervals[name]
            print(f"{modality:<12}  {name:<10}{_cell(value, ends)}  of {probe.n} test samples")
        for name, one in changes.get(modality, {}).items():
            print(f"{'':<12}  {name:<10}{_cell(one.delta, one.interval, '+')}  joint minus alone")
    return 0


def _cell(value: float | None, ends: tuple[float, float] | None, sign: str = "") -> str:
    if value is None:
        return "undefined"
    interval = "" if ends is None else f" [{ends[0]:{sign}.3f}, {ends[1]:{sign}.3f}]"
    return f"{value:{sign}.3f}{interval}"
