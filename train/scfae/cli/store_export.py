"""`scfae store export`: columns of a store as files that other programs open."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from .arguments import parse, print_json
from .interrupt import resumable
from .progress import Progress

EXAMPLE = """\
  scfae store export features/ features-hdf5/ --to hdf5
  scfae store export features/ audio/ --to npz --columns ge2e
  scfae store export features/ tars/ --to webdataset --joined --split train
  scfae store import features-hdf5/ again/          # a store again, equal in every bit

scfae-export.json, written last, says where every column comes from and what the bytes of every
file must be. Run the same command again after a crash: it goes on where it stopped.
"""


@dataclass(frozen=True)
class ExportArguments:
    """Write columns of a store as files that other programs open, with all that is known of it."""

    store: Annotated[str, tyro.conf.Positional]
    """The feature store: a folder or a URL."""
    out: Annotated[Path, tyro.conf.Positional]
    """A folder that is empty or does not exist."""
    to: Literal["webdataset", "hdf5", "npz", "parquet", "zarr", "zarr-zstd", "zarr-dir"]
    """npz, parquet: a file a column; the others: a file (zarr-dir: a folder) a shard and column."""
    columns: Annotated[tuple[str, ...], tyro.conf.arg(metavar="COLUMN …")] = ()
    """Columns to export; all if not given."""
    split: str | None = None
    """Only samples of this split."""
    joined: bool = False
    """All columns of a sample side by side: one file a shard (webdataset), or one (parquet)."""
    json: bool = False
    """As one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(ExportArguments, "scfae store export", argv, EXAMPLE)

    from scfae.store.exchange import export

    with resumable(flags.out, "files"), Progress("export", "files") as progress:
        report = export(
            flags.store,
            flags.out,
            to=flags.to,
            columns=flags.columns,
            split=flags.split,
            joined=flags.joined,
            progress=progress,
        )
    if flags.json:
        print_json(report)
    else:
        print(_text(report))
    return 0


def _text(report: dict[str, Any]) -> str:
    kept = report["files"] - report["written"]
    lines = [
        f"{report['path']}: {report['samples']} samples as {report['form']}, "
        f"{report['files']} files, {report['bytes'] / 1e6:.1f} MB"
        + (f" ({kept} were there already)" if kept else "")
    ]
    for name, column in report["columns"].items():
        missing = column["shards_not_extracted"]
        lines.append(
            f"  {name}: {column['rows']} rows"
            + (f"; {missing} of {report['shards']} shards not extracted yet" if missing else "")
        )
    return "\n".join(lines)
