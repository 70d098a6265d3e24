"""`scfae store rename` and `scfae store drop`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from .arguments import parse, say


@dataclass(frozen=True)
class RenameArguments:
    """Give a column another name; refused while a run needs it by the old one."""

    store: Annotated[str, tyro.conf.Positional]
    """The feature store: a folder or a URL."""
    old: Annotated[str, tyro.conf.Positional]
    """The column."""
    new: Annotated[str, tyro.conf.Positional]
    """Its name from now on."""


@dataclass(frozen=True)
class DropArguments:
    """Remove a column for good; refused while a run needs it."""

    store: Annotated[str, tyro.conf.Positional]
    """The feature store: a folder or a URL."""
    column: Annotated[str, tyro.conf.Positional]
    """The column."""
    yes: bool = False
    """Do it; without this nothing happens."""


def rename(argv: Sequence[str]) -> int:
    """Run `scfae store rename`; return its exit status."""
    example = "  scfae store rename features/ ge2e speakers"
    flags = parse(RenameArguments, "scfae store rename", argv, example)
    from scfae.store import FeatureStore

    FeatureStore.open(flags.store).rename_column(flags.old, flags.new)
    say(f"{flags.store}: column '{flags.old}' is called '{flags.new}' now")
    return 0


def drop(argv: Sequence[str]) -> int:
    """Run `scfae store drop`; return its exit status."""
    example = "  scfae store drop features/ ge2e --yes"
    flags = parse(DropArguments, "scfae store drop", argv, example)
    from scfae.store import FeatureStore
    from scfae.store.derivation import dependents
    from scfae.store.errors import ConfigError

    store = FeatureStore.open(flags.store)
    num_bytes = store.column_bytes(flags.column)
    if not flags.yes:
        raise ConfigError(
            f"--yes: give it to remove column '{flags.column}' of {flags.store} "
            f"({num_bytes / 1e6:.1f} MB) for good."
        )
    derived = dependents(store, flags.column)
    store.drop_column(flags.column)
    say(f"{flags.store}: column '{flags.column}' is gone, {num_bytes / 1e6:.1f} MB")
    for name in derived:
        say(f"column '{name}' was derived from it: it stays, but cannot be derived again")
    return 0
