"""Write a store, or a part of it, as a folder in another file format.

```
OUT/
  columns/COLUMN/shard-00017.h5      zarr, webdataset, hdf5: a file a shard
  columns/COLUMN.npz                 npz, parquet: a file a column
  joined/shard-00017.tar             all columns side by side: webdataset; parquet: joined.parquet
  fates/COLUMN.jsonl                 each sample's length, status, reason and media digest
  samples.parquet                    the sample table
  scfae-export.json                  written last: columns with provenance, checksums of all files
```
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..atomic import TEMPORARY, atomic_file, clean_temporaries, write_atomic
from ..config import digest
from ..errors import ConfigError, StoreError
from ..lock import LOCK_NAME, FolderLock
from ..store import FeatureStore
from .fates import fates_file
from .forms import form_of
from .manifest import (
    EXPORT_FILE,
    FORMS,
    JOINED_FORMS,
    SAMPLES_FILE,
    ExportedColumn,
    ExportedFile,
    Form,
    Manifest,
    check_files,
    is_export,
    read_manifest,
    write_manifest,
)
from .pieces import JOURNAL_FILE, Journal, Piece
from .source import ColumnSource, Source

Progress = Callable[[int, int, str], None]


def export(
    store: FeatureStore | str | Path,
    out: str | Path,
    *,
    to: Form,
    columns: Sequence[str] = (),
    split: str | None = None,
    joined: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Write columns of a store as a folder; run it again to complete what was cut off.

    Args:
        store: An open store, its folder or URL.
        out: A folder that is empty, does not exist, or holds a part of this very export.
        to: File format.
        columns: Names of columns; empty is all.
        split: Only samples of this split; None is all.
        joined: All columns side by side in one file (parquet) or one file a shard (webdataset).
        progress: Called with files done, files of the export, and the file at hand.

    Returns:
        What was exported, as JSON values: `path`, `form`, `samples`, `columns` with rows, `files`,
        `bytes`, and how many files were `written` now.

    Raises:
        ConfigError: If the form is unknown or cannot be joined.
        UnknownColumn: If there is no such column or split.
        StoreError: If `out` holds something else.
        CorruptShard: If a shard of the store is damaged; nothing of it is exported.
    """
    if to not in FORMS:
        raise ConfigError(f"to: there is no form '{to}'; forms: {', '.join(FORMS)}.")
    if joined and to not in JOINED_FORMS:
        raise ConfigError(f"joined: only {' and '.join(JOINED_FORMS)} join columns, not {to}.")
    store = store if isinstance(store, FeatureStore) else FeatureStore.open(store)
    root = Path(out).expanduser()
    if root.resolve().is_relative_to(store.path.resolve()):
        raise ConfigError(f"out: {root} lies inside the store; give a folder outside of it.")
    source = Source(store, columns, split=split)
    form = form_of(to, joined=joined)
    pieces = [*form.pieces(source), *_common(source)]
    plan = _plan(source, to, joined=joined)
    content = digest({"plan": plan, "pieces": [[one.file, one.source] for one in pieces]})
    _check_out(root)
    root.mkdir(parents=True, exist_ok=True)
    with FolderLock(root, f"export {root}"):
        clean_temporaries(root)
        if is_export(root):
            manifest = _finished(root, content)
            written = 0
        else:
            journal = Journal(root, plan)
            files: dict[str, ExportedFile] = {}
            written = 0
            for number, piece in enumerate(pieces):
                if progress is not None:
                    progress(number, len(pieces), piece.file)
                files[piece.file], is_new = journal.make(piece)
                written += is_new
            if progress is not None:
                progress(len(pieces), len(pieces), EXPORT_FILE)
            manifest = _manifest(source, to, joined=joined, plan=plan, content=content, files=files)
            write_manifest(root, manifest)
        (root / JOURNAL_FILE).unlink(missing_ok=True)
    return _report(root, manifest, source, written)


def _check_out(root: Path) -> None:
    if root.exists() and not root.is_dir():
        raise StoreError(f"{root} is a file; give a folder to export into.")
    if not root.exists() or is_export(root) or (root / JOURNAL_FILE).exists():
        return
    names = {entry.name for entry in root.iterdir() if not entry.name.startswith(TEMPORARY)}
    if names - {LOCK_NAME}:
        raise StoreError(f"{root} is not empty and no export of ours; give another folder.")


def _finished(root: Path, content: str) -> Manifest:
    manifest = read_manifest(root)
    if manifest.content != content:
        raise StoreError(
            f"{root} is a finished export of something else, or of another state of the store; "
            "remove it, or give another folder."
        )
    check_files(root, manifest, manifest.files)
    return manifest


def _common(source: Source) -> Iterator[Piece]:
    for column in source.columns:
        mark = source.mark([column], range(source.num_shards))
        yield Piece(fates_file(column.info.name), mark, _fates_writer(source, column))
    yield Piece(SAMPLES_FILE, source.table_sha256, lambda path: write_atomic(path, source.table))


def _fates_writer(source: Source, column: ColumnSource) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with atomic_file(path) as file:
            for shard in source.shards():
                fates = source.fates(column, shard)
                if fates is not None:
                    file.write(fates.line())

    return write


def _plan(source: Source, to: Form, *, joined: bool) -> str:
    return digest(
        {
            "form": to,
            "joined": joined,
            "split": source.split,
            "columns": [column.info.model_dump(mode="json") for column in source.columns],
            "samples": source.table_sha256,
        }
    )


def _manifest(
    source: Source,
    to: Form,
    *,
    joined: bool,
    plan: str,
    content: str,
    files: dict[str, ExportedFile],
) -> Manifest:
    return Manifest(
        form=to,
        joined=joined,
        split=source.split,
        plan=plan,
        content=content,
        num_samples=len(source.samples),
        num_shards=source.num_shards,
        shard_size=source.samples.shard_size,
        seed=source.samples.seed,
        columns=[ExportedColumn(key=one.key, info=one.info) for one in source.columns],
        files=files,
    )


def _report(root: Path, manifest: Manifest, source: Source, written: int) -> dict[str, Any]:
    return {
        "path": str(root),
        "form": manifest.form,
        "joined": manifest.joined,
        "split": manifest.split,
        "samples": manifest.num_samples,
        "shards": manifest.num_shards,
        "columns": {
            one.info.name: {
                "key": one.key,
                "rows": one.rows,
                "shards_not_extracted": manifest.num_shards - len(one.marks),
            }
            for one in source.columns
        },
        "files": len(manifest.files),
        "bytes": sum(file.bytes for file in manifest.files.values()),
        "written": written,
    }
