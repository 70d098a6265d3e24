"""`scfae store import` of what `scfae store export` wrote: a store again, equal in every bit."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from .arguments import parse, print_json
from .interrupt import resumable
from .progress import Progress

EXAMPLE = """\
  scfae store import features-hdf5/ features/
  scfae store import features-hdf5/ features/ --columns ge2e

Run the same command again after a crash: it goes on where it stopped.
"""


@dataclass(frozen=True)
class RestoreArguments:
    """Make a store of an export again, or add its columns to a store of the same samples."""

    source: Annotated[Path, tyro.conf.Positional]
    """A folder that `scfae store export` wrote."""
    store: Annotated[str, tyro.conf.Positional]
    """The feature store; made if there is none."""
    columns: Annotated[tuple[str, ...], tyro.conf.arg(metavar="COLUMN …")] = ()
    """Columns to take; all if not given."""
    json: bool = False
    """As one JSON document."""


def is_meant(argv: Sequence[str]) -> bool:
    """Return whether the words of `scfae store import` name an export."""
    from scfae.store.exchange import is_export

    return any(is_export(word) for word in argv if word and not word.startswith("-"))


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(RestoreArguments, "scfae store import", argv, EXAMPLE)

    from scfae.store.exchange import restore

    with resumable(flags.store), Progress("import", "shards") as progress:
        report = restore(flags.source, flags.store, flags.columns, progress=progress)
    if flags.json:
        print_json(report)
    else:
        print(_text(report))
    return 0


def _text(report: dict[str, Any]) -> str:
    lines = [f"{report['store']}: {report['samples']} samples of {report['export']}"]
    for name, column in report["columns"].items():
        kept = f", {column['kept']} were there already" if column["kept"] else ""
        lines.append(f"  {name}: {column['rows']} rows, {column['shards']} shards written{kept}")
    return "\n".join(lines)
