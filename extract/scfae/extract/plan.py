"""What is to be extracted, (shard x missing columns), and which file of a sample feeds which one.

A shard of a column is done when its receipt has the wanted fingerprint for the wanted media, by
content; nothing else counts. So media are hashed, each file once, where a receipt says done.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import metadata

import numpy as np

from scfae.store import ColumnInfo, FeatureStore, SampleRow, column_name
from scfae.store.column import DType
from scfae.store.container import Format
from scfae.store.errors import ConfigError
from scfae.store.receipt import Receipt

from .compute import Compute
from .decoders import DecoderName, rules, versions
from .encoder import Encoder
from .manifest import MediaItem
from .media import media_sha256
from .recipe import MediaKind, Recipe
from .texts import MediaSource

_HASHING_THREADS = 4
_LARGE_SHARD_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One column to fill.

    Attributes:
        encoder: Who fills it.
        info: What it is.
    """

    encoder: Encoder
    info: ColumnInfo

    def source(self, item: MediaItem) -> tuple[MediaKind, MediaSource] | None:
        """Return which of a sample's files feeds the column, and read as what; None if none does.

        The sound of a video counts as sound; of several files, the encoder's preferred kind.
        """
        for kind in self.encoder.spec.accepts:
            if kind in item.media:
                reads: MediaKind = "audio" if self.encoder.spec.modality == "audio" else kind
                return reads, item.media[kind]
        return None


def sample_files(
    item: MediaItem, columns: Mapping[str, ColumnPlan], names: Sequence[str]
) -> dict[MediaSource, dict[str, Recipe]]:
    """Return the files of a sample that feed some columns, each with the recipes of those it feeds.

    Args:
        item: The sample.
        columns: Every wanted column by name.
        names: Those to feed.
    """
    files: dict[MediaSource, dict[str, Recipe]] = {}
    for name in names:
        source = columns[name].source(item)
        if source is not None:
            kind, path = source
            files.setdefault(path, {})[name] = columns[name].encoder.recipe(kind)
    return files


@dataclass(slots=True)
class Work:
    """What is left to do.

    Attributes:
        columns: Every wanted column by name.
        shards: For each shard with something to do, the names of its missing columns.
        outdated: Receipts, by column and shard, that are there and do not count.
        notices: What a person should know, one sentence each.
    """

    columns: dict[str, ColumnPlan]
    shards: dict[int, list[str]] = field(default_factory=dict)
    outdated: dict[tuple[str, int], Receipt] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


def plan_columns(
    encoders: Sequence[Encoder],
    *,
    dtype: DType,
    form: Format = "zarr",
    column_as: str | None,
    batch_size: int,
    threads: int,
    compute: Compute | None = None,
    device: str | None = None,
    decoder: DecoderName = "pyav",
) -> dict[str, ColumnPlan]:
    """Return the column of each encoder by name.

    Args:
        encoders: Loaded ones.
        dtype: Of the stored rows.
        form: File format of the shards.
        column_as: Name of the column, for a single encoder.
        batch_size: Windows a forward pass.
        threads: CPU threads of a forward pass.
        compute: How networks are computed.
        device: Kind of device that will do it, if not the one the encoders are on now.
        decoder: Who decodes the pictures of videos.

    Raises:
        ConfigError: If two encoders would fill one column.
    """
    if column_as is not None and len(encoders) != 1:
        raise ConfigError(f"--as {column_as}: names one column, but {len(encoders)} are asked for.")
    columns: dict[str, ColumnPlan] = {}
    compute = compute or Compute()
    for encoder in encoders:
        spec = encoder.spec
        place = device or encoder.device.type
        name = column_as or column_name(spec.canonical)
        if name in columns:
            raise ConfigError(
                f"two encoders would fill the column '{name}'; run them one by one, the second "
                "with --as NEW_NAME."
            )
        info = ColumnInfo.create(
            name,
            spec.modality,
            encoder=spec.canonical,
            dim=spec.dim,
            dtype=encoder.stored_as or dtype,
            format=form,
            weights=spec.weights,
            weights_sha256=spec.weights_sha256,
            is_random=spec.is_random,
            recipe=rules(spec.modality, decoder) | spec.recipe | compute.recipe(place),
            options=spec.options,
            rows_per_second=spec.rows_per_second,
            licence=spec.licence,
            versions={package: metadata.version(package) for package in spec.packages}
            | versions(spec.modality, decoder),
            compute={"device": place, "batch_size": batch_size, "threads": threads}
            | compute.record(),
        )
        columns[name] = ColumnPlan(encoder, info)
    return columns


def sample_rows(items: Sequence[MediaItem]) -> list[SampleRow]:
    """Return the inputs as rows of the sample table."""
    return [
        SampleRow(
            id=item.id, media=item.paths, split=item.split, group=item.group, labels=item.labels
        )
        for item in items
    ]


