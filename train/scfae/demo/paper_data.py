"""The paper's three data sets, played by generated media: what `scfae reproduce --demo` runs on.

One store of digits seen and heard, some forged, has a question of each kind: find the clip of a
still's digit (ActivityNet), tell forged sound and picture (FakeAVCeleb), and say a value from -3 to
3 of three senses (CMU-MOSEI; a still stands for text).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from scfae.extract import extract
from scfae.store import Chain, FeatureStore, derive
from scfae.store.errors import RunStateError
from scfae.train.reproduce.data import OFFICIAL, Part
from scfae.train.reproduce.tables import DatasetName

from .forgeries import make_forgeries
from .story import AUDIO, IMAGE, VIDEO

Progress = Callable[[int, int, str], None]
Say = Callable[[str], None]

COUNTS = {"train": 240, "val": 80, "test": 160}
SEED = 1
SOUND, STILL = "ge2e-on-frames", "still-128"
WINDOWS = ("input:r2plus1d-18:every=4,side=28", "input:resnetse34l:window_s=1")
"""What the encoders of Table 6 read, smaller than they were made for."""
ENCODERS: dict[str, dict[str, Any]] = {
    "audio": {"encoder": "resnetse34l@random:1:window_s=1", "width": 2},
    "video": {"encoder": "r2plus1d-18@random:1:every=4,side=28", "width": 8},
}
"""The encoders, at an eighth of their width and from random weights."""
JOINT: dict[str, Any] = {"epochs": 5, "batch_size": 16}
"""Settings of a run that trains them."""
SETTINGS: dict[str, Any] = {"epochs": 12, "lr": 1e-3}
"""What a run of the demo has: few epochs, for two cores. All tables were not timed yet."""

_SMALL: dict[str, Any] = {"width": 64, "num_layers": 2}
SIZES: dict[str, dict[str, Any]] = {
    "uavm": {"width": 64, "num_own": 1, "num_shared": 1},
    "perceiver": {"width": 64, "num_latents": 16, "depth": 2, "num_self": 2},
    "meter": _SMALL,
    "avoid_df": _SMALL,
    "macb_df": _SMALL,
    "momke": {"width": 64},
    "mculora": {"width": 64},
    "gcnet": {"width": 64, "graph_width": 64},
    "layer_coupled": {"width": 64, "num_layers": 1},
    "dlf": {"num_layers": 1, "num_cross_layers": 1},
    "align_maskrecon": {"width": 64},
    "imder": {"sampling_steps": 10, "num_refiner_blocks": 4, "num_layers": 1},
    "dicmor": {"num_flow_steps": 8, "num_refiner_blocks": 4, "num_layers": 1},
}
"""Smaller than published: 240 clips train no more, and two cores no quicker."""

_NOTE = (
    "Generated media: moving handwriting and synthetic voices, half of the clips with a forged "
    "picture, voice or both. Figures say how methods compare on these, not on the paper's data."
)


def make_paper_data(
    folder: Path,
    *,
    counts: dict[str, int] | None = None,
    say: Say = print,
    progress: Progress | None = None,
) -> dict[DatasetName, Part]:
    """Return the three data sets, made in `folder` where they are not there yet.

    Args:
        folder: Made if needed; what is there of an earlier call is used.
        counts: Clips a split; 240 / 80 / 160 if not given.
        say: Receives one line a step.
        progress: Receives (done, total, text).
    """
    place = folder / "features"
    say("draw handwriting, synthesise speech, forge half of the clips")
    manifest = make_forgeries(folder / "media", counts or COUNTS, seed=SEED, progress=progress)
    say(f"extract {VIDEO} (frames and stills) and {AUDIO}: real weights; keep windows for Table 6")
    encoders = (VIDEO, IMAGE, AUDIO, *WINDOWS)
    report = extract(manifest, place, encoders, shard_size=64, progress=progress)
    if report.exceeded:
        raise RunStateError(f"the demo's own media could not be read: {report.text()}")
    store = FeatureStore.open(place)
    image = store.column(IMAGE).info.name
    derive(store, AUDIO, SOUND, Chain.create(resample=VIDEO))
    width = min(128, sum(split == "train" for split in store.samples.split) // 2)
    derive(store, image, STILL, Chain.create(pca=width))
    return parts_of(place, image, width)


def parts_of(place: Path, image: str, image_dim: int) -> dict[DatasetName, Part]:
    """Return the parts that a store of the demo's plays.

    Args:
        place: The store.
        image: Its column of stills.
        image_dim: Width of the stills' principal components.
    """
    shared: dict[str, Any] = {"store": str(place.resolve()), "sizes": SIZES, "note": _NOTE}
    fakes, mosei = OFFICIAL["fakeavceleb"], OFFICIAL["mosei"]
    return {
        "activitynet": Part(
            dataset="activitynet",
            title="generated digits: the clip of a still's digit",
            columns={"video": VIDEO, "image": STILL},
            letters={"v": "video", "i": "image"},
            task="retrieval",
            label="digit",
            where={"fake": 0},
            image_dim=image_dim,
            **shared,
        ),
        "fakeavceleb": Part(
            dataset="fakeavceleb",
            title="generated digits: forged voice, forged picture",
            columns={"audio": SOUND, "video": VIDEO},
            letters=fakes.letters,
            task=fakes.task,
            label=fakes.label,
            modality_labels=fakes.modality_labels,
            metrics=fakes.metrics,
            reduced=ENCODERS,
            joint=JOINT,
            **shared,
        ),
        "mosei": Part(
            dataset="mosei",
            title="generated digits: the digit as a value from -3 to 3, a still in place of text",
            columns={"audio": SOUND, "video": VIDEO, "image": image},
            letters={"a": "audio", "v": "video", "t": "image"},
            task=mosei.task,
            label="value",
            where={"fake": 0},
            metrics=mosei.metrics,
            **shared,
        ),
    }
