"""The paper's three data sets, played by generated media: what `scfae reproduce --demo` runs on.

One store of digits seen and heard, some forged, has a question of each kind: find the clip of a
still's digit (ActivityNet), tell forged sound and picture (FakeAVCeleb), and say a value from -3 to
3 of three senses (CMU-MOSEI; a still stands for text). Columns are principal components of what the
encoders say, narrower for a still than for its clip: SCFAE has 80 million weights on the 1,280
features as they are, which 240 clips do not fill and two cores do not train 200 times.
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
SOUND, FRAMES = "ge2e-on-frames", "frames"
FRAMES_WIDTH, STILL_WIDTHS = 192, {"activitynet": 24, "mosei": 96}
"""Principal components kept. Where stills ask for clips, a clip is eight times as wide."""
TRAINING: dict[DatasetName, dict[str, Any]] = {
    "activitynet": {"lr": 1e-3, "epochs": 24, "batch_size": 40},
    "fakeavceleb": {"lr": 1e-3, "epochs": 12},
    "mosei": {"lr": 1e-3, "epochs": 24},
}
"""About 90 steps, of every method: half of the clips are genuine, and only the fakes' set has all.
"""
WINDOWS = ("input:r2plus1d-18:every=4,side=28", "input:resnetse34l:window_s=1")
"""What the encoders of Table 6 read, smaller than they were made for."""
ENCODERS: dict[str, dict[str, Any]] = {
    "audio": {"encoder": "resnetse34l@random:1:window_s=1", "width": 2},
    "video": {"encoder": "r2plus1d-18@random:1:every=4,side=28", "width": 8},
}
"""The encoders, at an eighth of their width and from random weights."""
JOINT: dict[str, Any] = {"lr": 2e-3, "epochs": 4, "batch_size": 16}
"""Settings of a run that trains them."""

_SMALL: dict[str, Any] = {"width": 64, "num_layers": 2}
_TINY: dict[str, Any] = {"num_segments": 4, "num_layers": 1, "num_refiner_blocks": 1}
SIZES: dict[str, dict[str, Any]] = {
    "uavm": {"width": 64, "num_own": 1, "num_shared": 1},
    "perceiver": {"width": 64, "num_latents": 16, "depth": 2, "num_self": 2},
    "meter": _SMALL,
    "avoid_df": _SMALL,
    "macb_df": _SMALL,
    "momke": {"width": 64},
    "mculora": {"width": 64},
    "gcnet": {"width": 64, "graph_width": 64},
    "layer_coupled": {"width": 32, "num_layers": 2, "num_states": 8},
    "mamba_ltc_align": {"width": 64, "num_states": 8},
    "dlf": {"num_layers": 1, "num_last_layers": 1},
    "align_maskrecon": {"width": 64},
    "imder": _TINY | {"channels": [16, 32], "sampling_steps": 3},
    "dicmor": _TINY | {"num_flow_steps": 4, "flow_hidden": 32},
}
"""Smaller than published: 240 clips train no more, and two cores no quicker."""

_NOTE = (
    "Generated media: moving handwriting and synthetic voices, half of the clips with a forged "
    "picture, voice or both, of better forgers in validation and test than in training. Figures "
    "say how methods compare on these, not on the paper's data."
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
    most = sum(split == "train" for split in store.samples.split) // 2
    derive(store, AUDIO, SOUND, Chain.create(resample=VIDEO))
    derive(store, VIDEO, FRAMES, Chain.create(pca=min(FRAMES_WIDTH, 8 * most)))
    for dataset, width in STILL_WIDTHS.items():
        derive(store, image, f"stills-{dataset}", Chain.create(pca=min(width, most)))
    return parts_of(FeatureStore.open(place))


def parts_of(store: FeatureStore) -> dict[DatasetName, Part]:
    """Return the parts that a store of the demo's plays."""
    stills = {dataset: f"stills-{dataset}" for dataset in STILL_WIDTHS}
    shared: dict[str, Any] = {"store": str(store.path.resolve()), "sizes": SIZES, "note": _NOTE}
    fakes, mosei = OFFICIAL["fakeavceleb"], OFFICIAL["mosei"]
    return {
        "activitynet": Part(
            dataset="activitynet",
            title="generated digits: the clip of a still's digit",
            columns={"video": FRAMES, "image": stills["activitynet"]},
            letters={"v": "video", "i": "image"},
            task="retrieval",
            label="digit",
            where={"fake": 0},
            image_dim=store.column(stills["activitynet"]).info.dim,
            training=TRAINING["activitynet"],
            **shared,
        ),
        "fakeavceleb": Part(
            dataset="fakeavceleb",
            title="generated digits: forged voice, forged picture",
            columns={"audio": SOUND, "video": FRAMES},
            letters=fakes.letters,
            task=fakes.task,
            label=fakes.label,
            modality_labels=fakes.modality_labels,
            metrics=fakes.metrics,
            reduced=ENCODERS,
            joint=JOINT,
            training=TRAINING["fakeavceleb"],
            **shared,
        ),
        "mosei": Part(
            dataset="mosei",
            title="generated digits: the digit as a value from -3 to 3, a still in place of text",
            columns={"audio": SOUND, "video": FRAMES, "image": stills["mosei"]},
            letters={"a": "audio", "v": "video", "t": "image"},
            task=mosei.task,
            label="value",
            where={"fake": 0},
            metrics=mosei.metrics,
            training=TRAINING["mosei"],
            **shared,
        ),
    }
