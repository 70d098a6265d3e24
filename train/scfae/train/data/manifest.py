"""Samples written as a manifest that `scfae extract` reads: CSV, paths relative to the file."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from scfae.store import SampleRow
from scfae.store.atomic import write_atomic
from scfae.store.errors import ConfigError, ManifestError

_MEDIA = ("video", "audio", "image", "text")


def write_manifest(path: Path, rows: Sequence[SampleRow], root: Path) -> None:
    """Write samples as a manifest, atomically; the same samples give the same bytes.

    Args:
        path: The `.csv` to write; its folder must be there.
        rows: The samples; their media are relative to `root`.
        root: The data set's folder.

    Raises:
        ConfigError: If the path is no `.csv` or its folder is not there.
        ManifestError: If there is no sample.
    """
    check_manifest_path(path)
    if not rows:
        raise ManifestError(f"{root}: nothing in it became a sample; see what was skipped.")
    labels = sorted({name for row in rows for name in row.labels})
    media = [kind for kind in _MEDIA if any(kind in row.media for row in rows)]
    from_here = Path(os.path.relpath(root.resolve(), path.resolve().parent))
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["id", *media, "split", "group", *labels])
    for row in sorted(rows, key=lambda row: row.id):
        files = [str(from_here / row.media[kind]) if kind in row.media else "" for kind in media]
        values = [row.labels.get(name) for name in labels]
        writer.writerow(
            [row.id, *files, row.split or "", row.group or ""]
            + ["" if value is None else value for value in values]
        )
    write_atomic(path, buffer.getvalue().encode())


def check_manifest_path(path: Path) -> None:
    """Check that a manifest can be written there, before anything long begins.

    Raises:
        ConfigError: If the path is no `.csv` or its folder is not there.
    """
    if path.suffix.lower() != ".csv":
        raise ConfigError(f"MANIFEST: {path} must end in .csv.")
    if not path.resolve().parent.is_dir():
        raise ConfigError(f"MANIFEST: there is no folder {path.resolve().parent} to write it in.")
