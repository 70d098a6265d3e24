"""Still images: upright, whole, RGB by a named rule, or refused in a sentence."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, features

from scfae.extract import Limits
from scfae.extract.picture import read_picture
from scfae.store.errors import DecodeError

from . import media_kit as kit

Pixels = npt.NDArray[np.uint8]


def read(path: Path, max_pixels: int = 10_000) -> Pixels:
    pixels = read_picture(path, Limits(max_pixels=max_pixels))
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
    assert pixels.flags.writeable  # torch warns of arrays that are not
    return pixels


def corners(height: int = 6, width: int = 4) -> Pixels:
    """Return a picture whose corners are red, green, blue and white."""
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    pixels[0, 0], pixels[0, -1] = (255, 0, 0), (0, 255, 0)
    pixels[-1, 0], pixels[-1, -1] = (0, 0, 255), (255, 255, 255)
    return pixels


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, lambda x: x),
        (2, np.fliplr),
        (3, lambda x: np.rot90(x, 2)),
        (4, np.flipud),
        (5, lambda x: x.transpose(1, 0, 2)),
        (6, lambda x: np.rot90(x, -1)),
        (7, lambda x: np.rot90(x, 2).transpose(1, 0, 2)),
        (8, np.rot90),
    ],
)
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, upright: object) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    Image.fromarray(corners()).save(path, exif=exif)
    assert callable(upright)
    np.testing.assert_array_equal(read(path), upright(corners()))


def test_transparency_is_drawn_on_black(tmp_path: Path) -> None:
    rgba = np.zeros((2, 2, 4), dtype=np.uint8)
    rgba[..., :3] = 200
    rgba[0, 0, 3], rgba[0, 1, 3], rgba[1, :, 3] = 255, 51, 0
    Image.fromarray(rgba, mode="RGBA").save(tmp_path / "a.png")
    assert read(tmp_path / "a.png")[..., 0].tolist() == [[200, 40], [0, 0]]
    grey = Image.fromarray(rgba).convert("LA")
    grey.save(tmp_path / "b.png")
    assert read(tmp_path / "b.png")[..., 0].tolist() == [[200, 40], [0, 0]]


def test_a_transparent_palette_colour_is_black(tmp_path: Path) -> None:
    image = Image.fromarray(corners()).quantize(8)
    transparent = image.getpixel((0, 0))
    image.save(tmp_path / "a.png", transparency=transparent)
    wanted = corners()
    wanted[0, 0] = 0
    np.testing.assert_array_equal(read(tmp_path / "a.png"), wanted)


def test_a_palette_keeps_its_colours(tmp_path: Path) -> None:
    Image.fromarray(corners()).quantize(8).save(tmp_path / "a.gif")
    np.testing.assert_array_equal(read(tmp_path / "a.gif"), corners())


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_keep_their_upper_byte(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 255, 256], [0x8000, 0x80FF, 0xFFFF]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a{suffix}")
    assert read(tmp_path / f"a{suffix}")[..., 1].tolist() == [[0, 0, 1], [128, 128, 255]]


def test_cmyk_is_subtracted_from_white(tmp_path: Path) -> None:
    cmyk = np.zeros((1, 3, 4), dtype=np.uint8)
    cmyk[0, 1] = (255, 0, 0, 0)
    cmyk[0, 2] = (0, 0, 0, 255)
    Image.fromarray(cmyk, mode="CMYK").save(tmp_path / "a.tif")
    assert read(tmp_path / "a.tif").tolist() == [[[255] * 3, [0, 255, 255], [0] * 3]]


@pytest.mark.parametrize("mode", ["1", "L", "YCbCr", "LAB", "F"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(kit.picture(0))
    grey = np.asarray(image.convert("L"))
    if mode == "F":
        image = Image.fromarray(grey.astype(np.float32))
    elif mode == "LAB":
        image = Image.new("LAB", (64, 48))
    else:
        image = image.convert(mode)
    path = tmp_path / "a.tif"
    image.save(path)
    pixels = read(path)
    assert pixels.shape == (48, 64, 3)
    if mode in ("1", "L", "YCbCr", "F"):
        assert pixels[:20, :28].min() > 240
        assert abs(int(np.median(pixels[30:, 40:])) - kit.frame_level(0)) < 4 or mode == "1"


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".bmp", ".tiff"])
def test_every_format_is_read(tmp_path: Path, suffix: str) -> None:
    if suffix == ".webp" and not features.check("webp"):
        pytest.skip("this Pillow has no WebP")
    Image.fromarray(kit.picture(2)).save(tmp_path / f"a{suffix}", quality=95)
    assert np.abs(read(tmp_path / f"a{suffix}").astype(int) - kit.picture(2)).max() < 40


def test_the_first_frame_of_an_animation_counts(tmp_path: Path) -> None:
    first, *others = (Image.fromarray(kit.picture(i)) for i in range(3))
    first.save(tmp_path / "a.gif", save_all=True, append_images=others)
    assert np.abs(read(tmp_path / "a.gif").astype(int) - kit.picture(0)).max() < 10


@pytest.mark.parametrize(("width", "height"), [(101, 100), (20_000, 20_000), (60_000, 60_000)])
def test_too_many_pixels_are_refused_before_they_are_decoded(
    tmp_path: Path, width: int, height: int
) -> None:
    path = kit.write_png_claiming(tmp_path / "a.png", width, height)
    with pytest.raises(DecodeError, match="too large"):
        read(path)


def test_a_bomb_is_refused_by_its_header_whatever_the_limit(tmp_path: Path) -> None:
    path = kit.write_png_claiming(tmp_path / "a.png", 60_000, 60_000)
    with pytest.raises(DecodeError, match=r"too large: .*a\.png"):
        read(path, max_pixels=10**12)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".webp", ".bmp", ".tif"])
@pytest.mark.parametrize("share", [0.0001, 0.3, 0.9])
def test_cut_images_are_refused(tmp_path: Path, suffix: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise).save(path)
    kit.keep_share(path, share)
    with pytest.raises(DecodeError, match=re.escape(str(path))):
        read(path)


def test_text_is_no_image(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("not an image at all")
    with pytest.raises(DecodeError, match="not readable as an image"):
        read(path)
