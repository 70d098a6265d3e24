"""`scfae compare`: runs side by side, each against the first, by a paired bootstrap."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from scfae.store.errors import ConfigError

from .arguments import parse, print_json

EXAMPLE = """\
  scfae compare runs/first runs/second
  scfae compare runs/first runs/second runs/third --bootstrap 5000 --json
"""


@dataclass(frozen=True)
class CompareArguments:
    """Differences of evaluated runs to the first of them, on the same resamples of test samples."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders (or sweeps, for their runs), evaluated, of the same task and label; the first is
    what others differ from."""
    bootstrap: int = 1000
    """Resamples behind intervals and p."""
    json: bool = False
    """The differences as one JSON document on stdout."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(CompareArguments, "scfae compare", argv, EXAMPLE)

    from scfae.train import compare_runs, named_runs, over_seeds

    runs = named_runs(flags.runs)
    if len(runs) < 2:
        raise ConfigError("compare: name at least two run folders.")
    first, *others = runs
    seeds = over_seeds(runs)
    found = {str(other): compare_runs(first, other, resamples=flags.bootstrap) for other in others}
    if flags.json:
        document: dict[str, Any] = {
            name: {
                condition: {metric: one.as_dict() for metric, one in by_metric.items()}
                for condition, by_metric in conditions.items()
            }
            for name, conditions in found.items()
        }
        print_json({"first": str(first), "differences": document, "over_seeds": seeds})
        return 0
    for name, conditions in found.items():
        print(f"{name} minus {first}, with 95 % interval and p of a paired bootstrap")
        for condition, by_metric in conditions.items():
            for metric, one in by_metric.items():
                if one.difference is None or one.interval is None:
                    print(f"  {condition}  {metric}: undefined")
                    continue
                print(
                    f"  {condition}  {metric}: {one.first:.3f} -> {one.second:.3f}, "
                    f"{one.difference:+.3f} [{one.interval[0]:+.3f}, {one.interval[1]:+.3f}], "
                    f"p {one.p:.3f}, n {one.n}"
                )
    for group in seeds:
        print(f"over the seeds of {', '.join(group['runs'])}: mean and standard deviation")
        for condition, figures in group["conditions"].items():
            for metric, over in figures.items():
                if over["mean"] is not None and over["sd"] is not None:
                    print(f"  {condition}  {metric}: {over['mean']:.3f} ± {over['sd']:.3f}")
    return 0
