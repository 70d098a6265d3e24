"""All that is settled before the first shard: inputs, encoders, the store, and what is missing."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from scfae.store import FeatureStore

from .manifest import MediaItem, read_inputs
from .opening import open_store
from .plan import ColumnPlan, Work, plan_columns, plan_work
from .registry import load_encoders
from .settings import SHARD_SIZE, ExtractSettings


@dataclass(frozen=True, slots=True)
class Prepared:
    """An extraction that may begin.

    Attributes:
        settings: What was asked for.
        items: The inputs by id.
        store: With all the inputs among its samples; None where a dry run found none.
        work: What is left to do.
    """

    settings: ExtractSettings
    items: Mapping[str, MediaItem]
    store: FeatureStore | None
    work: Work


def prepare(
    settings: ExtractSettings,
    *,
    device: str,
    kind_of_device: str | None = None,
    dry_run: bool = False,
) -> Prepared:
    """Check everything, load the encoders, open or make the store, and plan.

    Args:
        settings: What is asked for.
        device: Where to put the encoders.
        kind_of_device: Where others will do the work, if not there.
        dry_run: Touch nothing.

    Raises:
        ManifestError: If there is nothing to read or a row cannot be used.
        UnknownEncoder, WeightsUnavailable, WeightsMismatch: If an encoder cannot be loaded.
        ConfigError: If a setting does not fit.
        FingerprintMismatch: If a column is there and was made differently.
    """
    settings.check()
    items = {item.id: item for item in read_inputs(settings.media)}
    columns = load_columns(settings, device=device, kind_of_device=kind_of_device)
    store, known = open_store(
        settings.store, items, shard_size=settings.shard_size, dry_run=dry_run
    )
    if store is None:
        return Prepared(settings, items, None, Work(columns))
    work = plan_work(
        store,
        columns,
        items,
        retry_failed=settings.retry_failed,
        replace=settings.replace,
    )
    if known is not None and settings.shard_size not in (known, SHARD_SIZE):
        work.notices.append(
            f"{settings.store} has shards of {known} samples; --shard-size is for new ones"
        )
    return Prepared(settings, items, store, work)


def prepare_part(settings: ExtractSettings, *, device: str) -> Prepared:
    """Load encoders and open a store that another process has planned for; nothing is written.

    Args:
        settings: What is asked for.
        device: Where to put the encoders.

    Returns:
        Without shards: the other process says which.
    """
    items = {item.id: item for item in read_inputs(settings.media)}
    columns = load_columns(settings, device=device)
    return Prepared(settings, items, FeatureStore.open(settings.store), Work(columns))


def load_columns(
    settings: ExtractSettings, *, device: str, kind_of_device: str | None = None
) -> dict[str, ColumnPlan]:
    """Return the wanted columns by name, with their encoders loaded onto a device.

    Args:
        settings: What is asked for.
        device: Where to put the encoders.
        kind_of_device: Where others will compute the rows, if not there.

    Raises:
        UnknownEncoder, WeightsUnavailable, WeightsMismatch: If an encoder cannot be loaded.
        ConfigError: If a setting does not fit.
    """
    return plan_columns(
        [one for text in settings.encoders for one in load_encoders(text, device=device)],
        dtype=settings.dtype,
        form=settings.form,
        column_as=settings.column_as,
        batch_size=settings.batch_size,
        threads=torch.get_num_threads(),
        compute=settings.compute,
        decoder=settings.decoder,
        device=kind_of_device,
    )
