"""Small trees in the layouts of the official data sets, written on the spot, with real media."""

import csv
import pickle
import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
from PIL import Image

CLASSES = {
    "RealVideo-RealAudio": ("A", "real"),
    "RealVideo-FakeAudio": ("B", "rtvc"),
    "FakeVideo-RealAudio": ("C", "faceswap"),
    "FakeVideo-FakeAudio": ("D", "wav2lip"),
}
HEADER = ["source", "target1", "target2", "method", "category", "type", "race", "gender", "path"]
MVF_LABELS = {
    "RealVideo-RealAudio": 0,
    "FakeVideo-RealAudio": 1,
    "RealVideo-FakeAudio": 2,
    "FakeVideo-FakeAudio": 3,
}


def write_clip(path: Path, *, seconds: float = 0.5, tone_hz: float = 300.0) -> Path:
    """Write a small H.264 + AAC clip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rate_hz = 16_000
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.thread_count = 1
        sound = output.add_stream("aac", rate=rate_hz, layout="mono")
        for i in range(round(seconds * 10)):
            pixels = np.full((48, 64, 3), 40 + 20 * i, dtype=np.uint8)
            output.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(video.encode(None))
        time_s = np.arange(round(seconds * rate_hz)) / rate_hz
        wave = 0.5 * np.sin(2 * np.pi * tone_hz * time_s).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(wave[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate_hz, 0, Fraction(1, rate_hz)
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    return path


def write_picture(path: Path, level: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((32, 32, 3), level, dtype=np.uint8)).save(path)
    return path


def identity(number: int) -> str:
    return f"id{number:05d}"


def write_fakeavceleb(
    root: Path, clip: Path, *, identities: int = 12, home: str = "FakeAVCeleb"
) -> list[list[str]]:
    """Write the tree and `meta_data.csv` of v1.2: a clip of each class for each identity.

    Args:
        root: The folder to make.
        clip: The media of every clip.
        identities: Sources; half are women, of two races.
        home: What the set was called at its authors'.

    Returns:
        The lines of the table without its header.
    """
    lines = []
    for number in range(identities):
        source, target = identity(number), identity((number + 1) % identities)
        race = "African" if number % 4 < 2 else "Asian (East)"
        gender = "men" if number % 2 else "women"
        for kind, (category, method) in CLASSES.items():
            name = f"{number:05d}.mp4" if kind.startswith("Real") else f"{number:05d}_{target}.mp4"
            swapped = target if kind.startswith("Fake") else "-"
            folder = f"{kind}/{race}/{gender}/{source}"
            (root / folder).mkdir(parents=True, exist_ok=True)
            shutil.copy(clip, root / folder / name)
            line = [source, swapped, "-", method, category, kind, race, gender, name]
            lines.append([*line, f"{home}/{folder}"])
    write_table(root, lines)
    return lines


def write_table(root: Path, lines: list[list[str]]) -> None:
    """Write `meta_data.csv`; its last column has no name."""
    with (root / "meta_data.csv").open("w", newline="") as file:
        csv.writer(file).writerows([[*HEADER, ""], *lines])


def write_mvf_list(path: Path, lines: list[list[str]], split: str) -> Path:
    """Write a public list: a frame of each video a line, races with underscores."""
    text = ""
    for line in lines:
        kind, name = line[5], Path(line[8]).stem
        race = line[6].replace(" ", "_")
        text += f"/data/FakeAVCeleb/{split}/face/{kind}/{race}/{line[7]}/{line[0]}/{name}_00081.jpg"
        text += f" {MVF_LABELS[kind]}\n"
    path.write_text(text)
    return path


def write_mmsa(path: Path, *, dialogues: int = 2) -> dict[str, Any]:
    """Write MMSA's `aligned_50.pkl` in small: ids VIDEO$_$CLIP, sentiment, three modalities."""
    random = np.random.default_rng(5)
    content: dict[str, Any] = {}
    for split in ("train", "valid", "test"):
        ids = [f"{split}{d}$_${clip}" for d in range(dialogues) for clip in (0, 2, 10)]
        count = len(ids)
        content[split] = {
            "raw_text": np.array(["so"] * count, dtype=object),
            "id": ids,
            "text": random.normal(size=(count, 50, 7)).astype("f4"),
            "audio": random.normal(size=(count, 50, 5)),
            "vision": random.normal(size=(count, 50, 3)),
            "annotations": ["Positive"] * count,
            "regression_labels": np.round(random.uniform(-3, 3, count), 2),
        }
    content["train"]["audio"][1, 3, 2] = -np.inf
    path.write_bytes(pickle.dumps(content))
    return content


