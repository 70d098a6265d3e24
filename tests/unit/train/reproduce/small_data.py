"""A small store that can play each of the paper's data sets: four modalities, every label."""

from pathlib import Path
from typing import Any

from scfae.store import FeatureStore
from scfae.store.testing import make_store
from scfae.train.reproduce.data import Part, official_part
from scfae.train.reproduce.tables import DatasetName

from ..small_runs import with_forgeries

SETS: tuple[DatasetName, ...] = ("activitynet", "fakeavceleb", "mosei")
QUICK: dict[str, Any] = {"epochs": 2, "batch_size": 16, "lr": 1e-2, "device": "cpu"}
"""Settings of a run that takes a second."""


def paper_store(folder: Path, *, seed: int = 0, num_samples: int = 120) -> FeatureStore:
    """Write the store; `sentiment` is in [-3, 3], with neutral samples."""
    store = make_store(
        folder,
        num_samples=num_samples,
        dims={"audio": 8, "video": 12, "text": 10, "image": 6},
        labels={"class": 5, "fake_video": 2, "fake_audio": 2},
        shard_size=32,
        seed=seed,
        max_rows=3,
        splits=(("train", 0.5), ("val", 0.2), ("test", 0.3)),
    )

    def labels(place: int, of: int, video: int, audio: int) -> dict[str, Any]:
        sentiment = 0.0 if place % 12 == 0 else of - 2.0 + (0.5 if video else -0.4)
        return {"class": of, "sentiment": sentiment}

    return with_forgeries(store, "class", labels)


def parts_of(store: FeatureStore) -> dict[DatasetName, Part]:
    """Return the paper's data sets, all played by one store."""
    return {name: official_part(name, str(store.path)) for name in SETS}
