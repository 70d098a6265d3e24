"""Extractions of a few small files, and what is read off their stores."""

from functools import partial
from pathlib import Path

from scfae.extract import extract
from scfae.store import FeatureStore

BOTH = ["efficientnet-lite0", "ge2e"]
run = partial(extract, batch_size=2, workers=2)
"""An extraction with little padding: batches are filled up."""


def fates(store: Path) -> dict[str, dict[str, tuple[str, str | None]]]:
    """Return status and reason of every sample in every column."""
    return {
        sample["id"]: {
            name: (fate["status"], fate["reason"]) for name, fate in sample["columns"].items()
        }
        for sample in FeatureStore.open(store).status()["samples"]
    }


def shard_files(store: Path) -> dict[str, bytes]:
    """Return every shard and receipt by name."""
    return {str(p.relative_to(store)): p.read_bytes() for p in sorted(store.rglob("shard-*"))}


def ids(store: Path) -> list[str]:
    """Return the samples in their order."""
    return [str(one) for one in FeatureStore.open(store).samples.ids]
