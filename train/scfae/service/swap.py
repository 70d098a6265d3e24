"""Swapping a backbone: what another encoder would take, and the job that has it extracted.

The new encoder fills a column of its own beside the old one, so both can be trained. What is there
already is kept; the rest is estimated by `scfae extract --dry-run`, in a process of its own, since
that loads the encoder and decodes a few files.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from scfae.extract import list_encoders, parse_encoder
from scfae.extract.manifest import MANIFESTS, read_inputs
from scfae.extract.registry import find_entry
from scfae.store.config import Frozen
from scfae.store.errors import ConfigError, ManifestError, UnknownColumn

from .dry_runs import DryRuns
from .jobs import ExtractJob, JobRequest, read_request
from .queue import Queue
from .roots import Roots
from .store_search import rows_at
from .stores import OpenStore

_LOOKED_AT: Final = 20
_MOST_MANIFESTS: Final = 50


class Swap(Frozen):
    """What another encoder would take.

    Attributes:
        column: The column it stands beside.
        modality: Of both.
        dim: Features a row of that column, D.
        encoder: The new encoder's string.
        new_column: The column that it would fill.
        new_dim: Features a row of the new one; None if that is known only when it is loaded.
        is_random: Its weights are noise.
        media: Folder or manifest that it would read.
        num_samples: Of the store.
        shards_to_extract: What is missing.
        shards_kept: What is there already.
        num_files: Media files to decode.
        media_hours: Of sound and pictures that move, by a probe of a few files.
        num_clips: Windows to encode.
        feature_bytes: Of the rows that would be stored.
        seconds: Wall time on the server's machine.
        notices: What a person should know.
        request: What to post to /api/v1/runs.
        words: The same by hand.
    """

    column: str
    modality: str
    dim: int
    encoder: str
    new_column: str
    new_dim: int | None
    is_random: bool
    media: str
    num_samples: int
    shards_to_extract: int
    shards_kept: int
    num_files: int = 0
    media_hours: float = 0.0
    num_clips: int = 0
    feature_bytes: int = 0
    seconds: float = 0.0
    notices: tuple[str, ...] = ()
    request: JobRequest
    words: tuple[str, ...]


@dataclass(frozen=True)
class SwapAsk:
    """What is asked for.

    Attributes:
        column: The column to have another of.
        encoder: NAME[@WEIGHTS][:option=value,…].
        media: Folder or manifest; None looks for what the store was made of.
        device: Where the encoder would work: auto, cpu, cuda or cuda:N.
    """

    column: str
    encoder: str
    media: str | None = None
    device: str = "auto"


class Swapper:
    """Estimates swaps.

    Args:
        queue: The jobs, whose extractions tell what stores were made of.
        roots: What may be read.
        dry_runs: Where encoders are loaded.
    """

    def __init__(self, queue: Queue, roots: Roots, dry_runs: DryRuns) -> None:
        self._queue = queue
        self._roots = roots
        self._dry_runs = dry_runs

    def swap(self, opened: OpenStore, ask: SwapAsk) -> Swap:
        """Return what another encoder would take.

        Args:
            opened: The store.
            ask: Which column, and by which encoder.

        Raises:
            UnknownColumn: There is no such column.
            UnknownEncoder: There is no such encoder.
            ConfigError: The encoder is of another modality, cannot be loaded, or would fill a
                column that was made differently; or nothing is known of the media.
            ServiceBusy: Another estimate is being made.
        """
        if ask.column not in opened.columns:
            there = ", ".join(opened.columns) or "none"
            raise UnknownColumn(f"there is no column {ask.column!r}; its columns: {there}.")
        info = opened.columns[ask.column].info
        entry = find_entry(parse_encoder(ask.encoder).name)
        if not is_of(entry.modality, info.modality):
            fit = [one.name for one in list_encoders() if is_of(one.modality, info.modality)]
            raise ConfigError(
                f"encoder = {ask.encoder}: it is of {entry.modality}, and column {ask.column} of "
                f"{info.modality}; there are: {', '.join(fit) or 'none'}."
            )
        media = ask.media or media_of(self._queue, self._roots, opened)
        job = {
            "kind": "extract",
            "media": media,
            "store": str(opened.path),
            "encoders": [ask.encoder],
            "device": ask.device,
            "dtype": info.dtype,
        }
        name = f"{ask.column} by {ask.encoder}"[:200]
        request = read_request({"job": job, "name": name, "tags": ["swap"]})
        checked = request.checked(self._roots, self._queue.runs)
        words = checked.job.words(self._queue.folder)
        # Of what the store has, it need not say that it stays.
        size = str(opened.store.samples.shard_size)
        report = self._dry_runs.report([*words, "--shard-size", size])
        ((new_column, facts),) = _one_column(report)
        foreseen = report["estimate"] or {}
        return Swap(
            column=ask.column,
            modality=info.modality,
            dim=info.dim,
            encoder=ask.encoder,
            new_column=new_column,
            new_dim=entry.dim or None,
            is_random=facts["is_random"],
            media=checked.job.media if isinstance(checked.job, ExtractJob) else media,
            num_samples=report["samples"],
            shards_to_extract=facts["shards_extracted"],
            shards_kept=facts["shards_kept"],
            num_files=foreseen.get("files", 0),
            media_hours=foreseen.get("media_hours", 0.0),
            num_clips=foreseen.get("clips", 0),
            feature_bytes=foreseen.get("feature_bytes", 0),
            seconds=foreseen.get("seconds", 0.0),
            notices=tuple(report["notices"]),
            request=checked,
            words=("scfae", *words),
        )


def is_of(encoder: str, column: str) -> bool:
    """Return whether an encoder's modality can stand for a column's: of pictures, still or not."""
    sight = ("image", "video")
    return encoder == column or (encoder in sight and column in sight)


def media_of(queue: Queue, roots: Roots, opened: OpenStore) -> str:
    """Return the folder or manifest that a store was made of.

    That of the last extraction into it that was a job here; else a folder or a manifest under a
    media root that has the ids of its samples.

    Raises:
        ConfigError: There is none.
    """
    for record in queue.page(kinds=("extract",), q=str(opened.path), limit=20).jobs:
        job = queue.job(record.id).submitted().request.job
        if (
            isinstance(job, ExtractJob)
            and job.store == str(opened.path)
            and Path(job.media).exists()
        ):
            return job.media
    samples = opened.store.samples
    rows = rows_at(opened, np.arange(min(len(samples), _LOOKED_AT)))
    for folder in _folders(roots):
        is_named = [
            any(
                str(Path(text).with_suffix("")) == row.id and (folder / text).is_file()
                for kind, text in row.media.items()
                if kind != "text"
            )
            for row in rows
        ]
        if all(is_named):
            return str(folder)
    for manifest in _manifests(roots):
        try:
            ids = {item.id for item in read_inputs(manifest)}
        except ManifestError:
            continue
        if ids.issuperset(row.id for row in rows):
            return str(manifest)
    raise ConfigError(
        "media: nothing under the media roots has the samples of this store; name the folder or "
        "manifest that it was made of."
    )


def _folders(roots: Roots) -> list[Path]:
    tops = [Path(root).resolve() for root in roots.media if Path(root).is_dir()]
    return [*tops, *(one for top in tops for one in sorted(top.iterdir()) if one.is_dir())]


def _manifests(roots: Roots) -> list[Path]:
    found = [
        path
        for folder in _folders(roots)
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in MANIFESTS and path.is_file()
    ]
    return found[:_MOST_MANIFESTS]


def _one_column(report: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    columns = list(report["columns"].items())
    if len(columns) != 1:
        names = ", ".join(name for name, _ in columns)
        raise ConfigError(f"encoder: it is {len(columns)} encoders ({names}); name one of them.")
    return columns
