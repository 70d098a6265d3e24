"""`scfae store gc`: remove what nothing refers to."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import tyro

from scfae.store.errors import ConfigError

from .arguments import parse, print_json

EXAMPLE = """\
  scfae store gc features/                       # says what would go
  scfae store gc features/ --grace 12h --delete
"""
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@dataclass(frozen=True)
class GcArguments:
    """Find what nothing refers to; what a run pins, a writer holds, or is young stays."""

    store: Annotated[str, tyro.conf.Positional]
    """The feature store: a folder or a URL."""
    grace: Annotated[str, tyro.conf.arg(metavar="TIME")] = "1d"
    """Nothing touched within this time goes: 90s, 30m, 12h, 1d; 0 only if nobody writes."""
    delete: bool = False
    """Remove it; without this nothing is removed."""
    json: bool = False
    """As one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(GcArguments, "scfae store gc", argv, EXAMPLE)
    from scfae.store import FeatureStore, collect_garbage

    store = FeatureStore.open(flags.store)
    sweep = collect_garbage(store, grace_s=seconds(flags.grace), is_deleting=flags.delete)
    if flags.json:
        print_json({**asdict(sweep), "bytes": sweep.bytes})
        return 0
    verb = "removed" if flags.delete else "would remove"
    for one in sweep.garbage:
        print(f"{verb} {one.file}: {one.why}")
    for kept in sweep.kept:
        print(f"kept {kept.file}: {kept.why}")
    for orphan in sweep.orphans:
        print(f"kept {orphan.file}: {orphan.why}, so it cannot be derived again")
    print(f"{verb} {len(sweep.garbage)} files and folders, {sweep.bytes / 1e6:.1f} MB")
    return 0


def seconds(text: str) -> float:
    """Return a duration in seconds.

    >>> seconds("12h")
    43200.0

    Raises:
        ConfigError: If it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None or (not match[2] and float(match[1])):
        raise ConfigError(f"--grace: {text!r} is no time; write 90s, 30m, 12h or 1d.")
    return float(match[1]) * _UNITS_S[match[2] or "s"]
