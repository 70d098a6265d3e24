"""Runs that differ only in their seed are one figure: mean and standard deviation over seeds.

The deviation is the sample's (divided by n - 1): how far one more seed would lie from the mean, not
how well the mean is known.
"""

import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .config import RunConfig
from .runs import EVALUATION_FILE, RunFolder


@dataclass(frozen=True, slots=True)
class OverSeeds:
    """One figure over seeds.

    Attributes:
        mean: None where no run has a value.
        sd: Sample standard deviation; None for fewer than two values.
        n: Runs that have a value.
    """

    mean: float | None
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "OverSeeds":
        """Return mean and deviation of the values that there are."""
        known = [value for value in values if value is not None and math.isfinite(value)]
        return cls(
            statistics.fmean(known) if known else None,
            statistics.stdev(known) if len(known) > 1 else None,
            len(known),
        )

    def text(self) -> str:
        """Return `0.873 ± 0.012`, or what of it there is."""
        if self.mean is None:
            return "\N{EN DASH}"
        return f"{self.mean:.3f}" + ("" if self.sd is None else f" ± {self.sd:.3f}")

    def as_dict(self) -> dict[str, Any]:
        """Return the figure as plain JSON values."""
        return asdict(self)


def interval_of_mean(values: Sequence[float]) -> tuple[float, float] | None:
    """Return the 95 % interval of a mean by Student's t; None of fewer than two values."""
    from scipy import stats  # it takes a while to import

    if len(values) < 2:
        return None
    mean, error = statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))
    reach = float(stats.t.ppf(0.975, len(values) - 1)) * error
    return mean - reach, mean + reach


def p_of_mean(values: Sequence[float]) -> float | None:
    """Return the two-sided p that a mean is 0, by Student's t; None where values do not vary."""
    from scipy import stats

    if len(values) < 2 or statistics.stdev(values) == 0:
        return None
    return float(stats.ttest_1samp(values, 0.0).pvalue)


def same_but_for_seed(runs: Sequence[RunFolder]) -> list[list[int]]:
    """Return the places of the runs, those together that differ in nothing but the seed."""
    return same_configs([run.config for run in runs])


def same_configs(configs: Sequence[RunConfig]) -> list[list[int]]:
    """Return the places of the configs, those together that differ in nothing but the seed."""
    groups: dict[str, list[int]] = {}
    for place, config in enumerate(configs):
        groups.setdefault(config.with_loop(seed=0, run="run", trackers=()).yaml(), []).append(place)
    return list(groups.values())


def common_name(names: Sequence[str]) -> str:
    """Return the name of runs of a sweep without its seed, or all names."""
    without = {re.sub(r"(^|[,/])seed=\d+$", "", name) for name in names}
    only = without.pop()
    return ", ".join(names) if without or not only else only


def figures_over_seeds(
    evaluations: Sequence[Mapping[str, Any]],
) -> dict[str, dict[str, OverSeeds]]:
    """Return every condition's figures over runs that differ only in their seed.

    Args:
        evaluations: As `scfae evaluate` keeps them.
    """
    if not evaluations:
        return {}
    conditions = dict.fromkeys(name for one in evaluations for name in one["conditions"])
    return {
        condition: {
            metric: OverSeeds.of(
                one["conditions"].get(condition, {}).get(metric) for one in evaluations
            )
            for metric in evaluations[0]["metrics"]
        }
        for condition in conditions
    }


def over_seeds(paths: Sequence[str | Path]) -> list[dict[str, Any]]:
    """Return of evaluated runs those that differ only in their seed, with figures over seeds.

    Args:
        paths: Run folders.

    Returns:
        `{"runs": [path, ...], "conditions": {condition: {metric: {"mean", "sd", "n"}}}}` for
        each group of two runs or more.
    """
    runs = [RunFolder(path) for path in paths]
    found = []
    for group in same_but_for_seed(runs):
        if len(group) > 1:
            evaluations = [runs[place].read(EVALUATION_FILE) for place in group]
            figures = figures_over_seeds(evaluations)
            found.append(
                {
                    "runs": [str(runs[place].path) for place in group],
                    "conditions": {
                        condition: {metric: one.as_dict() for metric, one in by_metric.items()}
                        for condition, by_metric in figures.items()
                    },
                }
            )
    return found
