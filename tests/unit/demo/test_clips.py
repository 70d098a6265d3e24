"""The demo's media: balanced, split by image and by voice, decodable, the same again."""

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from scfae.demo.clips import (
    DURATION_S,
    NUM_FRAMES,
    VARIANTS,
    WORDS,
    Clip,
    genuine_only,
    make_media,
    mux,
    plan_clips,
    speak,
)
from scfae.demo.handwriting import draw_clip, load_handwriting
from scfae.demo.speech import Speaker, Voice

COUNTS = {"train": 60, "val": 20, "test": 20}


@pytest.fixture(scope="module")
def plan() -> list[Clip]:
    return plan_clips(load_handwriting(), COUNTS, 0.25, seed=1)


def test_no_image_is_used_twice(plan: list[Clip]) -> None:
    used = Counter(image for clip in plan for image in (clip.image_video, clip.image_still))
    assert max(used.values()) == 1


def test_no_voice_of_one_split_speaks_in_another(plan: list[Clip]) -> None:
    variants = {split: set(names) for split, names in VARIANTS.items()}
    assert not variants["train"] & (variants["val"] | variants["test"])
    assert not variants["val"] & variants["test"]
    for clip in plan:
        assert clip.voice.name.split("+")[1] in variants[clip.split]


def test_pictures_show_the_digit_and_fakes_say_another(plan: list[Clip]) -> None:
    digits = load_handwriting().digits
    for clip in plan:
        assert digits[clip.image_video] == digits[clip.image_still] == clip.digit
    fakes = Counter(clip.split for clip in plan if clip.spoken != clip.digit)
    assert fakes == {"train": 15, "val": 5, "test": 5}


def test_plan_depends_on_the_seed_alone(plan: list[Clip]) -> None:
    handwriting = load_handwriting()
    assert plan == plan_clips(handwriting, COUNTS, 0.25, seed=1)
    assert plan != plan_clips(handwriting, COUNTS, 0.25, seed=2)


def test_drawing_is_reproducible(plan: list[Clip]) -> None:
    clip = plan[0]
    ink = load_handwriting().images[clip.image_video]
    first = draw_clip(ink, NUM_FRAMES, np.random.default_rng(clip.seed))
    again = draw_clip(ink, NUM_FRAMES, np.random.default_rng(clip.seed))
    assert np.array_equal(first, again)


def test_the_same_frames_are_the_same_file(plan: list[Clip], tmp_path: Path) -> None:
    """With x264's macroblock tree about one encode in a hundred differed."""
    images, silence = load_handwriting().images, np.zeros(2205, dtype=np.float32)
    for clip in plan[:10]:
        frames = draw_clip(images[clip.image_video], NUM_FRAMES, np.random.default_rng(clip.seed))
        found = set()
        for _ in range(5):
            mux(tmp_path / "clip.mp4", frames, silence, 22_050)
            found.add((tmp_path / "clip.mp4").read_bytes())
        assert len(found) == 1


def test_speech_is_the_same_in_every_process(plan: list[Clip]) -> None:
    # Not in one process: the synthesiser's waves go on from one word to the next.
    code = (
        "import hashlib; from scfae.demo.clips import VARIANTS;"
        "from scfae.demo.speech import Speaker, Voice; speaker = Speaker();"
        "names = [name for split in VARIANTS.values() for name in split];"
        "sounds = [speaker.say('seven', Voice(f'en-us+{name}', 150, 50)) for name in names];"
        "print(*(hashlib.sha256(sound.tobytes()).hexdigest() for sound in sounds))"
    )
    said = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert len(set(said[0].stdout.split())) == sum(map(len, VARIANTS.values()))
    assert said[0].stdout == said[1].stdout
    speaker = Speaker()
    sound = speak(speaker, plan[0], np.random.default_rng(plan[0].seed))
    assert len(sound) == round(DURATION_S * speaker.sample_rate_hz)


def test_every_voice_is_there_and_fits_the_clip() -> None:
    speaker = Speaker()
    for variant in sorted(set().union(*map(set, VARIANTS.values()))):
        word = speaker.say(WORDS[7], Voice(f"en-us+{variant}", 120, 50))
        assert np.abs(word).max() > 0.1


def test_genuine_clips_are_all_whose_voice_says_what_is_written(tmp_path: Path) -> None:
    manifest = make_media(tmp_path, {"train": 8}, fake_ratio=0.5, seed=1)
    every = list(csv.DictReader(manifest.read_text().splitlines()))
    genuine = list(csv.DictReader(genuine_only(manifest).read_text().splitlines()))
    assert len(genuine) == 4
    assert genuine == [row for row in every if row["fake"] == "0"]


def test_media_hold_picture_and_sound(tmp_path: Path) -> None:
    manifest = make_media(tmp_path, {"train": 3}, fake_ratio=0.0, seed=1)
    rows = list(csv.DictReader(manifest.read_text().splitlines()))
    assert [row["id"] for row in rows] == ["train-0000", "train-0001", "train-0002"]
    with av.open(str(tmp_path / rows[0]["video"])) as container:
        assert sum(1 for _ in container.decode(video=0)) == NUM_FRAMES
    with av.open(str(tmp_path / rows[0]["video"])) as container:
        sound = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert np.abs(sound).max() > 0.2
    # What is there stays: features of an earlier run remain valid.
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.mp4")}
    make_media(tmp_path, {"train": 3}, fake_ratio=0.0, seed=1)
    assert before == {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.mp4")}
