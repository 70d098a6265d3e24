"""The extraction engine beside the bare work it has to do, and beside one decode an encoder.

All in one run and one process, on the same clips, rounds interleaved, the best of each counts:

- *together*: the engine, every encoder over one decode of each file, into a fresh store;
- *decode once*: each file decoded and cut into windows for all encoders, nothing else;
- *forward*: for each encoder the batches that the engine makes, already decoded and composed;
- *one by one*: for each encoder in turn each file is decoded, encoded by itself and saved as .npy,
  as extractors do that know one encoder at a time (video_features, MMSA-FET, s3prl). This is our
  own loop in their order of work; their code is not run.

What an encoder adds is told twice: in seconds on the clock, and in seconds of the processors, of
this process and of those that decode for it. The first also depends on which work falls together.

What comes once and does not grow with the media is left out on all sides: importing, loading
encoders, planning. The engine's decoding processes and their start are counted. Rows of the engine
are compared with those of the bare passes before anything is timed.
"""

import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from scfae.extract import Encoder, Recipe, Window
from scfae.extract.media import decode
from scfae.extract.preparation import prepare
from scfae.extract.running import run_here
from scfae.extract.settings import ExtractSettings
from scfae.store import FeatureStore

from .clips import FRAME_RATE_HZ, HEIGHT, WIDTH, write_clips
from .machine import machine
from .tables import Target, promises, table, with_outcomes

