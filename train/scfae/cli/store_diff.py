"""`scfae store diff`: two columns side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from .arguments import parse, print_json


@dataclass(frozen=True)
class DiffArguments:
    """Compare two columns: who made them, coverage, and how alike their features are.

    Linear CKA and shared nearest neighbours compare columns of any dims; with --label a linear
    probe says how much each knows of it. Values are compared one by one where dims agree.
    """

    store: Annotated[str, tyro.conf.Positional]
    """The feature store: a folder or a URL."""
    column_a: Annotated[str, tyro.conf.Positional]
    """A column."""
    column_b: Annotated[str, tyro.conf.Positional]
    """Another."""
    label: str | None = None
    """A label of classes to fit a linear probe to, on samples that are not of the split test."""
    samples: int = 2000
    """Measure likeness on at most so many samples."""
    json: bool = False
    """As one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    example = "  scfae store diff features/ wavlm-base wavlm-large --label emotion"
    flags = parse(DiffArguments, "scfae store diff", argv, example)
    from scfae.store import FeatureStore, compare_columns
    from scfae.store.comparison import comparison_text
    from scfae.store.errors import ConfigError

    if flags.samples < 2:
        raise ConfigError(f"samples: must be at least 2, not {flags.samples}")
    if flags.column_a == flags.column_b:
        raise ConfigError(f"column_b: is {flags.column_a!r} too; name two columns to compare.")
    report = compare_columns(
        FeatureStore.open(flags.store),
        flags.column_a,
        flags.column_b,
        label=flags.label,
        most_samples=flags.samples,
    )
    if flags.json:
        print_json(report)
    else:
        print(comparison_text(report))
    return 0
