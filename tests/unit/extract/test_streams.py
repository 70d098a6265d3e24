"""Times and streams of odd containers: what is read, and where on the media's clock it lies."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from scfae.extract.fates import Fate
from scfae.extract.media import decode
from scfae.extract.recipe import Recipe

from . import media_kit as kit
from . import odd_media as odd
from .recorders import Pictures, Sound


def read(path: Path) -> tuple[Fate, Fate]:
    recipes: dict[str, Recipe] = {"v": Pictures(), "a": Sound()}
    fates = decode(path, recipes).fates
    return fates["v"], fates["a"]


def starts(fate: Fate) -> list[float]:
    return [float(window.times[0, 0]) for window in fate.windows]


def test_a_start_before_zero_is_kept(tmp_path: Path) -> None:
    pictures, sound = read(odd.write_early(tmp_path / "a.mkv", 0.2))
    np.testing.assert_allclose(starts(pictures), np.arange(25) / 25 - 0.2, atol=2e-3)
    assert sound.windows[0].times[0] == pytest.approx([-0.2, 0.8], abs=0.03)


def test_what_an_edit_list_cuts_is_neither_shown_nor_lost(tmp_path: Path) -> None:
    pictures, sound = read(odd.write_early(tmp_path / "a.mp4", 0.2))
    assert (pictures.status, sound.status) == ("ok", "ok")
    np.testing.assert_allclose(starts(pictures), np.arange(20) / 25, atol=2e-3)
    level = int(np.median(pictures.windows[0].array[-20:, -8:]))
    assert abs(level - kit.frame_level(5)) <= 8
    assert sound.windows[0].times[0] == pytest.approx([0.0, 0.8], abs=0.03)


def test_joined_recordings_go_on_where_the_first_ended(tmp_path: Path) -> None:
    pictures, sound = read(odd.write_joined(tmp_path / "a.ts"))
    assert (pictures.status, len(pictures.windows)) == ("ok", 50)
    assert np.diff(starts(pictures)) == pytest.approx(np.full(49, 0.04), abs=2e-3)
    assert sound.windows[0].times[0, 1] == pytest.approx(2.05, abs=0.1)


def test_of_two_streams_the_default_is_read_and_named(tmp_path: Path) -> None:
    pictures, sound = read(odd.write_two_streams(tmp_path / "a.mkv"))
    assert pictures.reason == "video stream 2 of 2 was taken (the default)"
    assert sound.reason == "audio stream 2 of 2 was taken (the default)"
    assert (pictures.status, len(pictures.windows), sound.status) == ("ok", 25, "ok")


@pytest.mark.parametrize(
    ("degrees", "turned"),
    [
        (90, lambda x: np.rot90(x, -1)),
        (180, lambda x: np.rot90(x, 2)),
        (270, lambda x: np.rot90(x, 1)),
    ],
)
def test_pictures_are_turned_as_the_header_says(
    tmp_path: Path, degrees: int, turned: Callable[[object], object]
) -> None:
    upright = read(kit.write_clip(tmp_path / "a.mp4", sound_s=None))[0].windows[0].array
    found = read(kit.write_rotated(tmp_path / "b.mp4", degrees))[0].windows[0].array
    np.testing.assert_array_equal(found, turned(upright))


def test_the_picture_stays_over_what_was_lost(tmp_path: Path) -> None:
    path = odd.long_clip(tmp_path / "a.mp4")
    first = odd.media_start_share(path)
    odd.overwrite(path, first + (1 - first) * 0.4, first + (1 - first) * 0.6)
    pictures, _ = read(path)
    assert pictures.status == "partial"
    times = np.concatenate([window.times for window in pictures.windows])
    np.testing.assert_allclose(times[1:, 0], times[:-1, 1])
    gaps = times[:, 1] - times[:, 0]
    assert int((gaps > 0.1).sum()) == 1
    lost_s = float(gaps.max()) - 0.04
    assert f"lost {lost_s:.2f} s in the middle" in str(pictures.reason)
    # What comes after keeps its own time.
    level = int(np.median(pictures.windows[-1].array[-20:, -8:]))
    assert times[-1, 0] == pytest.approx(3.96, abs=2e-3)
    assert abs(level - kit.frame_level(99)) <= 8


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_a_cut_file_says_what_is_lost_at_its_end(tmp_path: Path, container: str) -> None:
    path = tmp_path / f"a.{container}"
    if container == "mp4":
        odd.long_clip(path)
    else:
        kit.write_clip(path, frames=100, sound_s=4.0)
    pictures, sound = read(kit.keep_share(path, 0.5))
    for fate in (pictures, sound):
        assert fate.status == "partial"
        end_s = float(fate.windows[-1].times[0, 1])
        lost = re.match(r"lost (\d\.\d\d) s at the end; ", str(fate.reason))
        assert lost is not None, fate.reason
        assert float(lost[1]) == pytest.approx(4.0 - end_s, abs=0.04)


def test_a_wav_is_held_to_its_header(tmp_path: Path) -> None:
    path = kit.keep_share(kit.write_wav(tmp_path / "a.wav", 2.0), 0.5)
    fate = read(path)[1]
    assert fate.status == "partial"
    assert "lost 1.00 s at the end" in str(fate.reason)
    piped = bytearray(kit.write_wav(tmp_path / "b.wav", 2.0).read_bytes())
    piped[4:8] = piped[40:44] = b"\xff" * 4  # as written to a pipe: length unknown
    (tmp_path / "b.wav").write_bytes(piped)
    assert read(tmp_path / "b.wav")[1].status == "ok"
