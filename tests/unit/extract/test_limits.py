"""Bounds on one file: what exceeds them is `failed` with a reason, and the next file goes on."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from scfae.extract import Limits, extract
from scfae.extract.decoder_pool import DecoderPool, Request
from scfae.extract.fates import Decoded, Fate
from scfae.extract.media import decode
from scfae.extract.pictures import PictureRecipe
from scfae.store.errors import ConfigError

from . import media_kit as kit
from .odd_media import write_pictures
from .recorders import Pictures

MEGABYTE = 1 << 20


def small(pixels: Any) -> Any:
    return np.ascontiguousarray(pixels[:4, :4].transpose(2, 0, 1))


def ends(paths: list[Path], limits: Limits) -> list[Fate]:
    recipe = PictureRecipe("video", 25.0, small)
    with DecoderPool(1, limits) as pool:
        messages = pool.decode(Request(path, {"v": recipe}) for path in paths)
        return [one.fates["v"] for one in messages if isinstance(one, Decoded)]


def test_memory_beyond_the_limit_fails_in_the_block_and_not_after_it() -> None:
    # In a fresh process, as decoding children are: one that has freed much finds room for more.
    code = f"""
import numpy as np
from scfae.extract.memory_limit import memory_limit

try:
    with memory_limit({50 * MEGABYTE}):
        np.ones({200 * MEGABYTE}, dtype=np.uint8)
except MemoryError:
    print("refused")
with memory_limit({200 * MEGABYTE}):
    print(np.ones({50 * MEGABYTE}, dtype=np.uint8).sum())
print(np.ones({200 * MEGABYTE}, dtype=np.uint8).sum())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused", str(50 * MEGABYTE), str(200 * MEGABYTE)]


def test_a_file_that_wants_too_much_memory_fails_and_the_child_goes_on(tmp_path: Path) -> None:
    video = write_pictures(tmp_path / "large.mp4", "libx264", size=(3840, 2160))
    image = tmp_path / "large.png"
    Image.new("RGB", (6000, 6000)).save(image)
    plain = kit.write_clip(tmp_path / "a.mp4", frames=5, sound_s=None)
    found = ends([plain, video, image, plain], Limits(max_memory_bytes=60 * MEGABYTE))
    assert [fate.status for fate in found] == ["ok", "failed", "failed", "ok"]
    for path, fate in zip((video, image), found[1:3], strict=True):
        assert fate.reason == f"decoding took more than 60 MB of memory (--max-memory): {path}"


def test_a_video_of_too_large_pictures_is_not_decoded(tmp_path: Path) -> None:
    path = kit.write_clip(tmp_path / "a.mp4", sound_s=None)
    fate = decode(path, {"v": Pictures()}, Limits(max_pixels=64 * 48 - 1)).fates["v"]
    assert fate == Fate(
        "failed", f"a picture of 64 x 48 is too large (3071 pixels, --max-pixels): {path}"
    )
    assert decode(path, {"v": Pictures()}, Limits(max_pixels=64 * 48)).fates["v"].status == "ok"


def test_pictures_that_become_too_large_fail_the_file(tmp_path: Path) -> None:
    path = kit.write_changing_size(tmp_path / "a.ts")
    fate = decode(path, {"v": Pictures()}, Limits(max_pixels=64 * 48)).fates["v"]
    assert (fate.status, fate.windows) == ("failed", [])
    assert "a picture of 96 x 64 is too large" in str(fate.reason)
    fate = decode(path, {"v": Pictures()}, Limits(max_pixels=64 * 48, max_file_pixels=1)).fates["v"]
    assert fate.status == "failed"


def test_all_pictures_of_a_file_are_counted(tmp_path: Path) -> None:
    path = kit.write_clip(tmp_path / "a.mp4", frames=25, sound_s=None)
    limits = Limits(max_file_pixels=25 * 64 * 48)
    assert decode(path, {"v": Pictures()}, limits).fates["v"].status == "ok"
    fate = decode(path, {"v": Pictures()}, Limits(max_file_pixels=25 * 64 * 48 - 1)).fates["v"]
    assert fate.status == "failed"
    assert "more than 76799 pixels together (--max-file-pixels)" in str(fate.reason)


def test_limits_below_one_are_refused(tmp_path: Path) -> None:
    for name in ("max_memory_mb", "max_pixels", "max_file_pixels"):
        with pytest.raises(ConfigError, match=f"--{name.removesuffix('_mb').replace('_', '-')}"):
            extract(tmp_path, tmp_path / "store", ["ge2e"], **{name: 0})  # type: ignore[arg-type]
