"""The demo's story: media -> features -> fusion -> every missing-modality condition -> a swap.

Everything goes through the same functions as the commands; the folder can be given to each of
them afterwards. Running the demo again on the same folder goes on where it stopped.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scfae.extract import extract, load_encoder
from scfae.store import FeatureStore
from scfae.store.atomic import sha256_file
from scfae.store.errors import ConfigError, RunStateError, WeightsUnavailable
from scfae.train import (
    Evaluation,
    RunConfig,
    RunFolder,
    evaluate,
    load_config,
    train,
    write_report,
)

from .clips import genuine_only, make_media

Progress = Callable[[int, int, str], None]
Say = Callable[[str], None]

VIDEO = "efficientnet-lite0"
IMAGE = "efficientnet-lite0:modality=image"
AUDIO = "ge2e"
SWAP = "r2plus1d-18"
COUNTS = {"train": 160, "val": 40, "test": 80}
FAKE_RATIO = 0.25
SEED = 1
RATES = {"scfae": 5e-5, "concat": 1e-3}
"""Learning rate of each method, as the validation split of these clips chose it: see the README."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo made.

    Attributes:
        report: The page to open.
        store: The feature store.
        runs: Run folder by name: scfae, concat, scfae-swapped, scfae-fake.
        evaluations: Evaluation by the same names.
        seconds: Wall time by stage.
    """

    report: Path
    store: Path
    runs: dict[str, Path]
    evaluations: dict[str, Evaluation]
    seconds: dict[str, float]


def run_demo(
    folder: Path,
    *,
    counts: dict[str, int] | None = None,
    epochs: int = 40,
    say: Say = print,
    progress: Progress | None = None,
) -> DemoResult:
    """Run the whole system on digits seen and heard, in `folder`.

    Args:
        folder: Made if needed; what is there of an earlier demo is used.
        counts: Samples a split; 160 / 40 / 80 if not given.
        epochs: Of each training; half as many for the second question.
        say: Receives one line a step.
        progress: Receives (done, total, text).

    Raises:
        ConfigError: A run there was trained by a demo of other settings.
    """
    seconds: dict[str, float] = {}

    @contextmanager
    def stage(name: str, text: str) -> Iterator[None]:
        say(text)
        start = time.monotonic()
        yield
        seconds[name] = time.monotonic() - start

    store = folder / "features"
    runs: dict[str, Path] = {}
    evaluations: dict[str, Evaluation] = {}

    def fuse(name: str, fusion: str, label: str, video: str, *, epochs: int = epochs) -> None:
        runs[name] = folder / "runs" / name
        config = load_config(
            None,
            {
                "store": str(store),
                "columns": {
                    "video": video,
                    "audio": AUDIO,
                    "image": FeatureStore.open(store).column(IMAGE).info.name,
                },
                "label": label,
                # The digit is the picture's: a voice that says another one would be noise.
                "where": {"fake": 0} if label == "digit" else {},
                "fusion": fusion,
                "masking": "subsets",
                "clip_norm": 1.0,
                "lr": RATES[fusion],
                "epochs": epochs,
                "batch_size": 32,
                "seed": SEED,
                "run": str(runs[name]),
            },
        )
        _check_same(runs[name], config)
        train(config, progress=progress)
        evaluations[name] = evaluate(runs[name])

    with stage("media", "1/6  draw handwriting, synthesise speech, mux H.264 + AAC"):
        manifest = make_media(
            folder / "media", counts or COUNTS, fake_ratio=FAKE_RATIO, seed=SEED, progress=progress
        )
    with stage("extract", f"2/6  extract {VIDEO} (frames and stills) and {AUDIO}: real weights"):
        _extract(manifest, store, (VIDEO, IMAGE, AUDIO), progress)
    with stage("train", "3/6  train scfae and concat on the digit, evaluate every condition"):
        fuse("scfae", "scfae", "digit", VIDEO)
        fuse("concat", "concat", "digit", VIDEO)
    with stage("fake", "4/6  the same features, another question: does the voice match? (fake)"):
        fuse("scfae-fake", "scfae", "fake", VIDEO, epochs=max(1, epochs // 2))
    swap, note = _find_swap()
    with stage("swap", f"5/6  swap the video backbone: extract {swap} ({note})"):
        before = _digests(store)
        _extract(genuine_only(manifest), store, (swap,), progress)
        _check_untouched(before, _digests(store))
        say(f"     {len(before)} files of the other columns: not one byte touched")
        fuse("scfae-swapped", "scfae", "digit", SWAP)
    with stage("report", "6/6  write the report"):
        for name in ("concat", "scfae-swapped", "scfae-fake"):
            write_report(runs[name])
        others = (runs["concat"], runs["scfae-swapped"])
        report = write_report(runs["scfae"], comparisons=others)
    return DemoResult(report, store, runs, evaluations, seconds)


def _extract(
    manifest: Path, store: Path, encoders: tuple[str, ...], progress: Progress | None
) -> None:
    report = extract(manifest, store, encoders, shard_size=64, progress=progress)
    if report.exceeded:
        raise RunStateError(f"the demo's own media could not be read: {report.text()}")


def _check_same(run: Path, config: RunConfig) -> None:
    if RunFolder.exists(run) and RunFolder(run).config.differences(config):
        raise ConfigError(
            f"{run} was trained by another version of the demo: remove {run.parent} (media and "
            "features stay, and are used again), or give another folder."
        )


def _find_swap() -> tuple[str, str]:
    """Return the encoder to swap in and what its weights are."""
    try:
        load_encoder(SWAP)
    except WeightsUnavailable:
        return f"{SWAP}@random:0", "its weights are not on this machine: noise, as a baseline"
    return SWAP, "published weights found on this machine"


def _digests(store: Path) -> dict[str, str]:
    return {
        str(path.relative_to(store)): sha256_file(path)
        for path in sorted((store / "columns").rglob("*"))
        if path.is_file() and SWAP not in path.relative_to(store).parts
    }


def _check_untouched(before: dict[str, str], after: dict[str, str]) -> None:
    changed = sorted(name for name in before if before[name] != after.get(name))
    if changed:
        raise RunStateError(f"the swap changed files of other columns: {', '.join(changed)}")
