"""Generated samples as a feature store, with rows missing where a question asks for that."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scfae.store import ColumnInfo, FeatureStore, SampleRow, ShardSample, exact_rate_masks

from .generated import Views

LABEL = "class"
SHARD_SIZE = 512
MISSING = "left out by the question, or not there"


def write_views(
    folder: Path,
    views: Views,
    counts: Mapping[str, int],
    *,
    seed: int,
    missing: Mapping[str, float] | None = None,
) -> FeatureStore:
    """Write samples into a new store, a column a view; there is the whole store or none.

    Args:
        folder: Of the store.
        views: The samples; those of the first split first.
        counts: Samples of each split, together all.
        seed: Of what is missing.
        missing: By split, the share of samples that each view lacks; every sample keeps one.
    """
    names = [name for name, count in counts.items() for _ in range(count)]
    ids = [f"{i:06d}" for i in range(len(names))]
    rows = [
        SampleRow(
            id=ids[i],
            split=names[i],
            labels={LABEL: int(views.labels[i])}
            | {mark: int(values[i]) for mark, values in views.marks.items()},
        )
        for i in range(len(names))
    ]
    modalities = list(views.features)
    has = np.ones((len(names), len(modalities)), dtype=bool)
    for modality, there in views.present.items():
        has[:, modalities.index(modality)] = there.numpy()
    for split, rate in (missing or {}).items():
        mine = np.flatnonzero(np.array(names) == split)
        kept = exact_rate_masks(
            [ids[i] for i in mine], has[mine], rate, seed=seed, modalities=modalities
        )
        has[mine] = kept
    partial = folder.with_name(f".tmp-{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)  # of a call that was killed
    store = FeatureStore.create(partial, rows, shard_size=SHARD_SIZE, seed=seed)
    place = {name: i for i, name in enumerate(ids)}
    for column, (modality, features) in enumerate(views.features.items()):
        info = ColumnInfo.create(
            modality,
            modality,
            encoder="generated",
            dim=features.shape[2],
            dtype="float32",
            weights=f"generated:{seed}",
        )
        values: npt.NDArray[np.float32] = features.numpy().astype(np.float32)
        steps = np.arange(values.shape[1], dtype=np.float64)
        times = np.stack([steps, steps + 1.0], axis=1)
        with store.add_column(info) as writer:
            for shard in range(store.samples.num_shards):
                samples = []
                for index in store.samples.rows_of(shard):
                    i = place[str(store.samples.ids[index])]
                    if has[i, column]:
                        samples.append(ShardSample(rows=values[i], times=times))
                    else:
                        samples.append(ShardSample(status="missing", reason=MISSING))
                writer.commit(shard, samples)
    partial.rename(folder)
    return FeatureStore.open(folder)
