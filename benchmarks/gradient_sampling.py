"""What sampling gradients costs a training: `python -m benchmarks.gradient_sampling`.

One training of each size samples every second step, so that steps with and without a sample lie
side by side under the same load; what a sample costs is the difference of their medians, and what
it costs a training is that over so many steps as lie between two samples.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from scfae.store.testing import make_store
from scfae.train.config import load_config
from scfae.train.loop import train

EVERY = 50
"""What the help of `--gradients-every` names."""
SIZES: dict[str, dict[str, int]] = {
    "two of 64": {"audio": 64, "video": 64},
    "two of 512, as FakeAVCeleb": {"audio": 512, "video": 512},
}
METHODS = ("scfae", "misa", "scfae+infonce")


def measure(dims: dict[str, int], fusion: str, folder: Path, steps: int) -> tuple[float, float]:
    """Return seconds of a step without a sample, and how much longer one with a sample takes."""
    store = make_store(
        folder / "store",
        num_samples=640,
        dims=dims,
        labels={"digit": 2},
        max_rows=1,
        splits=(("train", 0.8), ("val", 0.1), ("test", 0.1)),
    )
    settings: dict[str, Any] = {
        "store": str(store.path),
        "columns": {name: name for name in dims},
        "label": "digit",
        "fusion": fusion,
        "epochs": max(1, round(steps * 32 / (640 * 0.8))),
        "device": "cpu",
        "trackers": [],
        "checkpoint_every_s": None,
        "gradients_every": 2,
        "run": str(folder / "run"),
    }
    taken: dict[bool, list[float]] = {True: [], False: []}
    before = time.perf_counter()

    def progress(done: int, total: int, text: str) -> None:
        nonlocal before
        now = time.perf_counter()
        # The first step of an epoch waits for what lies between epochs.
        if done > 4 and done % 16 != 1:
            taken[(done - 1) % 2 == 0].append(now - before)
        before = now

    train(load_config(None, settings), progress=progress)
    plain = statistics.median(taken[False])
    return plain, statistics.median(taken[True]) - plain


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=96, help="steps of each training")
    steps = parser.parse_args().steps
    print(f"{'size':28} {'method':14} {'step':>9} {'sample':>9} {'of a step':>9} {'at 50':>7}")
    for size, dims in SIZES.items():
        for fusion in METHODS:
            with tempfile.TemporaryDirectory() as folder:
                plain, more = measure(dims, fusion, Path(folder), steps)
            print(
                f"{size:28} {fusion:14} {1e3 * plain:6.1f} ms {1e3 * more:6.1f} ms "
                f"{more / plain:9.2f} {more / plain / EVERY:7.1%}"
            )


if __name__ == "__main__":
    main()
