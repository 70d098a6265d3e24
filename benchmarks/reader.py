"""Reading a column: our memory-mapped shards against a raw memmap loop and zarr-python.

One run, interleaved rounds, best of five, the same samples in the same order, every value checked
in the first round. Prints ratios; seconds mean nothing on another machine.

    .venv/bin/python benchmarks/reader.py [--samples 2000]
"""

import argparse
import itertools
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import zarr

from scfae.store import FeatureStore, FeatureStream
from scfae.store.testing import make_store

ROUNDS = 5
DIM = 512
Visit = Callable[[], float]


def samples_per_second(visit: Visit, num_samples: int) -> float:
    start = time.perf_counter()
    visit()
    return num_samples / (time.perf_counter() - start)


def visits(store: FeatureStore, flat: Path) -> dict[str, Visit]:
    """Return, by peer, a function that reads every sample once and returns a checksum."""
    column = store.column("video")
    num_samples = len(store.samples.ids)
    lengths = column.lengths
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    shard_of = np.asarray(store.samples.shard_of)
    first_of = np.searchsorted(shard_of, np.arange(shard_of.max() + 1))

    def ours() -> float:
        return float(sum(column.rows(i).sum(dtype=np.float64) for i in range(num_samples)))

    def memmap() -> float:
        data = np.memmap(flat, dtype=np.float32, mode="r").reshape(-1, DIM)
        return float(
            sum(data[offsets[i] : offsets[i + 1]].sum(dtype=np.float64) for i in range(num_samples))
        )

    def zarr_python() -> float:
        total = 0.0
        for shard, path in enumerate(sorted((store.path / "columns/video").glob("*.zarr.zip"))):
            group = zarr.open_group(zarr.storage.ZipStore(path, mode="r"), mode="r")
            data: npt.NDArray[np.float32] = np.asarray(group["data"])
            ends = np.asarray(group["offsets"])
            assert first_of[shard] >= 0
            for start, end in itertools.pairwise(ends):
                total += float(data[start:end].sum(dtype=np.float64))
        return total

    def stream() -> float:
        view = store.view(video="video")
        batches = FeatureStream(view, batch_size=64, seed=1)
        return float(sum(batch.features["video"].double().sum().item() for batch in batches))

    return {
        "scfae column, sample by sample": ours,
        "numpy memmap of one flat file": memmap,
        "zarr-python, shard by shard": zarr_python,
        "scfae stream, shuffled padded batches": stream,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2000)
    num_samples = parser.parse_args().samples
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(
            Path(folder) / "store",
            num_samples=num_samples,
            dims={"video": DIM},
            max_rows=60,
            shard_size=250,
        )
        column = store.column("video")
        flat = Path(folder) / "flat.f32"
        with flat.open("wb") as file:
            for i in range(num_samples):
                file.write(np.ascontiguousarray(column.rows(i)).tobytes())
        peers = visits(store, flat)
        sums = {name: visit() for name, visit in peers.items()}
        expected = sums["numpy memmap of one flat file"]
        for name, found in sums.items():
            assert np.isclose(found, expected, rtol=1e-6), f"{name} read other values"
        best = dict.fromkeys(peers, 0.0)
        for _ in range(ROUNDS):
            for name, visit in peers.items():
                best[name] = max(best[name], samples_per_second(visit, num_samples))
    base = best["numpy memmap of one flat file"]
    print(f"{platform.machine()}, {num_samples} samples, rows of {DIM} float32, best of {ROUNDS}")
    for name, rate in best.items():
        print(f"  {name:<40} {rate / base:5.2f} x memmap")


if __name__ == "__main__":
    main()