def write_gcnet(root: Path) -> Path:
    """Write utterance folders and the label pickle: videos v0 to v2 of 2 to 4 utterances."""
    videos = {f"v{i}": [f"v{i}_{k}" for k in range(i + 2)] for i in range(3)}
    widths = {"wav2vec-large-c-UTT": 512, "deberta-large-4-UTT": 1024, "manet_UTT": 1024}
    for folder, dim in widths.items():
        (root / folder).mkdir(parents=True)
        for names in videos.values():
            for name in names:
                np.save(root / folder / f"{name}.npy", np.full(dim, len(name), "f4"))
    labels = {name: np.linspace(-1, 2, len(names)) for name, names in videos.items()}
    blank = {name: ["" for _ in names] for name, names in videos.items()}
    path = root / "CMUMOSEI_features_raw_2way.pkl"
    path.write_bytes(pickle.dumps([videos, labels, blank, blank, {"v0"}, {"v1"}, {"v2"}]))
    return path


def write_csd(path: Path, name: str, videos: dict[str, tuple[Any, Any]]) -> Path:
    """Write a computational sequence: features `[T, D]` and intervals `[T, 2]` of each video."""
    with h5py.File(path, "w") as file:
        for video, (features, intervals) in videos.items():
            file[f"{name}/data/{video}/features"] = np.asarray(features, dtype="f4")
            file[f"{name}/data/{video}/intervals"] = np.asarray(intervals, dtype="f8")
    return path


def write_sdk(root: Path) -> Path:
    """Write labels of two segments in each of five videos, and words, sound at 2 Hz and faces."""
    root.mkdir(parents=True)
    names = [f"vid{i}" for i in range(5)]
    spans = np.array([[0.0, 2.0], [2.0, 5.0]])
    labels = {
        name: (np.array([[i - 2.0, 0, 0, 0, 0, 0, 0], [1.5] + [0] * 6]), spans)
        for i, name in enumerate(names)
    }
    write_csd(root / "CMU_MOSEI_Labels.csd", "All Labels", labels)
    clock = np.stack([np.arange(10) / 2, np.arange(1, 11) / 2], axis=1)
    sound = {name: (np.arange(30).reshape(10, 3), clock) for name in [*names, "unlabelled"]}
    write_csd(root / "CMU_MOSEI_COVAREP.csd", "COVAREP", sound)
    words = {name: (np.ones((3, 4)), [[0, 1], [1.5, 2.5], [4, 5]]) for name in names[:4]}
    write_csd(root / "CMU_MOSEI_TimestampedWordVectors.csd", "glove_vectors", words)
    write_csd(root / "CMU_MOSEI_Extra.csd", "extra", words)
    folds = root / "cmu_mosei_std_folds.py"
    folds.write_text(
        "import os\nos.remove('/nowhere')\n"
        "standard_train_fold=['vid0', 'vid1']\nstandard_valid_fold=['vid2']\n"
        "standard_test_fold=['vid3']\n"
    )
    return folds


def write_apivr(root: Path, *, videos: tuple[int, int, int] = (6, 64, 4096)) -> None:
    """Write the six pickles: train of N bags, test of half as many; classes count from 1."""
    root.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(9)
    count, bag, dim = videos
    for split, num in (("train", count), ("test", count // 2)):
        parts = {
            "v": random.normal(size=(num, bag, dim)).astype("f4"),
            "i": random.normal(size=(num, 128)).astype("f4"),
            "label": 1 + np.arange(num) % 3,
        }
        for name, values in parts.items():
            # As Python 2 wrote them.
            (root / f"{split}_{name}.pkl").write_bytes(pickle.dumps(values, protocol=2))
