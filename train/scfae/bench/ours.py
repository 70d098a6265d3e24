"""Our own ways to read the data, and the raw memory map that all are measured against.

Each function opens what it reads and returns the function that makes the batches of one epoch.

Shapes: B samples of a batch, T rows, D features.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from scfae.store.batch import Layout

from .data import BATCH_SIZE, SHAPES, Data, Loaded

Epoch = Callable[[], Iterator[Loaded]]


class _Padded:
    """One padded batch in memory that is used again; only what the last batch left is zeroed."""

    def __init__(self, longest: int, dim: int) -> None:
        self.rows = np.zeros((BATCH_SIZE, longest, dim), np.float16)
        self._filled = np.zeros(BATCH_SIZE, dtype=np.int64)

    def batch(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float16]:
        """Return what was read, with zeros behind it."""
        before = self._filled[: len(counts)]
        for slot in np.flatnonzero(before > counts).tolist():
            self.rows[slot, counts[slot] : before[slot]] = 0
        before[:] = counts
        return self.rows[: len(counts), : int(counts.max())]


def memmap(data: Data) -> Epoch:
    """Padded batches in fresh memory from one flat file a modality: the reference."""
    offsets, flat = _mapped(data)

    def epoch() -> Iterator[Loaded]:
        for start in range(0, len(data), BATCH_SIZE):
            stop = min(start + BATCH_SIZE, len(data))
            features, lengths = {}, {}
            for modality, shape in SHAPES.items():
                counts = data.lengths[modality][start:stop]
                out = np.zeros((stop - start, int(counts.max()), shape.dim), np.float16)
                _copy(out, counts, rows=flat[modality], at=offsets[modality][start:stop])
                features[modality], lengths[modality] = out, counts
            yield Loaded(np.arange(start, stop), features, lengths)

    return epoch


def memmap_reused(data: Data) -> Epoch:
    """Padded batches from the same flat files, in memory that is used again."""
    offsets, flat = _mapped(data)
    buffers = {m: _Padded(int(data.lengths[m].max()), shape.dim) for m, shape in SHAPES.items()}

    def epoch() -> Iterator[Loaded]:
        for start in range(0, len(data), BATCH_SIZE):
            stop = min(start + BATCH_SIZE, len(data))
            features, lengths = {}, {}
            for modality, buffer in buffers.items():
                counts = data.lengths[modality][start:stop]
                _copy(buffer.rows, counts, rows=flat[modality], at=offsets[modality][start:stop])
                features[modality] = buffer.batch(counts)
                lengths[modality] = counts
            yield Loaded(np.arange(start, stop), features, lengths)

    return epoch


def reader(data: Data, modalities: Sequence[str] = tuple(SHAPES)) -> Epoch:
    """Padded batches of our columns, front to back, in memory that is used again."""
    batches = []
    for start in range(0, len(data), BATCH_SIZE):
        here = np.arange(start, min(start + BATCH_SIZE, len(data)))
        batches.append((here, {m: data.lengths[m][here] for m in modalities}))
    return _read(data, batches, modalities)


def reader_in_the_streams_order(data: Data) -> Epoch:
    """Padded batches of the samples and modalities that an epoch of `stream` reads, in its order.

    What was masked is not read here either, so only what the stream does besides reading differs:
    planning, bucketing, masks, ids, labels, tensors and states. Beside `reader`, which profits from
    files that are read front to back, the stream also pays for its shuffled order, and is spared
    what is masked.
    """
    batches = [(data.numbers(batch), batch.lengths) for batch in stream(data)()]
    return _read(data, batches, tuple(SHAPES))


def _read(
    data: Data,
    batches: Sequence[tuple[npt.NDArray[np.int64], Mapping[str, npt.NDArray[np.int64]]]],
    modalities: Sequence[str],
) -> Epoch:
    """Padded batches of samples `[B]`, of which as many rows are read as it says `[B]`."""
    columns = {modality: data.store.column(modality) for modality in modalities}
    buffers = {m: _Padded(int(data.lengths[m].max()), SHAPES[m].dim) for m in modalities}

    def epoch() -> Iterator[Loaded]:
        for here, counted in batches:
            features, lengths = {}, {}
            for modality, column in columns.items():
                counts, rows = counted[modality], buffers[modality].rows
                at = np.arange(len(here)) * rows.shape[1]
                column.read_batch(here, rows.reshape(-1, rows.shape[2]), at=at, counts=counts)
                features[modality] = buffers[modality].batch(counts)
                lengths[modality] = counts
            yield Loaded(here, features, lengths)

    return epoch


def packed_reader(data: Data) -> Epoch:
    """Packed batches of our columns, front to back, in memory that is used again."""
    columns = {modality: data.store.column(modality) for modality in SHAPES}
    counted = {modality: column.lengths.astype(np.int64) for modality, column in columns.items()}
    buffers = {
        m: np.zeros((BATCH_SIZE * int(counted[m].max()), column.info.dim), np.float16)
        for m, column in columns.items()
    }

    def epoch() -> Iterator[Loaded]:
        for start in range(0, len(data), BATCH_SIZE):
            here = np.arange(start, min(start + BATCH_SIZE, len(data)))
            features, lengths = {}, {}
            for modality, column in columns.items():
                counts = counted[modality][here].astype(np.int64)
                ends = np.cumsum(counts)
                column.read_batch(here, buffers[modality], at=ends - counts, counts=counts)
                features[modality] = buffers[modality][: int(ends[-1])]
                lengths[modality] = counts
            yield Loaded(here, features, lengths)

    return epoch


def stream(
    data: Data,
    *,
    masking: str = "bernoulli:0.3",
    layout: Layout = "padded",
    prefetch: int = 0,
) -> Epoch:
    """Shuffled, masked and bucketed batches, with the state taken after each of them.

    By default they are read in the thread that asks, as by the other loaders here: where nothing
    is computed on a batch, reading ahead gains nothing and keeps more batches than the caches hold.
    """
    from scfae.store import FeatureStream

    view = data.store.view(video="video", audio="audio")
    batches = FeatureStream(
        view,
        BATCH_SIZE,
        seed=1,
        masking=masking,
        bucketing="length",
        dtype="stored",
        layout=layout,
        prefetch=prefetch,
    )

    def epoch() -> Iterator[Loaded]:
        for batch in batches:
            batches.state_dict()
            loaded = Loaded(
                batch.ids,
                {modality: rows.numpy() for modality, rows in batch.features.items()},
                {modality: counts.numpy() for modality, counts in batch.lengths.items()},
            )
            del batch  # its memory is used again once nobody holds it
            yield loaded
            del loaded

    return epoch


def _mapped(
    data: Data,
) -> tuple[dict[str, list[int]], dict[str, npt.NDArray[np.float16]]]:
    offsets = {modality: data.offsets(modality).tolist() for modality in SHAPES}
    flat: dict[str, npt.NDArray[np.float16]] = {
        modality: np.memmap(data.folder / f"{modality}.raw", np.float16, "r").reshape(-1, shape.dim)
        for modality, shape in SHAPES.items()
    }
    return offsets, flat


def _copy(
    out: npt.NDArray[np.float16],
    counts: npt.NDArray[np.int64],
    *,
    rows: npt.NDArray[np.float16],
    at: list[int],
) -> None:
    for slot, (begin, count) in enumerate(zip(at, counts.tolist(), strict=True)):
        out[slot, :count] = rows[begin : begin + count]
