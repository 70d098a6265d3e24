"""How long `scfae --help` takes, beside the interpreter alone: the promise is half a second."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS = 9


def seconds(words: list[str]) -> float:
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    scfae = str(Path(sys.executable).parent / "scfae")
    ours, python = seconds([scfae, "--help"]), seconds([sys.executable, "-c", "pass"])
    print(f"scfae --help: median {ours:.3f} s of {ROUNDS}; python -c pass: {python:.3f} s")


if __name__ == "__main__":
    main()
