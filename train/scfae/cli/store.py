"""`scfae store info|status|verify`: what a store holds, and whether it is whole."""

import difflib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from scfae.store import FeatureStore
from scfae.store.errors import ConfigError

from .arguments import parse, print_json


@dataclass(frozen=True)
class InfoArguments:
    """Say what a store holds: samples, splits, labels, columns and who made them."""

    store: Annotated[Path, tyro.conf.Positional]
    """The feature store."""
    json: bool = False
    """As one JSON document."""


@dataclass(frozen=True)
class StatusArguments:
    """Say how each sample fared in each column: ok, partial, missing or failed, and why."""

    store: Annotated[Path, tyro.conf.Positional]
    """The feature store."""
    json: bool = False
    """As one JSON document, with a row for every input."""


@dataclass(frozen=True)
class VerifyArguments:
    """Read everything again and compare with the checksums; status 1 when something is damaged."""

    store: Annotated[Path, tyro.conf.Positional]
    """The feature store."""
    json: bool = False
    """As one JSON document."""


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


def _verify(argv: Sequence[str]) -> int:
    flags = parse(VerifyArguments, "scfae store verify", argv, "  scfae store verify features/")
    from scfae.store import verify

    damage = verify(flags.store)
    if flags.json:
        print_json({"ok": not damage, "damage": [asdict(one) for one in damage]})
    elif damage:
        for one in damage:
            print(f"column {one.column}, shard {one.shard}, {one.file}: {one.what}")
    else:
        print(f"{flags.store}: every file agrees with its checksum")
    return 1 if damage else 0


def _export(argv: Sequence[str]) -> int:
    from .store_export import run as run_export

    return run_export(argv)


def _import(argv: Sequence[str]) -> int:
    from .store_restore import run as run_restore

    return run_restore(argv)


ACTIONS = {
    "info": _info,
    "status": _status,
    "verify": _verify,
    "export": _export,
    "import": _import,
}

USAGE = """\
usage: scfae store {info|status|verify|export|import} STORE [--json]

  info    samples, splits, labels, columns: encoder, weights, dim, rows
  status  each sample's fate in each column: ok, partial, missing or failed, and why
  verify  re-read every file against its checksum; status 1 when something is damaged
  export  STORE OUT --to FORM: as webdataset, hdf5, npz, parquet or zarr, with all provenance
  import  SOURCE STORE: a store again of what export wrote, equal in every bit

example:
  scfae store status features/ --json
"""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if argv else 2
    if argv[0] not in ACTIONS:
        near = difflib.get_close_matches(argv[0], ACTIONS, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ConfigError(
            f"scfae store has no action '{argv[0]}'.{hint} Actions: {', '.join(ACTIONS)}."
        )
    return ACTIONS[argv[0]](argv[1:])
