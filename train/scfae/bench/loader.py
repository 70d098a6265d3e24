"""Readers of ragged features side by side: ours, a raw memory map and the peers, as ratios.

All read the same samples in one process and one run: every value is checked in a first round, then
all files enter the page cache in the same way, and rounds are interleaved, the best of each counts.

What the stream costs is told twice. Beside the reader of the same rows in the same shuffled order
it is what masking, bucketing and state cost; beside the reader in store order, which is another
pattern of access, it is what a user pays for a shuffled stream in all. What a second column costs
is told twice too: beside the sum of both columns read alone, and for each byte beside the first.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from .data import BATCH_SIZE, SHAPES, Data, Loaded, check, make_data
from .machine import machine, refill_page_cache
from .ours import (
    Epoch,
    memmap,
    memmap_reused,
    packed_reader,
    reader,
    reader_in_the_streams_order,
    stream,
)
from .peers import PEERS, quiet
from .tables import Target, promises, table, times, with_outcomes

MEMMAP: Final = "numpy memmap loop"
READER: Final = "scfae reader"
PACKED_READER: Final = "scfae reader, packed"
ORDERED_READER: Final = "scfae reader, the stream's rows"
ALONE: Final = {m: f"scfae reader, {m} alone" for m in SHAPES}
STREAM: Final = "scfae stream"
PACKED_STREAM: Final = "scfae stream, packed"
AHEAD: Final = "scfae stream, read ahead by its thread"


@dataclass(frozen=True, slots=True)
class Line:
    """One way to read the data.

    Attributes:
        name: Which.
        best_s: Seconds of its best epoch; None if it is not installed.
        ratio: Samples a second, as a multiple of the memory map's.
        note: Why there is no figure.
    """

    name: str
    best_s: float | None
    ratio: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """What one run measured.

    Attributes:
        machine: Where.
        samples: How many were read.
        megabytes: Size of their rows.
        rounds: Of how many rounds the best counts.
        lines: All ways to read.
        targets: All promises.
    """

    machine: str
    samples: int
    megabytes: float
    rounds: int
    lines: tuple[Line, ...]
    targets: tuple[Target, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return with_outcomes(asdict(self), self.targets)

    def to_text(self) -> str:
        """Return both tables as text."""
        head = (
            f"{self.machine}\n{self.samples} samples, {self.megabytes:.0f} MB, padded batches of "
            f"{BATCH_SIZE}, best of {self.rounds} interleaved rounds, every value checked\n"
        )
        figures = [(one.name, times(one.ratio) if one.ratio else one.note) for one in self.lines]
        return "\n".join(
            [
                head,
                *table(("loader", "x memmap"), figures),
                "",
                *promises(self.targets),
            ]
        )


def measure(
    num_samples: int,
    rounds: int,
    *,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Write the data, check every loader's batches and measure.

    Args:
        num_samples: How many samples; about 110 KB each, in every format.
        rounds: How often each loader reads everything.
        folder: Where to write; the system's folder for temporaries if not given.
        say: Is told what is being done.

    Raises:
        RuntimeError: If a loader gives other rows than were written.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="scfae-bench-") as name, quiet():
        root = Path(name)
        say(f"writing {num_samples} samples")
        data = make_data(root, num_samples)
        epochs, notes = _contestants(data, say)
        for loader, epoch in epochs.items():
            say(f"checking {loader}")
            if wrong := check(data, epoch(), may_mask="stream" in loader):
                raise RuntimeError(f"{loader} gave wrong rows: {wrong}")
        refill_page_cache(path for path in sorted(root.rglob("*")) if path.is_file())
        best = dict.fromkeys(epochs, float("inf"))
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for loader, epoch in epochs.items():
                best[loader] = min(best[loader], _seconds(epoch()))
        num_bytes = {m: int(data.lengths[m].sum()) * shape.dim * 2 for m, shape in SHAPES.items()}
    base = best[MEMMAP]
    lines = [Line(loader, time_s, base / time_s) for loader, time_s in best.items()]
    lines += [Line(loader, None, None, note) for loader, note in notes.items()]
    return Result(
        machine=machine(),
        samples=num_samples,
        megabytes=sum(num_bytes.values()) / 1e6,
        rounds=rounds,
        lines=tuple(lines),
        targets=_targets(best, num_bytes),
    )


def _contestants(data: Data, say: Callable[[str], None]) -> tuple[dict[str, Epoch], dict[str, str]]:
    """Return the epochs of all loaders by name, and why others are not here."""
    epochs = {
        MEMMAP: memmap(data),
        "numpy memmap loop, memory used again": memmap_reused(data),
        READER: reader(data),
        **{name: reader(data, [modality]) for modality, name in ALONE.items()},
        ORDERED_READER: reader_in_the_streams_order(data),
        PACKED_READER: packed_reader(data),
        STREAM: stream(data),
        PACKED_STREAM: stream(data, layout="packed"),
        AHEAD: stream(data, prefetch=2),
    }
    notes = {}
    for peer in PEERS:
        if not peer.is_installed:
            notes[peer.name] = f"not installed: {peer.hint}"
            continue
        say(f"writing for {peer.name}")
        folder = data.folder / peer.module
        folder.mkdir()
        peer.write(data, folder)
        epochs[peer.name] = peer.read(data, folder)
    return epochs, notes


def _seconds(batches: Iterator[Loaded]) -> float:
    total = 0.0
    start = time.perf_counter()
    while (batch := next(batches, None)) is not None:
        # A value of each modality is looked at, so that nothing can be left unread.
        for modality in batch.features:
            rows = batch.features[modality]
            total += float(rows.flat[0]) if rows.size else 0.0
        del batch, rows  # nobody holds a batch while the next is read
    return time.perf_counter() - start


def _targets(best: dict[str, float], num_bytes: dict[str, int]) -> tuple[Target, ...]:
    def faster(one: str, other: str) -> float | None:
        return best[other] / best[one] if one in best and other in best else None

    webdataset, litdata, mosaic, zarr = (peer.name for peer in PEERS)
    first = next(iter(num_bytes))
    two_s_per_byte = best[READER] / sum(num_bytes.values())
    return (
        Target("reader / memmap loop", 1.2, None, faster(READER, MEMMAP)),
        Target("reader / webdataset", 8, None, faster(READER, webdataset)),
        Target("reader / LitData", 2, None, faster(READER, litdata)),
        Target("reader / Mosaic", 2, None, faster(READER, mosaic)),
        Target("reader / zarr-python", 2, None, faster(READER, zarr)),
        Target("stream / reader of the same rows", 0.8, None, faster(STREAM, ORDERED_READER)),
        Target("stream / reader in store order", 0.8, None, faster(STREAM, READER)),
        Target("packed / padded, stream", 1.2, None, faster(PACKED_STREAM, STREAM)),
        Target("packed / padded, reader", 1.2, None, faster(PACKED_READER, READER)),
        Target(
            "seconds, both modalities / the sum of each alone",
            0.85,
            1.15,
            best[READER] / sum(best[name] for name in ALONE.values()),
        ),
        Target(
            f"seconds a byte, both modalities / {first} alone",
            0.85,
            1.15,
            two_s_per_byte / (best[ALONE[first]] / num_bytes[first]),
        ),
    )
