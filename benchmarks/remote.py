"""Reading a store behind a URL through a small cache, against a plain download of the same bytes.

Starts a SeaweedFS server of its own, writes shards to it, reads all of them in a stream's shuffled
order through a cache of a tenth of their size, and downloads the same objects with as many threads
and no cache. The first and the last value of every sample are checked, and so are the bytes of the
copied shards. Prints the ratio.

    .venv/bin/python benchmarks/remote.py [--gigabytes 10] [--folder DIR]
"""

import argparse
import os
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from scfae.store import ColumnInfo, FeatureStore, FeatureStream, SampleRow, ShardSample
from scfae.store.remote import open_objects
from scfae.store.remote.cache import FILLERS
from scfae.store.remote.testing import SeaweedServer

URL = "s3://bucket/features"
SHARDS = 500
ROWS, DIM = 50, 1000


def write(samples_per_shard: int) -> list[str]:
    """Write the store; return the keys of its shards."""
    rows = [SampleRow(id=f"s{i:07d}") for i in range(SHARDS * samples_per_shard)]
    store = FeatureStore.create(URL, rows, shard_size=samples_per_shard)
    info = ColumnInfo.create("x", "video", encoder="constant", dim=DIM, weights="random:0")
    keys = []
    with store.add_column(info) as writer:
        for shard in range(SHARDS):
            here = store.samples.rows_of(shard)
            values = [float(str(store.samples.ids[i])[1:]) for i in here]
            samples = [ShardSample(np.full((ROWS, DIM), v, np.float32)) for v in values]
            receipt = writer.commit(shard, samples)
            keys.append(f"columns/x/{receipt.file}")
    return keys


class Watch:
    """The largest size of the copied shards in a cache folder while something runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.most_bytes = 0

    def _run(self) -> None:
        while not self._end.wait(0.05):
            sizes = 0
            for path in self._folder.glob("*/shards/*"):
                try:
                    sizes += path.stat().st_size
                except FileNotFoundError:
                    continue  # removed between the two calls
            self.most_bytes = max(self.most_bytes, sizes)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        self._thread.join()


def read(cache: Path, cache_bytes: int) -> tuple[float, int]:
    """Return the seconds of one epoch and the most bytes of copied shards."""
    store = FeatureStore.open(URL, cache=cache, cache_bytes=cache_bytes)
    stream = FeatureStream(store.view(x="x"), batch_size=64, seed=1)
    num_samples = 0
    with Watch(cache) as watch:
        begun_s = time.perf_counter()
        for batch in stream:
            wanted = np.array([float(name[1:]) for name in batch.ids], dtype=np.float32)
            rows = batch.features["x"].numpy()
            assert (rows[:, 0, 0] == wanted).all()
            assert (rows[:, -1, -1] == wanted).all()
            num_samples += len(batch)
        seconds = time.perf_counter() - begun_s
    assert num_samples == len(store.samples)
    return seconds, watch.most_bytes


def download(keys: list[str]) -> tuple[float, int]:
    """Return the seconds and bytes of downloading every object, kept nowhere."""
    objects = open_objects(URL)
    begun_s = time.perf_counter()
    with ThreadPoolExecutor(FILLERS) as pool:
        num_bytes = sum(pool.map(lambda key: len(objects.get(key)), keys))
    return time.perf_counter() - begun_s, num_bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--folder", type=Path, help="where the server and the cache lie")
    flags = parser.parse_args()
    samples_per_shard = max(1, round(flags.gigabytes * 1e9 / SHARDS / (ROWS * DIM * 4)))
    cache_bytes = int(flags.gigabytes * 1e8)
    with (
        tempfile.TemporaryDirectory(dir=flags.folder) as folder,
        SeaweedServer(Path(folder) / "server") as server,
    ):
        os.environ.update(server.environment)
        keys = write(samples_per_shard)
        seconds, most_bytes = read(Path(folder) / "cache", cache_bytes)
        plain_s, num_bytes = download(keys)
    print(f"{num_bytes / 1e9:.2f} GB in {SHARDS} shards; cache of {cache_bytes / 1e9:.2f} GB")
    print(f"copied shards, at most: {most_bytes / cache_bytes:.2f} of their bound")
    print(f"stream through the cache, every sample checked: {num_bytes / 1e6 / seconds:.0f} MB/s")
    print(f"plain download, {FILLERS} threads, kept nowhere: {num_bytes / 1e6 / plain_s:.0f} MB/s")
    print(f"ratio {plain_s / seconds:.2f}")
    assert most_bytes <= cache_bytes, "the cache grew over its bound"


if __name__ == "__main__":
    main()
