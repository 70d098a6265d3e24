"""`scfae store ACTION`: what a store holds, and what can be done with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import tyro

from scfae.store import FeatureStore

from . import (
    store_columns,
    store_derive,
    store_diff,
    store_export,
    store_gc,
    store_import,
    store_migrate,
    store_verify,
)
from .arguments import dispatch, parse, print_json


@dataclass(frozen=True)
class InfoArguments:
    """Say what a store holds: samples, splits, labels, columns and who made them."""

    store: Annotated[str, tyro.conf.Positional]
    """The feature store: a folder or a URL."""
    json: bool = False
    """As one JSON document."""


@dataclass(frozen=True)
class StatusArguments:
    """Say how each sample fared in each column: ok, partial, missing or failed, and why."""

    store: Annotated[str, tyro.conf.Positional]
    """The feature store: a folder or a URL."""
    json: bool = False
    """As one JSON document, with a row for every input."""


def _info(argv: Sequence[str]) -> int:
    flags = parse(InfoArguments, "scfae store info", argv, "  scfae store info features/")
    from scfae.store.report import info, info_text

    store = FeatureStore.open(flags.store)
    if flags.json:
        print_json(info(store))
    else:
        print(info_text(store))
    return 0


def _status(argv: Sequence[str]) -> int:
    flags = parse(StatusArguments, "scfae store status", argv, "  scfae store status features/")
    from scfae.store.report import status, status_text

    store = FeatureStore.open(flags.store)
    if flags.json:
        print_json(status(store))
    else:
        print(status_text(store))
    return 0


ACTIONS = {
    "info": _info,
    "status": _status,
    "verify": store_verify.run,
    "diff": store_diff.run,
    "derive": store_derive.run,
    "rename": store_columns.rename,
    "drop": store_columns.drop,
    "gc": store_gc.run,
    "migrate": store_migrate.run,
    "import": store_import.run,
    "export": store_export.run,
}

USAGE = """\
usage: scfae store ACTION STORE …

  info    samples, splits, labels, columns: encoder, weights, dim, rows
  status  each sample's fate in each column: ok, partial, missing or failed, and why
  verify  re-read every file against its checksum; --repair has damaged shards made again
  diff    two columns side by side: who made them, and how far their rows agree
  derive  a column computed from another: pooled, projected, resampled, in another dtype
  rename  give a column another name
  drop    remove a column
  gc      remove what nothing refers to any more
  migrate write the documents of an older store in the format of today
  import  SOURCE STORE: a column from features made elsewhere (.npy, .npz, .pt, .h5, .mat, …),
          or a store again of what export wrote
  export  STORE OUT --to FORM: as webdataset, hdf5, npz, parquet or zarr, with all provenance

example:
  scfae store status features/ --json
"""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    return dispatch("scfae store", argv, ACTIONS, USAGE)
