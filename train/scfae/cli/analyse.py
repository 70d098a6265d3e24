"""`scfae analyse`: how the task's gradient and the auxiliary losses' meet at each modality."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .arguments import parse, print_json

EXAMPLE = """\
  scfae analyse runs/first
  scfae analyse runs/first --batches 200 --json
"""


@dataclass(frozen=True)
class AnalyseArguments:
    """Gradients of a run's selected model at each modality, over batches of its training split.

    At each: the norm of the task's gradient, its cosine with that of the auxiliary losses as they
    are weighted, and the share of batches where that is below 0. They are taken at the modality's
    linear map, where the run trains one, else at the features. Kept as gradients.json in the run.
    """

    run: Annotated[Path, tyro.conf.Positional]
    """The run folder."""
    batches: int = 50
    """Training batches to take."""
    device: str = "cpu"
    """Where the model runs: cpu, cuda or auto."""
    json: bool = False
    """The figures as one JSON document on stdout."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(AnalyseArguments, "scfae analyse", argv, EXAMPLE)

    from scfae.train.gradients import analyse_gradients

    found = analyse_gradients(flags.run, num_batches=flags.batches, device=flags.device)
    if flags.json:
        print_json({name: one.as_dict() for name, one in found.items()})
        return 0
    rows = [("", "taken at", "task norm", "auxiliary norm", "cosine", "below 0", "batches")]
    for name, one in found.items():
        cosine = "none" if one.cosine is None else f"{one.cosine:+.3f}"
        cosine += "" if one.cosine_sd is None else f" ± {one.cosine_sd:.3f}"
        share = "none" if one.negative_share is None else f"{one.negative_share:.2f}"
        norms = (f"{one.task_norm:.4g}", f"{one.auxiliary_norm:.4g}")
        rows.append((name, one.at, *norms, cosine, share, str(one.num_batches)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    return 0
