"""From a decoded picture to a model's size, and from bytes to a model's scale.

Resizing happens in the decoding child, on bytes; scaling happens on the device, on a batch.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from .resizing import resize_antialiased

if TYPE_CHECKING:
    from torch import Tensor


def resize_whole(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Return a picture `[H, W, 3]` as `[3, side, side]`, squeezed, by Pillow's bilinear filter."""
    image = Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR)
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1))


def resize_smooth(pixels: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Return a picture `[H, W, 3]` as `[3, side, side]`, squeezed, by torch's smooth filter."""
    return np.ascontiguousarray(resize_antialiased(pixels, side, side).transpose(2, 0, 1))


def resize_and_crop(
    pixels: npt.NDArray[np.uint8],
    *,
    scaled: tuple[int, int],
    size: tuple[int, int],
    is_squashed: bool,
    interpolation: str,
) -> npt.NDArray[np.uint8]:
    """Return the centre of a picture that Pillow resized, as torchvision's transforms do it.

    Args:
        pixels: The picture `[H, W, 3]`.
        scaled: Height and width to resize to; the first is the short side if not squashed.
        size: Height and width of the centre.
        is_squashed: Resize to `scaled` whatever the picture's shape.
        interpolation: nearest, bilinear, bicubic or lanczos.

    Returns:
        Bytes `[3, height, width]`.
    """
    height, width = scaled
    if not is_squashed:
        rows, columns = pixels.shape[:2]
        short, long = sorted((rows, columns))
        lengthened = int(height * long / short)
        height, width = (height, lengthened) if rows <= columns else (lengthened, height)
    image = Image.fromarray(pixels)
    if image.size != (width, height):
        image = image.resize((width, height), Image.Resampling[interpolation.upper()])
    top, left = round((height - size[0]) / 2.0), round((width - size[1]) / 2.0)
    centre = np.asarray(image)[top : top + size[0], left : left + size[1]]
    return np.ascontiguousarray(centre.transpose(2, 0, 1))


def channels(values: Sequence[float], like: "Tensor") -> "Tensor":
    """Return three numbers, one a channel, in the shape that broadcasts over `[B, 3, …]`."""
    import torch

    shape = (1, len(values)) + (1,) * (like.dim() - 2)
    return torch.tensor(values, dtype=torch.float32, device=like.device).view(shape)
