"""`scfae store migrate`: write a store's documents anew in the format of today."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .arguments import parse, print_json

EXAMPLE = """\
  scfae store migrate features/

A store of an older version is read as it is; this only spares later versions of scfae the work.
"""


@dataclass(frozen=True)
class MigrateArguments:
    """Bring the documents of a store to the format of this scfae; features stay as they are."""

    store: Annotated[str, tyro.conf.Positional]
    """The feature store's folder; one behind a URL is read as it is."""
    json: bool = False
    """The files that were written, as one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(MigrateArguments, "scfae store migrate", argv, EXAMPLE)
    from scfae.store.errors import ConfigError
    from scfae.store.header import read_header
    from scfae.store.migration import FORMAT_VERSION, migrate

    if "://" in flags.store:
        raise ConfigError(
            f"store: {flags.store} is a URL, and only a folder is migrated: a store of an older "
            "version is read there as it is, or migrate a local copy and copy that back."
        )
    folder = Path(flags.store)
    read_header(folder)  # says what is wrong where it is no store
    written = migrate(folder)
    if flags.json:
        print_json({"format_version": FORMAT_VERSION, "written": written})
        return 0
    for file in written:
        print(f"wrote {file}")
    print(f"{flags.store} has format version {FORMAT_VERSION}")
    return 0
