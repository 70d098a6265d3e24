"""The list of inputs: a folder of media, or a manifest in CSV, JSON lines or Parquet."""

import csv
import difflib
import itertools
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scfae.store.errors import ManifestError
from scfae.store.sample_row import Label, typed_labels

from .files import printable
from .texts import MediaSource, text_source

EXTENSIONS: Final[dict[str, frozenset[str]]] = {
    "video": frozenset(
        (".mp4", ".mkv", ".webm", ".avi", ".mov", ".ts", ".m4v", ".mpg", ".mpeg", ".flv", ".wmv")
    ),
    "audio": frozenset((".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac")),
    "image": frozenset((".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".gif")),
}
MEDIA_COLUMNS: Final = ("video", "audio", "image", "text")
MANIFESTS: Final = (".csv", ".jsonl", ".parquet")
_RESERVED = ("id", *MEDIA_COLUMNS, "split", "group")
_SPLIT_FOLDERS = {"train": "train", "val": "val", "valid": "val", "test": "test"}
_MAX_FIELD_CHARS = 1 << 20


@dataclass(frozen=True, slots=True)
class MediaItem:
    """One input sample.

    Attributes:
        id: Its id.
        media: Path by kind of media; for `text` a path, or the text itself.
        paths: What the manifest says, by kind; relative to the manifest or folder.
        split: train, val, test or any name; None if not given.
        group: Samples of one group stay in one split: speaker, identity, dialogue.
        labels: Label by name; None where it is not given.
    """

    id: str
    media: Mapping[str, MediaSource]
    paths: Mapping[str, str]
    split: str | None = None
    group: str | None = None
    labels: Mapping[str, Label] = field(default_factory=dict)


def media_kind(path: str | Path) -> str | None:
    """Return video, audio or image by a file's extension, None for anything else."""
    suffix = Path(path).suffix.lower()
    return next((kind for kind, known in EXTENSIONS.items() if suffix in known), None)


def read_inputs(path: str | Path) -> list[MediaItem]:
    """Return the samples of a folder or a manifest.

    In a folder, files are searched at every depth; those that share folder and stem are one sample
    (`a.mp4` and `a.png`), and first-level folders named train, val, valid or test give the split.
    Files named in a manifest need not be there: each is accounted for when it is decoded.

    Raises:
        ManifestError: If there is nothing to read, or a row cannot be used; the message names the
            file, the row and what to do.
    """
    path = Path(path)
    if path.is_dir():
        return _read_folder(path)
    if not path.exists():
        raise ManifestError(
            f"{path}: no such file or folder; give a folder of media or a manifest "
            f"({', '.join(MANIFESTS)})."
        )
    suffix = path.suffix.lower()
    if suffix not in MANIFESTS:
        raise ManifestError(
            f"{path}: not a folder and not a manifest; a manifest ends in {', '.join(MANIFESTS)}."
        )
    return _items(path, list(_rows(path, suffix)))


def _read_folder(folder: Path) -> list[MediaItem]:
    files: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted(folder.rglob("*")):
        kind = media_kind(file)
        relative = file.relative_to(folder)
        if kind is None or any(part.startswith(".") for part in relative.parts):
            continue
        files[str(relative.with_suffix(""))][kind].append(relative)
    if not files:
        known = " ".join(suffix for kind in EXTENSIONS.values() for suffix in sorted(kind))
        raise ManifestError(f"{folder}: no media in this folder; files that count: {known}.")
    items = []
    for stem, by_kind in files.items():
        if any(len(paths) > 1 for paths in by_kind.values()):
            # a.mp4 beside a.mkv: which of them goes with a.png is not ours to guess.
            alone = sorted((path, kind) for kind, paths in by_kind.items() for path in paths)
            items += [_folder_item(folder, str(path), {kind: path}) for path, kind in alone]
        else:
            media = {kind: paths[0] for kind, paths in by_kind.items()}
            items.append(_folder_item(folder, stem, media))
    items.sort(key=lambda item: item.id)
    for item, following in itertools.pairwise(items):
        if item.id == following.id:  # a.mp4 beside a.mkv, and a.mp4.wav
            names = ", ".join(sorted([*item.paths.values(), *following.paths.values()]))
            raise ManifestError(
                f"{folder}: two samples would have the id '{item.id}' ({names}); rename one of "
                "the files, or write a manifest."
            )
    return items


def _folder_item(folder: Path, name: str, media: Mapping[str, Path]) -> MediaItem:
    # A name may be any bytes, an id is text.
    first = Path(name).parts[0] if len(Path(name).parts) > 1 else ""
    return MediaItem(
        id=printable(name),
        media={kind: folder / path for kind, path in media.items()},
        paths={kind: printable(str(path)) for kind, path in media.items()},
        split=_SPLIT_FOLDERS.get(first.lower()),
    )


def _rows(path: Path, suffix: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row number as an editor counts it, row)."""
    try:
        if suffix == ".csv":
            yield from _csv_rows(path)
        elif suffix == ".jsonl":
            yield from _json_rows(path)
        else:
            import pyarrow.parquet

            table = pyarrow.parquet.ParquetFile(path, pre_buffer=False).read(use_threads=False)
            yield from enumerate(table.to_pylist(), start=1)
    except UnicodeDecodeError as error:
        raise ManifestError(
            f"{path}: is not UTF-8 text ({error.reason} at byte {error.start}); save it as UTF-8."
        ) from None
    except (csv.Error, OSError) as error:
        raise ManifestError(f"{path}: cannot be read ({error}).") from None
    except ValueError as error:
        if isinstance(error, ManifestError):
            raise
        raise ManifestError(f"{path}: cannot be read ({error}).") from None


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(_MAX_FIELD_CHARS)
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        names = reader.fieldnames or []
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ManifestError(f"{path}: the column '{repeated[0]}' is there twice.")
        if len(names) == 1 and (other := next((c for c in ";\t|" if c in names[0]), None)):
            name = {"\t": "tabs"}.get(other, f"'{other}'")
            raise ManifestError(f"{path}: its fields are separated by {name}; use commas.")
        for row in reader:
            if None in row or None in row.values():
                raise ManifestError(
                    f"{path}, line {reader.line_num}: has another number of fields than the "
                    f"header, which has {len(names)}; quote fields that hold commas."
                )
            yield reader.line_num, row


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ManifestError(f"{path}, line {number}: not JSON ({error.msg}).") from None
            if not isinstance(row, dict):
                raise ManifestError(f"{path}, line {number}: must be a JSON object.")
            yield number, row


def _items(path: Path, rows: list[tuple[int, dict[str, Any]]]) -> list[MediaItem]:
    if not rows:
        raise ManifestError(f"{path}: has no rows.")
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    _check_names(path, names)
    label_names = [name for name in names if name not in _RESERVED]
    labels = {name: typed_labels([row.get(name) for _, row in rows], _text) for name in label_names}
    seen: dict[str, int] = {}
    items = []
    for i, (number, row) in enumerate(rows):
        name = _text(row.get("id"))
        if name is None:
            raise ManifestError(f"{path}, line {number}: the id is empty; every sample needs one.")
        if "\0" in name:
            raise ManifestError(f"{path}, line {number}: the id holds a NUL byte; take it out.")
        if name in seen:
            raise ManifestError(
                f"{path}, line {number}: the id '{name}' is that of line {seen[name]} too; "
                "ids must differ."
            )
        seen[name] = number
        paths = {kind: text for kind in MEDIA_COLUMNS if (text := _text(row.get(kind)))}
        items.append(
            MediaItem(
                id=name,
                media={
                    kind: text_source(path.parent, text) if kind == "text" else path.parent / text
                    for kind, text in paths.items()
                },
                paths=paths,
                split=_text(row.get("split")),
                group=_text(row.get("group")),
                labels={label: values[i] for label, values in labels.items()},
            )
        )
    return items


def _check_names(path: Path, names: list[str]) -> None:
    for name in names:
        if name in _RESERVED:
            continue
        near = difflib.get_close_matches(name.lower(), _RESERVED, n=1, cutoff=0.75)
        if near and near[0] not in names:
            raise ManifestError(
                f"{path}: unknown column '{name}'. Did you mean '{near[0]}'? "
                "(A label may have any name that is not nearly one of "
                f"{', '.join(_RESERVED)}.)"
            )
    if "id" not in names:
        raise ManifestError(f"{path}: has no column 'id'; its columns: {', '.join(names)}.")
    if not set(names) & set(MEDIA_COLUMNS):
        raise ManifestError(
            f"{path}: has none of the columns {', '.join(MEDIA_COLUMNS)}; "
            f"its columns: {', '.join(names)}."
        )


def _text(value: Any) -> str | None:
    text = "" if value is None else str(value).strip()
    return text or None