ENCODERS: Final = (
    "efficientnet-lite0@random:0",
    "resnetse34l@random:0",
    "r2plus1d-18@random:0:fps=8",
)
BATCH_SIZE: Final = 8
CLIP_S: Final = 4.0
TOGETHER: Final = "engine, all encoders"
FEWER: Final = "engine, all but the last encoder"
DECODE: Final = "decode once"
PASSES: Final = "forward passes"
ONE_BY_ONE: Final = "one by one"
_TOLERANCE: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Result:
    """What one run measured.

    Attributes:
        machine: Where.
        clips: How many files.
        seconds: Length of each.
        threads: Of a forward pass.
        rounds: Of how many rounds the best counts.
        encoders: In order; the last is the one that is added.
        best_s: Seconds of each way.
        cpu_s: Seconds of the processors that each way took, of all processes; the least of all.
        targets: All promises.
    """

    machine: str
    clips: int
    seconds: float
    threads: int
    rounds: int
    encoders: tuple[str, ...]
    best_s: dict[str, float]
    cpu_s: dict[str, float]
    targets: tuple[Target, ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return with_outcomes(asdict(self), self.targets)

    def to_text(self) -> str:
        """Return both tables as text."""
        head = (
            f"{self.machine}\n{self.clips} clips of {self.seconds:g} s, {WIDTH} x {HEIGHT} at "
            f"{FRAME_RATE_HZ} Hz with sound, batches of {BATCH_SIZE}, {self.threads} threads a "
            f"forward pass, best of {self.rounds} interleaved rounds\n"
        )
        figures = [
            (name, f"{best:.2f}", f"{self.cpu_s[name]:.2f}") for name, best in self.best_s.items()
        ]
        return "\n".join(
            [
                head,
                *table(("way", "seconds", "of processors"), figures),
                "",
                *promises(self.targets),
            ]
        )


def measure(
    num_clips: int,
    rounds: int,
    *,
    encoders: Sequence[str] = ENCODERS,
    clip_s: float = CLIP_S,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Result:
    """Write clips, check the engine's rows and measure.

    Args:
        num_clips: How many files.
        rounds: How often each way is taken.
        encoders: At least two; the last is the one that is added.
        clip_s: Length of each clip in seconds.
        folder: Where to write; the system's folder for temporaries if not given.
        say: Is told what is being done.

    Raises:
        RuntimeError: If the engine's rows are not those of the bare passes.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="scfae-bench-") as name:
        root = Path(name)
        media = root / "media"
        media.mkdir()
        say(f"writing {num_clips} clips of {clip_s:g} s")
        paths = write_clips(media, num_clips, seconds=clip_s)
        say("loading encoders")
        bare = _Bare(root, media, paths, encoders)
        say("checking the engine's rows")
        _check(bare)
        ways: dict[str, Callable[[], Taken]] = {
            TOGETHER: lambda: bare.engine(encoders),
            FEWER: lambda: bare.engine(encoders[:-1]),
            DECODE: bare.decode_once,
            **{f"forward, {text}": bare.passes(text) for text in encoders},
            ONE_BY_ONE: bare.one_by_one,
        }
        best = dict.fromkeys(ways, Taken(float("inf"), float("inf")))
        for number in range(rounds):
            for way, run in ways.items():
                say(f"round {number + 1} of {rounds}: {way}")
                best[way] = Taken(*map(min, best[way], run()))
    best_s = {way: taken.wall_s for way, taken in best.items()}
    cpu_s = {way: taken.cpu_s for way, taken in best.items()}
    return Result(
        machine=machine(),
        clips=num_clips,
        seconds=clip_s,
        threads=torch.get_num_threads(),
        rounds=rounds,
        encoders=tuple(encoders),
        best_s=best_s,
        cpu_s=cpu_s,
        targets=_targets(best_s, cpu_s, encoders),
    )


class Taken(NamedTuple):
    """What some work took: seconds on the clock, and of the processors in all its processes."""

    wall_s: float
    cpu_s: float


class _Bare:
    """The ways, over one set of clips and loaded encoders."""

    def __init__(
        self, root: Path, media: Path, paths: Sequence[Path], encoders: Sequence[str]
    ) -> None:
        self._root = root
        self._media = media
        self.paths = paths
        self._count = 0
        self._texts = list(encoders)
        first = self._settings(encoders, root / "names")
        plans = prepare(first, device="cpu", dry_run=True).work.columns
        self.names = dict(zip(encoders, plans, strict=True))
        self.encoders: Mapping[str, Encoder] = {name: p.encoder for name, p in plans.items()}
        self._recipes: Mapping[str, Recipe] = {
            name: one.recipe("audio" if one.spec.modality == "audio" else "video")
            for name, one in self.encoders.items()
        }
        self._batches = {name: self._batches_of(name) for name in self.encoders}

    def engine(self, encoders: Sequence[str], store: Path | None = None) -> Taken:
        """Return what an extraction into a fresh store takes."""
        self._count += 1
        place = store or self._root / f"store-{self._count}"
        prepared = prepare(self._settings(encoders, place), device="cpu")
        return _taken(lambda: run_here(prepared, None))

    def decode_once(self) -> Taken:
        """Return the seconds of decoding and cutting each file for all encoders."""

        def work() -> None:
            for path in self.paths:
                decode(path, self._recipes, emit=lambda part: None)

        return _taken(work)

    def passes(self, text: str) -> Callable[[], Taken]:
        """Return what gives the seconds of an encoder's forward passes alone."""
        name = self.names[text]
        return lambda: _taken(lambda: [self.encode(name, b) for b in self._batches[name]])

    def one_by_one(self) -> Taken:
        """Return the seconds of taking each encoder, and for it each file, in turn."""
        out = self._root / "npy"
        out.mkdir(exist_ok=True)

        def work() -> None:
            for name in self.encoders:
                for path in self.paths:
                    windows = self._windows(path, [name])[name]
                    rows = [
                        self.encode(name, _stack(windows[i : i + BATCH_SIZE]))
                        for i in range(0, len(windows), BATCH_SIZE)
                    ]
                    np.save(out / f"{path.stem}.{name}.npy", np.concatenate(rows))

        return _taken(work)

    def encode(self, name: str, batch: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the rows of a batch."""
        with torch.inference_mode():
            encoded = self.encoders[name].encode(torch.from_numpy(batch)).float().numpy()
        rows: np.ndarray[Any, Any] = encoded
        return rows

    def rows_of(self, name: str, path: Path) -> np.ndarray[Any, Any]:
        """Return the rows of a file, a window at a time."""
        windows = self._windows(path, [name])[name]
        rows = [self.encode(name, _stack([one]))[0, one.kept] for one in windows]
        return np.concatenate(rows)

    def _windows(self, path: Path, names: Sequence[str]) -> dict[str, list[Window]]:
        fates = decode(path, {name: self._recipes[name] for name in names}).fates
        return {name: fate.windows for name, fate in fates.items()}

    def _batches_of(self, name: str) -> list[np.ndarray[Any, Any]]:
        """Return all windows of an encoder in batches as the engine makes them."""
        windows = [one for path in self.paths for one in self._windows(path, [name])[name]]
        batches = []
        for i in range(0, len(windows), BATCH_SIZE):
            batch = _stack(windows[i : i + BATCH_SIZE])
            full = np.zeros((BATCH_SIZE, *batch.shape[1:]), dtype=batch.dtype)
            full[: len(batch)] = batch
            batches.append(full)
        return batches

    def _settings(self, encoders: Sequence[str], store: Path) -> ExtractSettings:
        return ExtractSettings(
            str(self._media),
            str(store),
            tuple(encoders),
            device="cpu",
            batch_size=BATCH_SIZE,
            shard_size=max(len(self.paths), 1),
        )


def _check(bare: _Bare) -> None:
    place = bare._root / "checked"
    bare.engine(bare._texts, place)
    store = FeatureStore.open(place)
    for name in bare.encoders:
        column = store.column(name)
        for index, one in enumerate(store.samples.ids):
            (path,) = [path for path in bare.paths if path.stem == one]
            wanted, got = bare.rows_of(name, path), column.rows(index)
            if got.shape != wanted.shape or np.abs(got - wanted).max() > _TOLERANCE * max(
                1.0, float(np.abs(wanted).max())
            ):
                raise RuntimeError(f"the engine gave other rows of {path.name} by {name}")


def _targets(
    best_s: Mapping[str, float], cpu_s: Mapping[str, float], encoders: Sequence[str]
) -> tuple[Target, ...]:
    forward = {text: best_s[f"forward, {text}"] for text in encoders}
    bare = best_s[DECODE] + sum(forward.values())
    last = encoders[-1]

    def added(seconds: Mapping[str, float]) -> float:
        return (seconds[TOGETHER] - seconds[FEWER]) / seconds[f"forward, {last}"]

    return (
        Target("engine / (decode once + forward passes)", None, 1.10, best_s[TOGETHER] / bare),
        Target("one by one / engine", 1.0, None, best_s[ONE_BY_ONE] / best_s[TOGETHER]),
        Target(f"adding {last} / its forward passes", None, 1.05, added(best_s)),
        Target("the same, in seconds of processors", None, 1.05, added(cpu_s)),
    )


def _stack(windows: Sequence[Window]) -> np.ndarray[Any, Any]:
    return np.stack([one.array for one in windows])


def _taken(work: Callable[[], Any]) -> Taken:
    begun, cpu_s = time.perf_counter(), _cpu_s()
    work()
    return Taken(time.perf_counter() - begun, _cpu_s() - cpu_s)


def _cpu_s() -> float:
    """Return the seconds of processors of this process and of its children that ended."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, whose))
