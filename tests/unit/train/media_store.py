"""A synthetic store whose samples have real media: clips with sound, stills, texts."""

from pathlib import Path

import numpy as np
from PIL import Image

from scfae.demo.clips import mux
from scfae.store import FeatureStore, SampleRow

from .small_runs import task_store

EVIL = "<script>alert(1)</script>"
RATE_HZ = 22_050


def media_store(folder: Path, *, num_files: int = 4) -> FeatureStore:
    """Write `task_store` beside `clips/`, a few files that all samples share.

    Every sample has a clip of 10 pictures in a second, a still and a text that is written out; one
    text is markup.
    """
    media = folder / "clips"
    media.mkdir(parents=True)
    for number in range(num_files):
        frames = [_picture(number, k) for k in range(10)]
        time_s = np.arange(RATE_HZ) / RATE_HZ
        sound = (0.5 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)
        mux(media / f"{number}.mp4", frames, sound, RATE_HZ)
        Image.fromarray(_picture(number, 0)).save(media / f"{number}.png")
    store = task_store(folder / "features")
    samples = store.samples
    names = samples.label_names
    labels = {name: samples.label(name) for name in names}
    store.update_labels(
        [
            SampleRow(
                id=str(name),
                split=samples.split[i],
                labels={label: labels[label][i] for label in names},
                media={
                    "video": f"{i % num_files}.mp4",
                    "image": f"{i % num_files}.png",
                    "text": f"{EVIL} said {i}",
                },
            )
            for i, name in enumerate(samples.ids)
        ]
    )
    return FeatureStore.open(folder / "features")


def _picture(number: int, k: int) -> np.ndarray:
    pixels = np.full((120, 160, 3), 40 + 50 * number, dtype=np.uint8)
    pixels[:, : 16 * (k + 1), 0] = 230
    return pixels