def plan_work(
    store: FeatureStore,
    columns: Mapping[str, ColumnPlan],
    items: Mapping[str, MediaItem],
    *,
    retry_failed: bool,
    replace: bool,
) -> Work:
    """Return what is left to do in a store.

    Args:
        store: With all the inputs among its samples.
        columns: The wanted columns by name.
        items: The inputs by id.
        retry_failed: Count shards with failed inputs as not done.
        replace: A column that was made differently is thrown away.

    Raises:
        FingerprintMismatch: If a column was made differently, and `replace` is not set.
    """
    work = Work(dict(columns))
    hashes = _MediaHashes()
    for name, plan in columns.items():
        missing = set(store.add_column(plan.info, replace=replace).missing_shards())
        changed: set[int] = set()
        failed: set[int] = set()
        for shard in sorted(set(range(store.samples.num_shards)) - missing):
            receipt = store.column(name).receipt(shard)
            if receipt is None:
                continue
            paths = _paths(store, plan, items, shard)
            found = zip(
                paths, hashes(list(paths.values())), receipt.media, receipt.status, strict=True
            )
            # Of samples that are no inputs now, nothing can have changed and nothing is retried.
            inputs = [(now, was, fate) for one, now, was, fate in found if one in items]
            if any(now != was for now, was, _ in inputs):
                changed.add(shard)
                work.outdated[name, shard] = receipt
            elif retry_failed and any(fate == "failed" for _, _, fate in inputs):
                failed.add(shard)
                work.outdated[name, shard] = receipt
        if changed:
            work.notices.append(
                f"{name}: the media of {len(changed)} shards have changed; extracted anew"
            )
        for shard in missing | changed | failed:
            work.shards.setdefault(shard, []).append(name)
    work.notices += [*_other_formats(store, columns), *_mixed_kinds(columns, items)]
    work.notices += _wide_rows(columns, store.samples.shard_size)
    work.shards = dict(sorted(work.shards.items()))
    return work


class _MediaHashes:
    """Digests of media files, each file read once."""

    def __init__(self) -> None:
        self._known: dict[MediaSource, str | None] = {}

    def __call__(self, paths: Sequence[MediaSource | None]) -> list[str | None]:
        new = sorted({path for path in paths if path is not None} - set(self._known), key=str)
        with ThreadPoolExecutor(_HASHING_THREADS) as threads:
            self._known.update(zip(new, threads.map(media_sha256, new), strict=True))
        return [None if path is None else self._known[path] for path in paths]


def _paths(
    store: FeatureStore, plan: ColumnPlan, items: Mapping[str, MediaItem], shard: int
) -> dict[str, MediaSource | None]:
    """Return the file that feeds the column for each sample of a shard, by id."""
    paths: dict[str, MediaSource | None] = {}
    for index in store.samples.rows_of(shard):
        name = str(store.samples.ids[index])
        source = plan.source(items[name]) if name in items else None
        paths[name] = None if source is None else source[1]
    return paths


def _other_formats(store: FeatureStore, columns: Mapping[str, ColumnPlan]) -> list[str]:
    there = store.columns
    return [
        f"{name}: stays in {there[name].format}, as it was begun, and not in {plan.info.format}; "
        "--as NEW_NAME makes another column"
        for name, plan in columns.items()
        if name in there
        and there[name].fingerprint == plan.info.fingerprint
        and there[name].format != plan.info.format
    ]


def _wide_rows(columns: Mapping[str, ColumnPlan], shard_size: int) -> list[str]:
    """Return what to say of columns whose shards, which are made in memory, are large."""
    notices = []
    for name, plan in columns.items():
        row_bytes = plan.info.dim * np.dtype(plan.info.dtype).itemsize
        if row_bytes * shard_size > _LARGE_SHARD_BYTES:
            fitting = max(1, _LARGE_SHARD_BYTES // row_bytes)
            notices.append(
                f"{name}: a row is {row_bytes / 1e6:.1f} MB, so a shard of {shard_size} samples is "
                f"{row_bytes * shard_size / 1e9:.1f} GB for each row that a sample has, and is "
                f"twice in memory while it is made; a new store takes --shard-size {fitting}"
            )
    return notices


def _mixed_kinds(columns: Mapping[str, ColumnPlan], items: Mapping[str, MediaItem]) -> list[str]:
    notices = []
    for name, plan in columns.items():
        accepts = plan.encoder.spec.accepts
        both = sum(all(kind in item.media for kind in accepts) for item in items.values())
        if plan.encoder.spec.modality != "audio" and len(accepts) > 1 and both:
            notices.append(
                f"{name}: {both} samples have {' and '.join(accepts)}; it reads the {accepts[0]}. "
                f"For the other: -e {plan.encoder.spec.name}:modality={accepts[1]}"
            )
    return notices
