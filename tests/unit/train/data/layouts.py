"""Small trees in the layouts of the official data sets, written on the spot, with real media."""

import csv
import shutil
from fractions import Fraction
from pathlib import Path

import av
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
