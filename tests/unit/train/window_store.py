"""A store of windows: what reduced encoders read, with a label that each modality tells."""

from pathlib import Path
from typing import Any

import numpy as np

from scfae.store import ColumnInfo, FeatureStore, SampleRow, ShardSample

VIDEO, AUDIO = "r2plus1d-18:every=8,side=14", "resnetse34l:window_s=0.1"
ENCODERS: dict[str, dict[str, Any]] = {
    "video": {"encoder": "r2plus1d-18@random:1:every=8,side=14", "width": 2},
    "audio": {"encoder": "resnetse34l@random:1:window_s=0.1", "width": 2},
}
DIMS = {"video": 3 * 2 * 14 * 14, "audio": 1600}
WIDTHS = {"video": 16, "audio": 64}
"""Features that the encoders of width 2 give."""
SETTINGS: dict[str, Any] = {
    "columns": {"video": "windows-of-video", "audio": "windows-of-audio"},
    "task": "deepfake",
    "label": "fake",
    "modality_labels": {"video": "fake_video", "audio": "fake_audio"},
    "encoders": ENCODERS,
    "options": {"map_groups": 4},
    "epochs": 2,
    "batch_size": 12,
    "lr": 3e-3,
}
_RATE_HZ = 16_000


def window_store(folder: Path, *, num_samples: int = 60, missing: float = 0.1) -> FeatureStore:
    """Write one or two windows a sample: forged pictures are brighter, forged sound falls in pitch.

    A half is for training, a fifth to select by, the rest to test on.
    """
    generator = np.random.default_rng(0)
    splits = ["train"] * (num_samples // 2) + ["val"] * (num_samples // 5)
    splits += ["test"] * (num_samples - len(splits))
    forged = generator.integers(2, size=(num_samples, 2))
    samples = [
        SampleRow(
            id=f"s{i:03}",
            split=split,
            labels={"fake": int(any(row)), "fake_video": int(row[0]), "fake_audio": int(row[1])},
        )
        for i, (split, row) in enumerate(zip(splits, forged, strict=True))
    ]
    store = FeatureStore.create(folder, samples, shard_size=num_samples)
    # A store has an order of its own.
    order = [int(str(name).removeprefix("s")) for name in store.samples.ids]
    counts = generator.integers(1, 3, size=num_samples)
    here = generator.random((num_samples, 2)) >= missing
    here[:, 1] |= ~here[:, 0]
    for place, (name, encoder) in enumerate((("video", VIDEO), ("audio", AUDIO))):
        info = ColumnInfo.create(
            f"windows-of-{name}",
            name,
            encoder=f"input:{encoder}",
            dim=DIMS[name],
            dtype="float16" if name == "video" else "float32",
        )
        draw = _picture if name == "video" else _sound
        with store.add_column(info) as writer:
            writer.commit(
                0,
                [
                    ShardSample(
                        np.stack([draw(generator, int(forged[i, place])) for _ in range(counts[i])])
                    )
                    if here[i, place]
                    else ShardSample(status="missing", reason="hidden")
                    for i in order
                ],
            )
    return FeatureStore.open(folder)


def _picture(generator: np.random.Generator, forged: int) -> Any:
    pixels = generator.normal(90 + 70 * forged, 20, size=DIMS["video"])
    return np.clip(np.rint(pixels), 0, 255)


def _sound(generator: np.random.Generator, forged: int) -> Any:
    time_s = np.arange(DIMS["audio"]) / _RATE_HZ
    # The network norms each band over time, so a steady pitch would tell it nothing.
    is_high = (time_s < time_s[-1] / 2) == bool(forged)
    tone = 0.3 * np.sin(2 * np.pi * np.where(is_high, 2_500, 300) * time_s)
    return (tone + generator.normal(0, 0.02, size=len(time_s))).astype(np.float32)
