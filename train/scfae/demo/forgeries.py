"""Digits seen and heard, some with a forged picture, some with a forged voice.

What `scfae reproduce --demo` runs on. Half of the clips are genuine; the others have a forged
picture (redrawn from one of half its size, with the grid that transposed convolutions leave: Odena
et al., Deconvolution and checkerboard artifacts, 2016), a forged voice (modulated, as a vocoder's),
or both: the classes RvRa, RvFa, FvRa and FvFa of FakeAVCeleb, though in other shares. Pictures and
voices of one split appear in no other. Labels: `digit`, `class`, `fake`, `fake_video`,
`fake_audio`, and `value`, the digit laid from -3 to 3, which is never 0.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from scfae.store.atomic import write_atomic

from .clips import Clip, Progress, mux, plan_clips, speak
from .handwriting import HEIGHT, WIDTH, Pixels, draw_clip, draw_still, load_handwriting
from .speech import Speaker

CLASSES = ("RvRa", "RvFa", "FvRa", "FvFa")
GENUINE_SHARE = 0.5
MODULATION_HZ = 70.0
GRID_PX, GRID_LEVELS = 4, 12
"""Side of a forged picture's squares, and how much lighter or darker than the picture they are."""
_FRAMES = 16
_HEADER = "id,video,image,split,group,digit,value,class,fake,fake_video,fake_audio\n"

Sound = npt.NDArray[np.float32]


def make_forgeries(
    folder: Path, counts: dict[str, int], *, seed: int, progress: Progress | None = None
) -> Path:
    """Make the media in `folder` and return the path of their manifest.

    Files that are there stay; the manifest is written last.

    Args:
        folder: Made if needed.
        counts: Clips a split.
        seed: Of every choice.
        progress: Receives (clips done, clips in all, text).
    """
    folder.mkdir(parents=True, exist_ok=True)
    handwriting = load_handwriting()
    clips = plan_clips(handwriting, counts, 0.0, seed)
    kinds = deal_classes([clip.split for clip in clips], seed)
    speaker = Speaker()
    lines = [_HEADER]
    for number, (clip, kind) in enumerate(zip(clips, kinds, strict=True)):
        if progress is not None:
            progress(number, len(clips), clip.id)
        generator = np.random.default_rng(clip.seed)
        frames = draw_clip(handwriting.images[clip.image_video], _FRAMES, generator)
        still = draw_still(handwriting.images[clip.image_still], generator)
        sound = speak(speaker, clip, generator)
        if kind.startswith("Fv"):
            frames = [forge_picture(frame) for frame in frames]
        if kind.endswith("Fa"):
            sound = forge_voice(sound, speaker.sample_rate_hz)
        still_path, video_path = folder / f"{clip.id}.png", folder / f"{clip.id}.mp4"
        if not still_path.exists():
            partial = still_path.with_suffix(".part.png")
            Image.fromarray(still).save(partial)
            partial.replace(still_path)
        if not video_path.exists():
            mux(video_path, frames, sound, speaker.sample_rate_hz)
        lines.append(_line(clip, kind))
    if progress is not None:
        progress(len(clips), len(clips), "")
    manifest = folder / "manifest.csv"
    write_atomic(manifest, "".join(lines).encode())
    return manifest


def deal_classes(splits: list[str], seed: int) -> list[str]:
    """Return a class for each clip: half genuine, the rest alike, in every split."""
    generator = np.random.default_rng([seed, 1])
    dealt = np.empty(len(splits), dtype=object)
    for split in dict.fromkeys(splits):
        places = np.array([place for place, name in enumerate(splits) if name == split])
        fakes = np.arange(len(places) - round(GENUINE_SHARE * len(places))) % 3 + 1
        kinds = np.concatenate([np.zeros(len(places) - len(fakes), dtype=np.int64), fakes])
        for place, kind in zip(generator.permutation(places), kinds, strict=True):
            dealt[place] = CLASSES[kind]
    return [str(kind) for kind in dealt]


def forge_picture(pixels: Pixels) -> Pixels:
    """Return a picture redrawn from one of half its size, under a faint checkerboard."""
    small = Image.fromarray(pixels).resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.BOX)
    redrawn = np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)).astype(np.int64)
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    is_lighter = (rows // GRID_PX + columns // GRID_PX) % 2 == 1
    grid = np.where(is_lighter, GRID_LEVELS, -GRID_LEVELS)[:, :, None]
    return (redrawn + grid).clip(0, 255).astype(np.uint8)


def forge_voice(sound: Sound, sample_rate_hz: int) -> Sound:
    """Return a sound whose loudness is modulated as by a cheap vocoder."""
    time_s = np.arange(len(sound)) / sample_rate_hz
    swing = 0.4 + 0.6 * np.abs(np.sin(np.pi * MODULATION_HZ * time_s))
    return (sound * swing).astype(np.float32)


def _line(clip: Clip, kind: str) -> str:
    video, audio = int(kind.startswith("Fv")), int(kind.endswith("Fa"))
    value = (clip.digit - 4.5) / 1.5
    return (
        f"{clip.id},{clip.id}.mp4,{clip.id}.png,{clip.split},{clip.voice.name},{clip.digit},"
        f"{value:.6f},{kind},{max(video, audio)},{video},{audio}\n"
    )
