"""A million samples: how a large store opens, plans, resumes and streams, beside a small one.

Vectors (T = 1, D = 16) in three columns and shards of 250. Prints true figures beside the targets.

    .venv/bin/python benchmarks/scale.py [--samples 1000000] [--keep DIR] [--json]

Building a million samples takes minutes, so `--keep DIR` leaves the stores there and finds them
again. Measuring happens in fresh processes, with the files in the page cache; nothing is fsynced
while building. Every row that is read is compared with what it must be.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scfae.store import ColumnInfo, FeatureStore, FeatureStream, SampleRow, ShardSample, StoreView

COLUMNS = ("text", "audio", "video")
DIM = 16
SHARD_SIZE = 250
SMALL = 10_000
EPOCHS = 20
BATCH_SIZE = 64
LARGE_BATCH = 1024  # for the twenty epochs, which would take long in batches of 64
TIMED_BATCHES = 300


@dataclass(frozen=True)
class Figure:
    what: str
    value: float
    unit: str
    most: float | None = None
    least: float = 0.0

    @property
    def outcome(self) -> str:
        if self.most is None:
            return ""
        return "reached" if self.least <= self.value <= self.most else "missed"


def build(path: Path, num_samples: int) -> float:
    """Write a store; return the seconds that a shard of a column took."""
    rows = [
        SampleRow(f"s{i:07d}", split="train", labels={"digit": i % 10}) for i in range(num_samples)
    ]
    store = FeatureStore.create(path, rows, shard_size=SHARD_SIZE)
    del rows
    numbers = np.array([int(name[1:]) for name in store.samples.ids.tolist()], dtype=np.float32)
    start = time.perf_counter()
    for column, name in enumerate(COLUMNS):
        info = ColumnInfo.create(name, name, encoder="number", dim=DIM, is_random=True)
        with store.add_column(info) as writer:
            for shard in range(store.samples.num_shards):
                here = store.samples.rows_of(shard)
                values = np.repeat(numbers[here.start : here.stop, None, None] + column, DIM, 2)
                writer.commit(shard, [ShardSample(one) for one in values])
    return (time.perf_counter() - start) / (store.samples.num_shards * len(COLUMNS))


def view_of(path: Path) -> StoreView:
    store = FeatureStore.open(path)
    return store.view("train", ["digit"], text="text", audio="audio", video="video")


def stream_of(view: StoreView, batch_size: int = BATCH_SIZE, *, epoch: int = 0) -> FeatureStream:
    return FeatureStream(view, batch_size, seed=1, epoch=epoch, masking="bernoulli:0.3", prefetch=0)


def check(batch: Any) -> np.ndarray[Any, Any]:
    """Check every row of a batch; return the numbers of its samples."""
    numbers = np.array([int(name[1:]) for name in batch.ids], dtype=np.float32)
    for column, name in enumerate(COLUMNS):
        kept = batch.present[:, column].numpy()
        rows = batch.features[name].numpy()[:, 0]
        assert (rows[kept] == numbers[kept, None] + column).all()
        assert (rows[~kept] == 0).all()
    assert (batch.labels["digit"].numpy() == numbers.astype(np.int64) % 10).all()
    return numbers.astype(np.int64)


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def seconds_a_batch(stream: FeatureStream, rounds: int = 5) -> float:
    """Return the best mean time of a batch, over rounds of some hundred batches.

    The stream has been read to the end once.
    A small store begins its next epoch within a round; a large one is in mid-epoch.
    """
    best = float("inf")
    batches = iter(stream)
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(TIMED_BATCHES):
            if next(batches, None) is None:
                batches = iter(stream)
                next(batches)
        best = min(best, (time.perf_counter() - start) / TIMED_BATCHES)
    return best


def measure(path: Path, *, is_whole: bool = False, is_timed: bool = False) -> dict[str, float]:
    """Measure a store in this process, which has done nothing else."""
    found: dict[str, float] = {}
    before, start = rss_mb(), time.perf_counter()
    view = view_of(path)
    found["open_s"] = time.perf_counter() - start
    start = time.perf_counter()
    stream = stream_of(view)
    check(next(iter(stream)))
    found["first_batch_s"] = time.perf_counter() - start
    found["open_mb"] = rss_mb() - before

    if is_whole:
        start = time.perf_counter()
        state = stream.state_dict()
        found["first_state_s"] = time.perf_counter() - start
        worst = 0.0
        for part in (0.999, 0.5, 0.001, 0.73):
            position = int(len(stream) * part) * BATCH_SIZE
            again = stream_of(view)
            start = time.perf_counter()
            again.load_state_dict({**state, "position": position})
            check(next(iter(again)))
            worst = max(worst, time.perf_counter() - start)
        found["resume_s"] = worst
        before, start = peak_mb(), time.perf_counter()
        later = stream_of(view, epoch=1)
        iter(later)
        found["plan_s"] = time.perf_counter() - start
        found["plan_mb"] = peak_mb() - before

    if is_timed:
        # Ids are hashed and shards are parsed when they are first read: in the first epoch.
        timed = stream_of(view)
        for _ in timed:
            pass
        found["batch_s"] = seconds_a_batch(timed)

    if is_whole:
        large = stream_of(view, LARGE_BATCH)
        seen = np.full(len(view), -1, dtype=np.int8)  # its pages are there before we look
        after_first = 0.0
        before = rss_mb()
        for epoch in range(EPOCHS):
            for batch in large:
                if epoch == 0:
                    np.add.at(seen, check(batch), 1)
            if epoch == 0:
                assert (seen == 0).all(), "a sample did not come exactly once"
                after_first = rss_mb()
        found["growth_mb"] = rss_mb() - before
        found["later_growth_mb"] = rss_mb() - after_first
    return found


def in_a_process(path: Path, *flags: str) -> dict[str, float]:
    words = [sys.executable, __file__, "--measure", str(path), *flags]
    result = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(result.stdout)
    return found


def figures(folder: Path, num_samples: int, say: Any) -> list[Figure]:
    out: list[Figure] = []
    paths = {count: folder / f"{count}" for count in (min(SMALL, num_samples // 2), num_samples)}
    for count, path in paths.items():
        if not path.with_suffix(".built").exists():
            say(
                f"building {count} samples in {count // SHARD_SIZE} shards x {len(COLUMNS)} columns"
            )
            start = time.perf_counter()
            shard_s = in_a_builder(path, count)
            out.append(Figure(f"building {count} samples", time.perf_counter() - start, "s"))
            out.append(Figure("writing a shard, without fsync", shard_s * 1e3, "ms"))
    small, large = paths.values()
    for file in large.rglob("shard-*"):
        file.read_bytes()  # into the page cache
    for cache in large.rglob("index.cache"):
        cache.unlink()
    say("measuring")
    cold = in_a_process(large)
    found = in_a_process(large, "--whole")
    # Interleaved, since other work on the machine comes and goes.
    rates: dict[Path, list[float]] = {small: [], large: []}
    for _ in range(3):
        for path, taken in rates.items():
            taken.append(in_a_process(path, "--timed")["batch_s"])
    ratio = min(rates[large]) / min(rates[small])
    return [
        *out,
        Figure("open, without index.cache", cold["open_s"], "s"),
        Figure("open", found["open_s"], "s", 2),
        Figure("first batch", found["first_batch_s"], "s", 1),
        Figure("first state_dict", found["first_state_s"], "s"),
        Figure("resume at any position, first batch included", found["resume_s"] * 1e3, "ms", 100),
        Figure("plan an epoch", found["plan_s"], "s", 2),
        Figure("memory of planning an epoch", found["plan_mb"], "MB", 500),
        Figure("memory of opening and the first batch", found["open_mb"], "MB"),
        Figure("a batch", min(rates[large]) * 1e3, "ms"),
        Figure(f"a batch / a batch of {min(SMALL, num_samples // 2)} samples", ratio, "", 1.2, 0.8),
        Figure(f"memory growth over {EPOCHS} epochs", found["growth_mb"], "MB", 50),
        Figure("of that after the first epoch", found["later_growth_mb"], "MB"),
    ]


def in_a_builder(path: Path, num_samples: int) -> float:
    words = [sys.executable, __file__, "--build", str(path), "--samples", str(num_samples)]
    result = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    path.with_suffix(".built").write_text("")
    return float(result.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--keep", type=Path, help="a folder for the stores, to be found again")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--whole", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--timed", action="store_true", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.build:
        os.fsync = lambda fd: None  # nothing here has to survive a power cut
        print(build(flags.build, flags.samples))
        return
    if flags.measure:
        print(json.dumps(measure(flags.measure, is_whole=flags.whole, is_timed=flags.timed)))
        return
    if flags.samples < 2 * SHARD_SIZE:
        parser.error(f"--samples: at least {2 * SHARD_SIZE}")

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="scfae-scale-") as temporary:
        folder = flags.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = figures(folder, flags.samples, say)
    if flags.json:
        print(json.dumps([{**asdict(one), "outcome": one.outcome} for one in found], indent=2))
        return
    print(f"{flags.samples} samples, {flags.samples // SHARD_SIZE} shards, {len(COLUMNS)} columns")
    for one in found:
        target = "" if one.most is None else f"target {one.least:g} to {one.most:g}"
        line = f"{one.what:<46} {one.value:10.3f} {one.unit:<3} {target:<20} {one.outcome}"
        print(line.rstrip())


if __name__ == "__main__":
    main()
