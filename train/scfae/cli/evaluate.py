"""`scfae evaluate`: a run's metrics for every subset of present modalities."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .arguments import parse, print_json, say
from .pairs import Pairs

EXAMPLE = """\
  scfae evaluate runs/first
  scfae evaluate runs/first --columns video=dinov3-vits16 --json
  scfae evaluate runs/first --missing-rates 0 0.1 0.3 0.5 0.7 --noise 0.5 1 --offsets-s 0.2 1
"""


@dataclass(frozen=True)
class EvaluateArguments:
    """Metrics of a run for every subset of present modalities, beside the majority class."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run folder."""
    split: str | None = None
    """Split to evaluate; the run's test split if not given."""
    columns: Pairs = ()
    """Swap columns of the same width, e.g. video=OTHER."""
    device: str = "cpu"
    """cpu, cuda, …"""
    bootstrap: int = 1000
    """Resamples behind each 95 % interval."""
    missing_rates: tuple[float, ...] = ()
    """Also hide each modality from so large a share of the samples, by masks stored in the run."""
    noise: tuple[float, ...] = ()
    """Also add noise of so many standard deviations to one modality, and to all."""
    offsets_s: tuple[float, ...] = ()
    """Also let one modality come so many seconds late against the others."""
    skip_probes: bool = False
    """Leave out the linear models of each modality alone."""
    json: bool = False
    """The evaluation as one JSON document on stdout."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(EvaluateArguments, "scfae evaluate", argv, EXAMPLE)

    from scfae.train import evaluate, write_report

    evaluation = evaluate(
        flags.run,
        split=flags.split,
        columns=dict(flags.columns) or None,
        device=flags.device,
        bootstrap=flags.bootstrap,
        probes=not flags.skip_probes,
        missing_rates=flags.missing_rates,
        noise=flags.noise,
        offsets_s=flags.offsets_s,
    )
    if flags.json:
        print_json(evaluation.as_dict())
    else:
        print(evaluation.text())
    if not flags.columns and flags.split is None:
        say(f"report: {write_report(flags.run)}")
    return 0
