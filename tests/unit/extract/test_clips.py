"""Which frames a clip of VideoMAE V2 takes, when, and what becomes of their pixels."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scfae.extract.clips import ClipCutter, ClipRecipe, crop_picture, squash_picture
from scfae.extract.media import decode
from scfae.extract.recipe import StreamInfo, VideoFrame, Window

from . import media_kit as kit

RATE_HZ = 25.0


def recipe(**options: Any) -> ClipRecipe:
    settings: dict[str, Any] = {"frames": 16, "rate": 4, "stride": None, "stride_s": None}
    return ClipRecipe(**(settings | {"fps": None, "resize": "crop"} | options))


def number(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return pixels.transpose(2, 0, 1)


def cut(length: int, *, num_frames: int | None, **options: Any) -> tuple[list[Window], int]:
    """Return the clips of a video whose frame i says i, and the most frames held at a time."""
    settings: dict[str, Any] = {"stride": None, "stride_s": None, "fps": None} | options
    rate = settings.pop("rate", 4)
    cutter = ClipCutter(16, rate, num_frames=num_frames, prepare=number, **settings)
    windows, held = [], 0
    for i in range(length):
        pixels = np.array([[[i % 256, i // 256, 0]]], dtype=np.uint8)
        windows += cutter.push(VideoFrame(pixels, i / RATE_HZ, (i + 1) / RATE_HZ))
        held = max(held, len(cutter._held))
    return windows + cutter.end(), held


def taken(window: Window) -> list[int]:
    low, high, _ = window.array[:, :, 0, 0].astype(int)
    return [int(n) for n in low + 256 * high]


# By hand: frames 64 j / 15 for j = 0 … 15, rounded down; the last is kept below 64.
STEPS = [0, 4, 8, 12, 17, 21, 25, 29, 34, 38, 42, 46, 51, 55, 59, 63]


@pytest.mark.parametrize(
    ("length", "wanted"),
    [
        (1, [0] * 16),
        (3, [2] * 16),  # less than one step: upstream repeats the last frame
        (4, [0] + [3] * 15),
        (10, [0] + [9] * 15),
        (12, [0, 6] + [11] * 14),
        (63, [0, 4, 9, 13, 18, 22, 27, 31, 36, 40, 45, 49, 54, 58, 62, 62]),
        (64, STEPS),
        (65, STEPS),
        (66, [s + 1 for s in STEPS]),
        (100, [s + 18 for s in STEPS]),
        (301, [s + 118 for s in STEPS]),
        (1000, [s + 468 for s in STEPS]),
    ],
)
@pytest.mark.parametrize("is_announced", [True, False])
def test_the_centred_clip_takes_upstreams_frames(
    length: int, wanted: list[int], is_announced: bool
) -> None:
    (window,), held = cut(length, num_frames=length if is_announced else None)
    assert taken(window) == wanted
    np.testing.assert_allclose(window.times, [[min(wanted) / RATE_HZ, (max(wanted) + 1) / RATE_HZ]])
    if is_announced:
        assert held <= 64


@pytest.mark.parametrize(
    ("options", "length", "firsts"),
    [
        ({"stride": 64}, 192, [0, 64, 128]),
        ({"stride": 64}, 200, [0, 64, 128, 136]),
        ({"stride": 32}, 128, [0, 32, 64]),
        ({"stride": 100}, 180, [0, 100, 116]),
        ({"stride": 16}, 64, [0]),
        ({"stride_s": 1.0}, 120, [0, 25, 50, 56]),
        ({"stride_s": 0.5}, 90, [0, 13, 25, 26]),  # 0.5 s is in the middle of frame 12
        ({"stride_s": 0.001}, 66, [0, 1, 2]),
    ],
)
def test_clips_at_a_stride_cover_a_long_video(
    options: dict[str, Any], length: int, firsts: list[int]
) -> None:
    windows, held = cut(length, num_frames=None, **options)
    assert [taken(w) for w in windows] == [[f + s for s in STEPS] for f in firsts]
    times = np.concatenate([w.times for w in windows])
    np.testing.assert_allclose(times, [[f / RATE_HZ, (f + 64) / RATE_HZ] for f in firsts])
    assert held <= 64


def test_a_rate_of_one_takes_runs_of_frames() -> None:
    windows, _ = cut(40, num_frames=None, rate=1, stride=4)
    assert [taken(w) for w in windows] == [list(range(f, f + 16)) for f in range(0, 25, 4)]


def test_frames_are_counted_at_another_rate() -> None:
    windows, _ = cut(100, num_frames=None, fps=50.0, stride=64)  # every frame twice
    assert taken(windows[0]) == [s // 2 for s in STEPS]
    assert len(windows) == 4
    np.testing.assert_allclose(windows[0].times, [[0.0, 32 / RATE_HZ]])


def test_a_video_that_ends_before_its_announced_centre_gives_its_last_frames() -> None:
    (window,), held = cut(100, num_frames=400)
    assert taken(window) == [s + 36 for s in STEPS]
    assert held <= 64
    (window,), _ = cut(300, num_frames=200)  # longer than announced
    assert taken(window) == [s + 68 for s in STEPS]


def test_no_frames_give_no_clip() -> None:
    assert cut(0, num_frames=0) == ([], 0)
    assert cut(0, num_frames=None, stride=16) == ([], 0)


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts"])
def test_a_decoded_video_gives_its_centre(container: str, tmp_path: Path) -> None:
    path = kit.write_clip(tmp_path / f"a.{container}", frames=101, sound_s=1.0)
    fate = decode(path, {"v": pickle.loads(pickle.dumps(recipe()))}).fates["v"]
    assert fate.status == "ok"
    (window,) = fate.windows
    assert window.array.shape == (3, 16, 224, 224)
    levels = window.array[:, :, -8:, -8:].mean(axis=(0, 2, 3))
    wanted = [kit.frame_level(18 + s) for s in STEPS]
    np.testing.assert_allclose(levels, wanted, atol=4)
    np.testing.assert_allclose(window.times, [[18 / 25, 82 / 25]], atol=0.03)


def test_frames_are_only_counted_for_recipes_that_ask(tmp_path: Path) -> None:
    path = kit.write_clip(tmp_path / "a.mp4", frames=30, sound_s=None)
    seen: list[StreamInfo] = []

    class Recorder:
        kind, sample_rate_hz = "video", None

        def __init__(self, *, wants_num_frames: bool) -> None:
            self.wants_num_frames = wants_num_frames

        def begin(self, info: StreamInfo) -> ClipCutter:
            seen.append(info)
            return recipe().begin(info)

    for asks in (True, False):
        decode(path, {"v": Recorder(wants_num_frames=asks)})  # type: ignore[dict-item]
    assert [info.num_frames for info in seen] == [30, None]
    assert recipe().wants_num_frames
    assert not recipe(stride=8).wants_num_frames
    assert not recipe(stride_s=8.0).wants_num_frames


def bilinear(pixels: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.float64]:
    """Return a picture resized by the textbook: pixel centres, four neighbours, no antialiasing."""
    out = pixels.astype(np.float64)
    for axis, size in ((0, height), (1, width)):
        old = out.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, None)
        low = np.minimum(np.floor(at).astype(int), old - 1)
        high = np.minimum(low + 1, old - 1)
        share = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
        out = out.take(low, axis) * (1 - share) + out.take(high, axis) * share
    return out


def picture(height: int, width: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "resized", "offset"),
    [
        ((240, 320), (224, 298), (0, 37)),
        ((320, 241), (297, 224), (36, 0)),  # 36.5 rounds to even
        ((48, 65), (224, 303), (0, 40)),  # 39.5 rounds to even
        ((300, 300), (224, 224), (0, 0)),
        ((224, 301), (224, 301), (0, 38)),  # 38.5 rounds to even; not resampled
        ((401, 224), (401, 224), (88, 0)),  # 88.5 rounds to even
        ((31, 500), (224, 3612), (0, 1694)),
    ],
)
def test_the_centre_of_a_picture_is_cut_out(
    size: tuple[int, int], resized: tuple[int, int], offset: tuple[int, int]
) -> None:
    pixels = picture(*size)
    whole = bilinear(pixels, *resized)
    top, left = offset
    wanted = whole[top : top + 224, left : left + 224].transpose(2, 0, 1)
    found = crop_picture(pixels)
    assert found.shape == (3, 224, 224)
    assert np.abs(found - wanted).max() <= 0.51
    if resized[1] > 224:
        shifted = whole[top : top + 224, left - 1 : left + 223].transpose(2, 0, 1)
        assert np.abs(found - shifted).max() > 20


def test_a_squashed_picture_loses_nothing_at_its_sides() -> None:
    pixels = picture(90, 160)
    wanted = bilinear(pixels, 224, 224).transpose(2, 0, 1)
    assert np.abs(squash_picture(pixels) - wanted).max() <= 0.51


def test_cutting_a_picture_out_needs_no_torch() -> None:
    code = (
        "import sys, numpy as np; from scfae.extract.clips import crop_picture, squash_picture\n"
        "for prepare in (crop_picture, squash_picture):\n"
        "    assert prepare(np.zeros((20, 30, 3), np.uint8)).shape == (3, 224, 224)\n"
        "assert 'torch' not in sys.modules"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
