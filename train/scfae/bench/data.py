"""The data that every loader reads: two ragged modalities of float16, in one order.

Shapes: N samples, T rows of one, D features, R rows of all.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from scfae.store import ColumnInfo, FeatureStore, SampleRow, ShardSample

BATCH_SIZE: Final = 64
SHARD_SIZE: Final = 250
_FINITE: Final = 0xBFFF  # without the highest bit of the exponent: no infinity, no NaN


class Shape(NamedTuple):
    """What one modality looks like: features a row, fewest and most rows of a sample."""

    dim: int
    least: int
    most: int


SHAPES: Final[Mapping[str, Shape]] = {"video": Shape(768, 4, 64), "audio": Shape(512, 8, 100)}


class Loaded(NamedTuple):
    """A batch as any loader gives it.

    Attributes:
        numbers: Place of each sample in the data `[B]`; or ids, for whoever checks to look up.
        features: For each modality `[B, T, D]`, or packed `[sum of lengths, D]`.
        lengths: For each modality rows of each sample `[B]`; 0 where masked.
    """

    numbers: npt.NDArray[np.int64] | list[str]
    features: dict[str, npt.NDArray[Any]]
    lengths: dict[str, npt.NDArray[np.int64]]


@dataclass(frozen=True, eq=False)
class Data:
    """What was written, for every loader to be compared with.

    Attributes:
        folder: Holds `store/`, `MODALITY.raw` and the peers' own folders.
        store: The feature store; its order of samples is everybody's.
        lengths: For each modality rows of each sample, T, `[N]`.
        flat: For each modality the rows of all samples, float16 `[R, D]`, a memory map.
    """

    folder: Path
    store: FeatureStore
    lengths: dict[str, npt.NDArray[np.int64]]
    flat: dict[str, npt.NDArray[np.float16]]

    def numbers(self, batch: Loaded) -> npt.NDArray[np.int64]:
        """Return the place of each sample of a batch `[B]`."""
        if not isinstance(batch.numbers, list):
            return batch.numbers
        place = self._place
        return np.array([place[name] for name in batch.numbers], dtype=np.int64)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.store.samples.ids.tolist())}

    def __len__(self) -> int:
        return len(self.store.samples)

    def offsets(self, modality: str) -> npt.NDArray[np.int64]:
        """Return where each sample's rows begin, and R, `[N + 1]`."""
        return np.concatenate(([0], np.cumsum(self.lengths[modality])))

    def samples(self) -> Iterator[dict[str, npt.NDArray[np.float16]]]:
        """Yield the samples in order, for each modality `[T, D]`."""
        offsets = {m: self.offsets(m).tolist() for m in SHAPES}
        for i in range(len(self)):
            yield {m: self.flat[m][offsets[m][i] : offsets[m][i + 1]] for m in SHAPES}


def make_data(folder: Path, num_samples: int, *, seed: int = 0) -> Data:
    """Write the store and, with the same rows in the same order, a flat file a modality."""
    rows = [SampleRow(f"{i:09d}") for i in range(num_samples)]
    store = FeatureStore.create(folder / "store", rows, shard_size=SHARD_SIZE, seed=seed)
    lengths, flat = {}, {}
    for number, (modality, shape) in enumerate(SHAPES.items()):
        random = np.random.default_rng([seed, number])
        counts = random.integers(shape.least, shape.most + 1, num_samples)
        info = ColumnInfo.create(
            modality, modality, encoder="noise", dim=shape.dim, dtype="float16", is_random=True
        )
        path = folder / f"{modality}.raw"
        with path.open("wb") as file, store.add_column(info) as writer:
            for shard in range(store.samples.num_shards):
                samples = []
                for i in store.samples.rows_of(shard):
                    values = _noise(random, int(counts[i]), shape.dim)
                    file.write(values.data)
                    samples.append(ShardSample(values))
                writer.commit(shard, samples)
        lengths[modality] = counts
        flat[modality] = np.memmap(path, np.float16, "r").reshape(-1, shape.dim)
    return Data(folder, store, lengths, flat)


def pad(
    samples: list[dict[str, npt.NDArray[Any]]],
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, npt.NDArray[np.int64]]]:
    """Return samples padded, in fresh memory as collate functions do, and their lengths."""
    features, lengths = {}, {}
    for modality, shape in SHAPES.items():
        counts = [len(sample[modality]) for sample in samples]
        out = np.zeros((len(samples), max(counts), shape.dim), np.float16)
        for slot, sample in enumerate(samples):
            out[slot, : counts[slot]] = sample[modality]
        features[modality] = out
        lengths[modality] = np.array(counts, dtype=np.int64)
    return features, lengths


def check(data: Data, loaded: Iterator[Loaded], *, may_mask: bool = False) -> str | None:
    """Read a whole epoch and compare every value with what was written.

    Args:
        data: What was written.
        loaded: The batches of one epoch.
        may_mask: Whether a modality may be hidden, so that it has length 0.

    Returns:
        What is wrong first, None if nothing is.
    """
    seen = np.zeros(len(data), dtype=np.int64)
    offsets = {modality: data.offsets(modality) for modality in data.lengths}
    for batch in loaded:
        numbers = data.numbers(batch)
        np.add.at(seen, numbers, 1)
        for modality, features in batch.features.items():
            start, place = offsets[modality], 0
            for slot, number in enumerate(numbers.tolist()):
                length = int(batch.lengths[modality][slot])
                expected = data.flat[modality][start[number] : start[number + 1]]
                if length != len(expected) and not (may_mask and length == 0):
                    return f"sample {number}, {modality}: {length} rows of {len(expected)}"
                if features.ndim == 2:
                    found, rest = features[place : place + length], features[:0]
                    place += length
                else:
                    found, rest = features[slot, :length], features[slot, length:]
                if not np.array_equal(found, expected[:length]):
                    return f"sample {number}, {modality}: other values"
                if rest.any():
                    return f"sample {number}, {modality}: padding is not 0"
    wrong = np.flatnonzero(seen != 1)
    return f"sample {wrong[0]} came {seen[wrong[0]]} times" if len(wrong) else None


def _noise(random: np.random.Generator, length: int, dim: int) -> npt.NDArray[np.float16]:
    bits = np.frombuffer(random.bytes(length * dim * 2), dtype=np.uint16) & _FINITE
    return bits.view(np.float16).reshape(length, dim)
