"""Digits seen and heard: the demo's media, made on this machine and split by image and by voice.

Each sample is an H.264 + AAC `.mp4` in which a handwritten digit drifts while a voice says a digit,
and a `.png` with the same digit in another person's hand. In a `fake` sample the voice says another
digit than the pictures show. No image and no voice of one split appears in another.
"""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from scfae.store.atomic import write_atomic

from .handwriting import HEIGHT, WIDTH, Handwriting, Pixels, draw_clip, draw_still, load_handwriting
from .speech import Speaker, Voice

FRAME_RATE_HZ = 10
NUM_FRAMES = 16  # one R(2+1)D window
DURATION_S = NUM_FRAMES / FRAME_RATE_HZ
# Loud and grainy enough that one sense alone errs now and then, and fusion has work to do.
HISS = 0.08  # standard deviation of the room's noise; a word peaks near 0.7
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ACCENTS = ("en-us", "en-gb-x-rp", "en-029")
# A voice is an accent and a variant; the variant is what makes it another speaker. None with
# `breath` (f2, f3, f5 …): espeak draws its noise anew in every process.
VARIANTS = {
    "train": ("f1", "Andrea", "Annie", "m1", "m2", "m3", "m4"),
    "val": ("f4", "m5"),
    "test": ("belinda", "m6", "m7"),
}

Progress = Callable[[int, int, str], None]
Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Clip:
    """The plan of one sample, before anything is drawn or said.

    Attributes:
        id: Its id in the manifest.
        split: train, val or test.
        digit: What both pictures show.
        spoken: What the voice says.
        image_video: Index of the handwriting in the clip.
        image_still: Index of the handwriting in the still.
        voice: Who says it.
        seed: Of the movement, the place of the word and the background noise.
    """

    id: str
    split: str
    digit: int
    spoken: int
    image_video: int
    image_still: int
    voice: Voice
    seed: int


def plan_clips(
    handwriting: Handwriting, counts: dict[str, int], fake_ratio: float, seed: int
) -> list[Clip]:
    """Return what to draw and say: digits balanced, images and voices disjoint between splits.

    Args:
        handwriting: The digits to draw from.
        counts: Samples a split.
        fake_ratio: Share of samples whose voice says another digit.
        seed: Of every choice.
    """
    generator = np.random.default_rng(seed)
    pool = {
        digit: list(generator.permutation(np.flatnonzero(handwriting.digits == digit)))
        for digit in range(10)
    }
    clips = []
    for split, count in counts.items():
        num_fake = round(count * fake_ratio)
        is_fake = generator.permutation(np.arange(count) < num_fake)
        for number in range(count):
            digit = number % 10
            shift = int(generator.integers(1, 10)) if is_fake[number] else 0
            voice = Voice(
                name=f"{generator.choice(ACCENTS)}+{generator.choice(VARIANTS[split])}",
                words_per_minute=int(generator.integers(120, 200)),
                pitch=int(generator.integers(25, 75)),
            )
            clips.append(
                Clip(
                    id=f"{split}-{number:04d}",
                    split=split,
                    digit=digit,
                    spoken=(digit + shift) % 10,
                    image_video=int(pool[digit].pop()),
                    image_still=int(pool[digit].pop()),
                    voice=voice,
                    seed=int(generator.integers(2**31)),
                )
            )
    return clips


def speak(speaker: Speaker, clip: Clip, generator: np.random.Generator) -> Samples:
    """Return the clip's sound, float32 `[samples]`: a word somewhere in a hissing room."""
    total = round(DURATION_S * speaker.sample_rate_hz)
    word = speaker.say(WORDS[clip.spoken], clip.voice)[:total]
    sound = generator.normal(0.0, HISS, size=total).astype(np.float32)
    start = int(generator.integers(0, total - len(word) + 1))
    sound[start : start + len(word)] += 0.7 * word
    return sound.clip(-1.0, 1.0)


def mux(path: Path, frames: list[Pixels], sound: Samples, sample_rate_hz: int) -> None:
    """Write an `.mp4` with H.264 video and AAC sound by PyAV's own encoders."""
    partial = path.with_suffix(".part.mp4")
    with av.open(str(partial), "w") as container:
        # With its macroblock tree x264 now and then gives other bytes for the same frames.
        options = {"crf": "20", "x264-params": "mbtree=0"}
        video = container.add_stream("libx264", rate=FRAME_RATE_HZ, options=options)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.thread_count = 1
        audio = container.add_stream("aac", rate=sample_rate_hz, layout="mono")
        for pixels in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode(None))
        samples = av.AudioFrame.from_ndarray(sound[None, :], format="fltp", layout="mono")
        samples.sample_rate = sample_rate_hz
        samples.time_base = Fraction(1, sample_rate_hz)
        samples.pts = 0
        container.mux(audio.encode(samples))
        container.mux(audio.encode(None))
    partial.replace(path)


def make_media(
    folder: Path,
    counts: dict[str, int],
    *,
    fake_ratio: float,
    seed: int,
    progress: Progress | None = None,
) -> Path:
    """Make the demo's media in `folder` and return the path of its manifest.

    Files that are there stay, so that features of an earlier run stay valid; the manifest is
    written last.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handwriting = load_handwriting()
    clips = plan_clips(handwriting, counts, fake_ratio, seed)
    speaker = Speaker()
    for number, clip in enumerate(clips):
        if progress is not None:
            progress(number, len(clips), clip.id)
        generator = np.random.default_rng(clip.seed)
        frames = draw_clip(handwriting.images[clip.image_video], NUM_FRAMES, generator)
        still = draw_still(handwriting.images[clip.image_still], generator)
        sound = speak(speaker, clip, generator)
        video_path, still_path = folder / f"{clip.id}.mp4", folder / f"{clip.id}.png"
        if not still_path.exists():
            partial = still_path.with_suffix(".part.png")
            Image.fromarray(still).save(partial)
            partial.replace(still_path)
        if not video_path.exists():
            mux(video_path, frames, sound, speaker.sample_rate_hz)
    if progress is not None:
        progress(len(clips), len(clips), "")
    manifest = folder / "manifest.csv"
    write_atomic(manifest, "".join(_manifest_lines(clips)).encode())
    return manifest


def genuine_only(manifest: Path) -> Path:
    """Write the manifest of the clips whose voice says what is written, and return its path."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["fake"] == "0"]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path = manifest.with_name("genuine.csv")
    write_atomic(path, text.getvalue().encode())
    return path


def _manifest_lines(clips: list[Clip]) -> Iterator[str]:
    yield "id,video,image,split,group,digit,fake\n"
    for clip in clips:
        is_fake = int(clip.spoken != clip.digit)
        yield (
            f"{clip.id},{clip.id}.mp4,{clip.id}.png,{clip.split},"
            f"{clip.voice.name},{clip.digit},{is_fake}\n"
        )
