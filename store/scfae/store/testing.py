"""Small synthetic stores and ragged samples, for tests and benchmarks of any part."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .column import ColumnInfo, DType
from .container import Format
from .sample_row import SampleRow
from .store import FeatureStore
from .writer import ShardSample

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

_NOISE = 0.5


def make_store(
    path: str | Path,
    *,
    num_samples: int = 40,
    dims: Mapping[str, int] | None = None,
    max_rows: int = 5,
    missing: float = 0.0,
    shard_size: int = 8,
    seed: int = 0,
    labels: Mapping[str, int] | None = None,
    splits: Sequence[tuple[str, float]] = (("train", 0.6), ("val", 0.2), ("test", 0.2)),
    dtype: DType = "float32",
    form: Format = "zarr",
    groups: int | None = None,
) -> FeatureStore:
    """Write a store whose features tell the labels: class mean plus noise.

    Classes are balanced in every split, as far as the numbers allow, and labels are independent
    of each other. The same arguments give the same bytes.

    Args:
        path: A folder that is empty or does not exist.
        num_samples: Number of samples.
        dims: Features a row of each modality; columns are named like their modality.
        max_rows: Samples have 1 to `max_rows` rows.
        missing: Share of (sample, modality) pairs without rows; no sample loses all.
        shard_size: Samples a shard.
        seed: Decides everything random.
        labels: Number of classes of each integer label.
        splits: Splits and their shares.
        dtype: How rows are stored.
        form: File format of the shards.
        groups: Number of groups (dialogues), taking turns; None for none.
    """
    dims = {"video": 12, "audio": 7} if dims is None else dims
    labels = {"digit": 10} if labels is None else labels
    codes = _codes(num_samples, labels)
    names = _split_names(num_samples, splits)
    rows = [
        SampleRow(
            id=f"sample-{i:05d}",
            split=names[i],
            group=None if groups is None else f"group-{i % groups}",
            labels={label: int(values[i]) for label, values in codes.items()},
        )
        for i in range(num_samples)
    ]
    store = FeatureStore.create(path, rows, shard_size=shard_size, seed=seed)
    has_rows = _presence(num_samples, len(dims), missing, seed)
    for m, (modality, dim) in enumerate(dims.items()):
        info = ColumnInfo.create(
            modality,
            modality,
            encoder="synthetic",
            dim=dim,
            dtype=dtype,
            format=form,
            weights=f"random:{seed}",
            is_random=True,
        )
        random = np.random.default_rng([seed, m])
        means = {label: random.normal(size=(count, dim)) for label, count in labels.items()}
        with store.add_column(info) as writer:
            for shard in range(store.samples.num_shards):
                samples = []
                for index in store.samples.rows_of(shard):
                    i = int(store.samples.ids[index].removeprefix("sample-"))
                    if not has_rows[i, m]:
                        samples.append(ShardSample(status="missing", reason=f"no {modality}"))
                        continue
                    length = int(random.integers(1, max_rows + 1))
                    mean = sum((means[label][codes[label][i]] for label in labels), np.zeros(dim))
                    noise = _NOISE * random.normal(size=(length, dim))
                    times = np.stack([np.arange(length), np.arange(length) + 1.0], axis=1)
                    samples.append(ShardSample(rows=(mean + noise).astype("float32"), times=times))
                writer.commit(shard, samples)
    return store


def ragged_samples(
    dim: int, *, max_samples: int = 6, max_rows: int = 4
) -> "SearchStrategy[list[ShardSample]]":
    """Return a hypothesis strategy of shards: samples of every fate with 0 to `max_rows` rows.

    Args:
        dim: Features a row, D.
        max_samples: Most samples of a shard.
        max_rows: Most rows of a sample.
    """
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp

    values = st.floats(-60000, 60000, width=16)

    def with_rows(length: int) -> "SearchStrategy[ShardSample]":
        return st.builds(
            ShardSample,
            rows=hnp.arrays(np.float32, (length, dim), elements=values),
            times=hnp.arrays(np.float64, (length, 2), elements=st.floats(0, 1e6)),
            status=st.just("ok") if length else st.just("missing"),
            reason=st.none() if length else st.text(min_size=1, max_size=5),
            media_sha256=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
        )

    absent: SearchStrategy[Any] = st.builds(
        ShardSample, status=st.sampled_from(["missing", "failed"]), reason=st.just("made so")
    )
    present = st.integers(0, max_rows).flatmap(with_rows)
    return st.lists(present | absent, min_size=1, max_size=max_samples)


def _codes(num_samples: int, labels: Mapping[str, int]) -> dict[str, Any]:
    # Digits of the sample's number in a mixed base: every combination comes equally often.
    codes, base = {}, 1
    for name, count in labels.items():
        codes[name] = np.arange(num_samples) // base % count
        base *= count
    return codes


def _split_names(num_samples: int, splits: Sequence[tuple[str, float]]) -> list[str | None]:
    if not splits:
        return [None] * num_samples
    ends = np.round(np.cumsum([share for _, share in splits]) * num_samples).astype(int)
    place = np.searchsorted(ends, np.arange(num_samples), side="right")
    return [splits[min(int(k), len(splits) - 1)][0] for k in place]


def _presence(num_samples: int, num_modalities: int, missing: float, seed: int) -> Any:
    random = np.random.default_rng([seed, 1_000_003])
    has_rows = random.random((num_samples, num_modalities)) >= missing
    keep = random.integers(0, max(1, num_modalities), size=num_samples)
    has_rows[np.arange(num_samples), keep] |= ~has_rows.any(axis=1)
    return has_rows
