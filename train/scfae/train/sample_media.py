"""Where the media of a run's samples are: the references of its store, and the folder they are in.

References are relative to the manifest, and a store does not know where that lies. Without
`--media-root` they are looked for beside the store, where most of them are found: in the folder
that it is in, in the folders of that, and in the current one. That a file is the one whose features
were trained on is told by its digest.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from scfae.extract.texts import InlineText, MediaSource, text_source
from scfae.store import ColumnInfo, FeatureStore
from scfae.store.errors import ConfigError, ScfaeError

from .runs import RunFolder

KINDS: Final = ("video", "audio", "image", "text")
_MOST_FOLDERS: Final = 100


@dataclass(frozen=True, slots=True)
class SampleMedia:
    """The media of one sample.

    Attributes:
        sources: File or text by kind of media, as far as the sample has such.
        sha256s: Digests of the files that its features were made of, by kind; none where that is
            not known.
    """

    sources: Mapping[str, MediaSource] = field(default_factory=dict)
    sha256s: Mapping[str, frozenset[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FoundMedia:
    """The media of some samples.

    Attributes:
        samples: By id; those that the store does not know are not in it.
        note: Why there are none at all, or where they were found; None needs no word.
    """

    samples: Mapping[str, SampleMedia] = field(default_factory=dict)
    note: str | None = None


def find_media(run: RunFolder, ids: Iterable[str], root: Path | None = None) -> FoundMedia:
    """Return the media of some samples of a run.

    Args:
        run: The run; its store is opened, and may be gone.
        ids: Samples.
        root: What references are relative to; None looks for it.

    Raises:
        ConfigError: If `root` is no folder.
    """
    if root is not None and not root.is_dir():
        raise ConfigError(f"--media-root {root}: there is no such folder.")
    where = run.config.data.store
    try:
        store = FeatureStore.open(where)
        references = _references(store, sorted(set(ids)))
        digests = _digests(store, run, references)
    except (ScfaeError, OSError) as error:
        return FoundMedia(note=f"Shown without media: the store cannot be read ({error}).")
    if not any(references.values()):
        return FoundMedia(
            note="Shown without media: the store names none, its features came alone."
        )
    relative = [
        text
        for one in references.values()
        for kind, text in one.items()
        if kind != "text" and not Path(text).is_absolute()
    ]
    folder = root or _folder(store, relative)
    samples = {}
    for name, one in references.items():
        sources: dict[str, MediaSource] = {
            kind: text_source(folder, text) if kind == "text" else folder / text
            for kind, text in one.items()
        }
        samples[name] = SampleMedia(sources, digests[name])
    is_lost = relative and not any((folder / one).is_file() for one in relative)
    note = None
    if is_lost:
        place = root or f"beside {where}"
        note = (
            f"None of the media was found in {place}; scfae report --media-root names its folder."
        )
    return FoundMedia(samples, note)


def is_encoded(info: ColumnInfo) -> bool:
    """Return whether a column's rows were made of media by an encoder here."""
    return not info.encoder.startswith(("imported:", "derived:"))


def kinds_read(info: ColumnInfo) -> tuple[str, ...]:
    """Return the kinds of media that a column's encoder reads: of each sample the first there is.

    Encoders of pictures prefer a video to a still, unless their option `modality` says otherwise;
    those of sound prefer a sound to a video.
    """
    if "modality" in info.options:
        return (str(info.options["modality"]),)
    prefer = {"image": ("video", "image"), "audio": ("audio", "video")}
    return prefer.get(info.modality, (info.modality,))


def is_inline(source: MediaSource) -> bool:
    """Return whether a source is a text that is no file."""
    return isinstance(source, InlineText)


def _references(store: FeatureStore, ids: Sequence[str]) -> dict[str, dict[str, str]]:
    samples = store.samples
    rows = np.flatnonzero(np.isin(samples.ids, np.array(ids, dtype=np.str_)))
    media = {kind: samples.media(kind) for kind in KINDS}
    return {
        str(samples.ids[row]): {
            kind: str(values[row]) for kind, values in media.items() if values[row] is not None
        }
        for row in rows
    }


def _digests(
    store: FeatureStore, run: RunFolder, references: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, frozenset[str]]]:
    """Return what receipts say of the files behind the run's columns, by sample and kind."""
    samples = store.samples
    names = list(references)
    rows = {
        str(samples.ids[row]): int(row)
        for row in np.flatnonzero(np.isin(samples.ids, np.array(names, dtype=np.str_)))
    }
    found: dict[str, dict[str, frozenset[str]]] = {name: {} for name in names}
    there = store.columns
    for info in run.columns.values():
        if not is_encoded(info):
            continue  # a digest is not that of a media file
        now = there.get(info.name)
        if now is None or now.fingerprint != info.fingerprint:
            continue
        column = store.column(info.name)
        for name, row in rows.items():
            shard = int(samples.shard_of[row])
            receipt = column.receipt(shard)
            digest = None if receipt is None else receipt.media[row - samples.rows_of(shard).start]
            kind = next((one for one in kinds_read(info) if one in references[name]), None)
            if digest is not None and kind is not None:
                found[name][kind] = found[name].get(kind, frozenset()) | {digest}
    return found


def _folder(store: FeatureStore, references: Sequence[str]) -> Path:
    """Return where most of the references are found; the first of equals."""
    candidates = [Path()]
    if store.is_local:
        beside = Path(store.url).absolute().parent
        inside = sorted(one for one in beside.iterdir() if one.is_dir()) if beside.is_dir() else []
        candidates = [beside, *inside[:_MOST_FOLDERS], Path()]
    counts = [sum((folder / one).is_file() for one in references) for folder in candidates]
    return candidates[int(np.argmax(counts))]
