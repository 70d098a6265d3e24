"""What predictions are asked for: files, folders, manifests, or lines of JSON as they come."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scfae.extract import MediaItem, media_kind, read_inputs
from scfae.extract.manifest import MANIFESTS, MEDIA_COLUMNS
from scfae.extract.texts import TEXT_SUFFIX, MediaSource, text_source

_KEYS: Final = ("id", *MEDIA_COLUMNS)


@dataclass(frozen=True, slots=True)
class MediaInput:
    """One sample to answer.

    Attributes:
        label: What the answer begins with: `{"file": …}`, or `{"id": …, "files": {kind: path}}`.
        files: File or text by kind of media.
        error: Why it cannot be asked at all.
    """

    label: dict[str, Any]
    files: Mapping[str, MediaSource] = field(default_factory=dict)
    error: str | None = None


Media = str | Path | Mapping[str, Any] | MediaInput
"""A file, a folder or manifest, a mapping with `id` and files by kind, or what these become."""


def media_inputs(media: Iterable[Media]) -> Iterator[MediaInput]:
    """Yield the samples of files, folders, manifests and mappings, in order, as they come.

    Raises:
        ManifestError: If a folder or manifest cannot be used.
    """
    for one in media:
        if isinstance(one, MediaInput):
            yield one
        elif isinstance(one, Mapping):
            yield _of_mapping(one)
        elif _is_many(Path(one)):
            yield from map(_of_item, read_inputs(one))
        else:
            yield _of_file(Path(one))


def parse_line(line: str) -> MediaInput:
    """Return the sample of a line: a path, or a JSON object with id and files by kind."""
    text = line.strip()
    if not text.startswith("{"):
        return _of_file(Path(text))
    try:
        return _of_mapping(json.loads(text))
    except (ValueError, RecursionError) as error:
        return MediaInput({"input": text}, error=f"not a JSON object ({error})")


def _is_many(path: Path) -> bool:
    is_folder = media_kind(path) is None and path.is_dir()
    return is_folder or (path.suffix.lower() in MANIFESTS and path.is_file())


def _of_file(path: Path) -> MediaInput:
    kind = "text" if path.suffix.lower() == TEXT_SUFFIX else media_kind(path) or "video"
    return MediaInput({"file": str(path)}, {kind: path})


def _of_item(item: MediaItem) -> MediaInput:
    return MediaInput({"id": item.id, "files": dict(item.paths)}, dict(item.media))


def _of_mapping(given: Mapping[str, Any]) -> MediaInput:
    unknown = [key for key in given if key not in _KEYS]
    files = {kind: given[kind] for kind in MEDIA_COLUMNS if given.get(kind) is not None}
    label = {"id": given.get("id"), "files": files}
    if unknown:
        return MediaInput(label, error=f"unknown key '{unknown[0]}'; known are {', '.join(_KEYS)}")
    if not files or not all(isinstance(path, (str, Path)) for path in files.values()):
        return MediaInput(
            {"id": given.get("id")},
            error=f"names no file; give one of {', '.join(MEDIA_COLUMNS)} a path",
        )
    here = Path()
    sources = {
        kind: text_source(here, str(path)) if kind == "text" else Path(path)
        for kind, path in files.items()
    }
    return MediaInput(label | {"files": {kind: str(one) for kind, one in files.items()}}, sources)
