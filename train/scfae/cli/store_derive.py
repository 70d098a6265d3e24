"""`scfae store derive`: a column computed from another one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from .arguments import parse, print_json, say
from .progress import Progress

EXAMPLE = """\
  scfae store derive features/ r2plus1d-18 --as r2plus1d-mean --pool mean
  scfae store derive features/ ge2e --as ge2e-small --resample r2plus1d-18 --pca 64

The new column knows its parents: `scfae store info` says when one of them has changed, and the same
command with --replace mends it. It resumes by itself. --layer is for imported columns that hold
several layers side by side; an encoder's column holds one layer, chosen when it is extracted.
"""


@dataclass(frozen=True)
class DeriveArguments:
    """Compute a column from another: layer, resample, pool, project, dtype, in this order."""

    store: Annotated[str, tyro.conf.Positional]
    """The feature store: a folder or a URL."""
    column: Annotated[str, tyro.conf.Positional]
    """The column to compute from."""
    name: Annotated[str, tyro.conf.arg(name="as", metavar="NAME")]
    """Name of the new column."""
    layer: int | None = None
    """Keep this one of --layers equal blocks of a row, counted from 0."""
    layers: int | None = None
    """How many blocks a row has."""
    resample: Annotated[str | None, tyro.conf.arg(metavar="OTHER_COLUMN")] = None
    """Take this column's times: the mean of the rows that overlap each, else the nearest."""
    pool: Literal["mean", "max", "std", "mean+std"] | None = None
    """One row a sample."""
    pca: Annotated[int | None, tyro.conf.arg(metavar="K")] = None
    """K principal components, fitted on --fit-split only."""
    project: Annotated[int | None, tyro.conf.arg(metavar="K")] = None
    """K random projections, which look at no data."""
    fit_split: str = "train"
    """The split that --pca is fitted on."""
    seed: int = 0
    """Seed of --project."""
    dtype: Literal["float32", "float16"] | None = None
    """How the rows are stored; as those of COLUMN if not given."""
    format: Literal["zarr", "zarr-zstd", "zarr-dir", "webdataset", "hdf5"] | None = None
    """File format of the shards; as those of COLUMN if not given."""
    replace: bool = False
    """Replace a column of this name that was made differently, or is stale."""
    json: bool = False
    """The report as one JSON document on stdout."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(DeriveArguments, "scfae store derive", argv, EXAMPLE)
    from scfae.store import Chain, FeatureStore, derive

    chain = Chain.create(
        layer=flags.layer,
        layers=flags.layers,
        resample=flags.resample,
        pool=flags.pool,
        pca=flags.pca,
        project=flags.project,
        fit_split=flags.fit_split,
        seed=flags.seed,
        dtype=flags.dtype,
    )
    store = FeatureStore.open(flags.store)
    with Progress("derive", "shards") as progress:
        report = derive(
            store,
            flags.column,
            flags.name,
            chain,
            replace=flags.replace,
            form=flags.format,
            progress=progress,
        )
    facts = "".join(f", {key} {value}" for key, value in report.facts.items())
    say(
        f"{report.column}: {report.encoder}, {report.dim} features a row, "
        f"{report.shards_done} of {report.shards} shards written now{facts}"
    )
    if flags.json:
        print_json(report.as_dict())
    return 0
