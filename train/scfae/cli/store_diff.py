"""`scfae store diff`: two columns side by side."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from .arguments import parse, print_json


@dataclass(frozen=True)
class DiffArguments:
    """Compare two columns: who made them, each sample's fate, and their rows where dims agree."""

    store: Annotated[str, tyro.conf.Positional]
    """The feature store: a folder or a URL."""
    column_a: Annotated[str, tyro.conf.Positional]
    """A column."""
    column_b: Annotated[str, tyro.conf.Positional]
    """Another."""
    json: bool = False
    """As one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    example = "  scfae store diff features/ ge2e ge2e-float16"
    flags = parse(DiffArguments, "scfae store diff", argv, example)
    from scfae.store import FeatureStore, compare_columns
    from scfae.store.comparison import comparison_text

    report = compare_columns(FeatureStore.open(flags.store), flags.column_a, flags.column_b)
    if flags.json:
        print_json(report)
    else:
        print(comparison_text(report))
    return 0
