"""Still images: Pillow, upright, RGB, with a limit on what a header may claim."""

import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from scfae.store.errors import DecodeError

from .limits import Limits, PixelBudget


def read_picture(path: Path, limits: Limits) -> npt.NDArray[np.uint8]:
    """Return an image as uint8 `[H, W, 3]` RGB.

    EXIF orientation is applied, transparency is drawn on black, 16-bit grey keeps its upper byte,
    and the first frame of an animation counts.

    Raises:
        DecodeError: If it cannot be decoded whole, or claims more pixels than the limit.
    """
    try:
        with warnings.catch_warnings():
            # Our own limit comes before the decompression, so Pillow's warning says nothing new.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                refusal = PixelBudget(limits).refusal(image.width, image.height)
                if refusal is not None:
                    raise DecodeError(f"{refusal}: {path}")
                upright = ImageOps.exif_transpose(image)
                return _rgb(upright)
    except DecodeError:
        raise
    except Image.DecompressionBombError:
        raise DecodeError(f"the image claims to be too large: {path}") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise DecodeError(f"not readable as an image ({error}): {path}") from None


def _rgb(image: Image.Image) -> npt.NDArray[np.uint8]:
    if image.mode.startswith("I"):
        # Pillow would clip 16 bits at 255 instead of scaling them.
        grey = (np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
        return np.repeat(grey[:, :, None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (0, 0, 0, 255))
        image = Image.alpha_composite(ground, rgba)
    return np.array(image.convert("RGB"))  # a copy: torch warns of arrays that are read-only
