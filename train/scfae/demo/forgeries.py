"""Digits seen and heard, some with a forged picture, some with a forged voice.

What `scfae reproduce --demo` runs on. Half of the clips are genuine; the others have a forged
picture (redrawn from one of half its size, with the grid that transposed convolutions leave: Odena
et al., Deconvolution and checkerboard artifacts, 2016), a forged voice (modulated, as a vocoder's),
or both: the classes RvRa, RvFa, FvRa and FvFa of FakeAVCeleb, though in other shares. Forgers of
the train split leave strong traces, and those of val and test are better, some so much that nothing
can be seen: what is asked is about forgers that come later. Pictures and voices of one split appear
in no other. Labels: `digit`, `class`, `fake`, `fake_video`, `fake_audio`, `trace` (how strong the
traces are, from 0 to 1; 0 of what is genuine), and `value`, the digit laid from -3 to 3, which is
never 0.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from scfae.store.atomic import write_atomic
from scfae.store.errors import RunStateError

from .clips import Clip, Progress, mux, plan_clips, speak
from .handwriting import HEIGHT, WIDTH, Pixels, draw_clip, draw_still, load_handwriting
from .speech import Speaker

CLASSES = ("RvRa", "RvFa", "FvRa", "FvFa")
GENUINE_SHARE = 0.5
MODULATION_HZ, SWING = 70.0, 0.8
"""Of a forged voice of trace 1: how often its loudness falls, and by what share."""
GRID_PX, GRID_LEVELS = 4, 16
"""Side of a forged picture's squares, and how much lighter or darker than the picture they are."""
LEAST_TRACE = 0.1
"""Of the best forger in val and test, where a clip's is drawn evenly by ratio from that to 1."""
_FRAMES = 16
_HEADER = "id,video,image,split,group,digit,value,class,fake,fake_video,fake_audio,trace\n"

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

    Raises:
        RunStateError: The media there are of another version.
    """
    manifest = folder / "manifest.csv"
    if manifest.is_file() and not manifest.read_text(encoding="utf-8").startswith(_HEADER):
        raise RunStateError(
            f"{folder} has media of another version of the demo: remove {folder.parent}, or give "
            "another folder."
        )
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
        trace = draw_trace(generator, clip.split) if kind != CLASSES[0] else 0.0
        if kind.startswith("Fv"):
            frames = [forge_picture(frame, trace) for frame in frames]
        if kind.endswith("Fa"):
            sound = forge_voice(sound, speaker.sample_rate_hz, trace)
        still_path, video_path = folder / f"{clip.id}.png", folder / f"{clip.id}.mp4"
        if not still_path.exists():
            partial = still_path.with_suffix(".part.png")
            Image.fromarray(still).save(partial)
            partial.replace(still_path)
        if not video_path.exists():
            mux(video_path, frames, sound, speaker.sample_rate_hz)
        lines.append(_line(clip, kind, trace))
    if progress is not None:
        progress(len(clips), len(clips), "")
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


def draw_trace(generator: np.random.Generator, split: str) -> float:
    """Return how strong the traces of a clip's forger are: 1, but in val and test."""
    return 1.0 if split == "train" else float(LEAST_TRACE ** generator.uniform())


def forge_picture(pixels: Pixels, trace: float = 1.0) -> Pixels:
    """Return a picture redrawn from one of half its size, under a faint checkerboard.

    Args:
        pixels: uint8 `[H, W, 3]`.
        trace: From 0, the picture as it is, to 1.
    """
    small = Image.fromarray(pixels).resize((WIDTH // 2, HEIGHT // 2), Image.Resampling.BOX)
    redrawn = np.asarray(small.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST)).astype(np.float64)
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    is_lighter = (rows // GRID_PX + columns // GRID_PX) % 2 == 1
    grid = np.where(is_lighter, GRID_LEVELS, -GRID_LEVELS)[:, :, None]
    forged = pixels + trace * (redrawn + grid - pixels)
    return forged.round().clip(0, 255).astype(np.uint8)


def forge_voice(sound: Sound, sample_rate_hz: int, trace: float = 1.0) -> Sound:
    """Return a sound whose loudness is modulated as by a cheap vocoder.

    Args:
        sound: Samples `[N]`.
        sample_rate_hz: Of them.
        trace: From 0, the sound as it is, to 1.
    """
    time_s = np.arange(len(sound)) / sample_rate_hz
    fall = SWING * trace * (1 - np.abs(np.sin(np.pi * MODULATION_HZ * time_s)))
    return (sound * (1 - fall)).astype(np.float32)


def _line(clip: Clip, kind: str, trace: float) -> str:
    video, audio = int(kind.startswith("Fv")), int(kind.endswith("Fa"))
    value = (clip.digit - 4.5) / 1.5
    return (
        f"{clip.id},{clip.id}.mp4,{clip.id}.png,{clip.split},{clip.voice.name},{clip.digit},"
        f"{value:.6f},{kind},{max(video, audio)},{video},{audio},"
        f"{trace:.4f}\n"
    )
