"""Resizing by numpy gives torch's bytes."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import functional

from scfae.extract.resizing import resize_antialiased, resize_bilinear

SIZES = [(1, 1), (1, 300), (300, 1), (5, 3), (256, 256), (240, 320), (480, 640), (719, 403)]
SIZES += [(256, 31), (90, 256), (1080, 1920), (97, 131)]


def picture(height: int, width: int, *, is_stark: bool = False) -> npt.NDArray[np.uint8]:
    random = np.random.default_rng(height * width)
    pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return np.where(pixels > 127, 255, 0).astype(np.uint8) if is_stark else pixels


def as_torch(pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)


@pytest.mark.parametrize("is_stark", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_smooth_resizing_is_torchs_byte_for_byte(size: tuple[int, int], is_stark: bool) -> None:
    pixels = picture(*size, is_stark=is_stark)
    for wanted in ((256, 256), (97, 310)):
        theirs = functional.resize(as_torch(pixels), list(wanted), antialias=True)
        ours = resize_antialiased(pixels, *wanted)
        np.testing.assert_array_equal(ours, theirs.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("size", SIZES)
def test_plain_resizing_is_torchs_but_for_a_level_in_few_places(size: tuple[int, int]) -> None:
    pixels = picture(*size)
    theirs = interpolate(
        as_torch(pixels)[None].float(), size=(128, 171), mode="bilinear", align_corners=False
    )[0].permute(1, 2, 0)
    ours = resize_bilinear(pixels, 128, 171)
    assert ours.shape == (128, 171, 3)
    difference = np.abs(ours.astype(np.int64) - theirs.round().numpy())
    assert difference.max() <= 1
    assert (difference > 0).mean() <= 2e-3  # a place counts often where one side is 1


def test_a_crop_is_a_part_of_the_whole() -> None:
    pixels = picture(77, 130)
    whole = resize_bilinear(pixels, 128, 171)
    part = resize_bilinear(pixels, 128, 171, crop=(8, 29, 112, 100))
    np.testing.assert_array_equal(part, whole[8:120, 29:129])


def test_a_ramp_stays_a_ramp() -> None:
    ramp = np.repeat(np.arange(0, 240, 10, dtype=np.uint8)[None, :, None], 3, axis=2)
    doubled = resize_bilinear(ramp, 1, 48)[0, :, 0].astype(np.int64)
    assert doubled[1:-1].tolist() == [round(5 * k - 2.5) for k in range(1, 47)]
    halved = resize_antialiased(ramp, 1, 12)[0, :, 0].astype(np.int64)
    assert halved[1:-1].tolist() == [20 * k + 5 for k in range(1, 11)]
