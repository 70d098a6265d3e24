"""Torch's resizing of bytes, computed by numpy: decoding children need no torch for it.

Importing torch costs a child seconds at its start and some 200 MB. With antialiasing, results are
torch's own, byte for byte (its kernel for bytes counts in integers: weights of 16 bits, columns
first, bytes in between). Without it, torch computes in float32 in an order that differs from one
processor to another: here about 20 of a million values come out one grey level apart.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]
Crop = tuple[int, int, int, int]
_BLOCK = 8  # results of one product: few inputs beyond those that each needs
_PLANS = 64


def resize_antialiased(pixels: Pixels, height: int, width: int) -> Pixels:
    """Return a picture `[H, W, 3]` as `[height, width, 3]`, as torchvision's `resize` on bytes.

    Bilinear with antialiasing; `torchvision.transforms.v2.functional.resize`.
    """
    rows, columns, _ = pixels.shape
    if columns != width:
        # Columns of all channels side by side.
        flat = pixels.reshape(rows, columns * 3)
        out = np.empty((rows, width * 3), dtype=np.uint8)
        blocks, unit = _antialias(columns, width, 3)
        for begin, end, first, last, matrix in blocks:
            out[:, begin:end] = _rounded(flat[:, first:last].astype(np.float64) @ matrix.T, unit)
        pixels = out.reshape(rows, width, 3)
    if rows != height:
        flat = pixels.reshape(rows, width * 3)
        out = np.empty((height, width * 3), dtype=np.uint8)
        blocks, unit = _antialias(rows, height, 1)
        for begin, end, first, last, matrix in blocks:
            out[begin:end] = _rounded(matrix @ flat[first:last].astype(np.float64), unit)
        pixels = out.reshape(height, width, 3)
    return pixels


def resize_bilinear(pixels: Pixels, height: int, width: int, *, crop: Crop | None = None) -> Pixels:
    """Return a picture `[H, W, 3]` as `[height, width, 3]`, without antialiasing.

    As torch's `interpolate(mode="bilinear", align_corners=False)`, rounded to bytes.

    Args:
        pixels: The picture.
        height: To resize to.
        width: To resize to.
        crop: Top, left, height and width of the part to return; only that is computed.
    """
    top, left, rows, columns = crop or (0, 0, height, width)
    if pixels.shape[:2] == (height, width):
        return pixels[top : top + rows, left : left + columns]
    above, below, down = (x[top : top + rows] for x in _neighbours(pixels.shape[0], height))
    before, after, right = (x[left : left + columns] for x in _neighbours(pixels.shape[1], width))
    down, right = down[:, None, None], right[:, None]
    up, back = np.float32(1) - down, np.float32(1) - right
    above, below = above[:, None], below[:, None]
    value = pixels[above, before] * (up * back) + pixels[above, after] * (up * right)
    value += pixels[below, before] * (down * back) + pixels[below, after] * (down * right)
    rounded: Pixels = np.rint(value).astype(np.uint8)
    return rounded


def _rounded(sums: Matrix, unit: int) -> Pixels:
    """Return integer sums in units, rounded half up, as bytes."""
    sums += unit // 2
    sums /= unit
    return np.clip(sums, 0, 255, out=sums).astype(np.uint8)


@lru_cache(_PLANS)
def _antialias(
    size: int, wanted: int, channels: int
) -> tuple[list[tuple[int, int, int, int, Matrix]], int]:
    """Return blocks of weights from `size` to `wanted` values, and the unit they count in.

    A block is (first and last result, first and last input, matrix `[results, inputs]`), with all
    channels side by side. Products of integers below 2^53 are exact in float64.
    """
    scale = size / wanted
    support = max(scale, 1.0)
    centres = scale * (np.arange(wanted) + 0.5)
    firsts = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    lasts = np.minimum((centres + support + 0.5).astype(np.int64), size)
    places = np.arange(size)
    blocks = []
    for begin in range(0, wanted, _BLOCK):
        end = min(wanted, begin + _BLOCK)
        first, last = int(firsts[begin]), int(lasts[end - 1])
        distance = np.abs(places[first:last] - centres[begin:end, None] + 0.5) / support
        weights = np.maximum(0.0, 1.0 - distance)
        weights[places[first:last] < firsts[begin:end, None]] = 0.0
        weights[places[first:last] >= lasts[begin:end, None]] = 0.0
        blocks.append((begin, end, first, last, weights / weights.sum(axis=1, keepdims=True)))
    unit = _unit(max(float(weights.max()) for *_, weights in blocks))
    return [
        (
            begin * channels,
            end * channels,
            first * channels,
            last * channels,
            np.kron(np.floor(weights * unit + 0.5), np.eye(channels)),
        )
        for begin, end, first, last, weights in blocks
    ], unit


def _unit(largest: float) -> int:
    """Return the largest power of two in which all weights fit into 16 bits."""
    precision = 0
    while precision < 22 and int(0.5 + largest * (1 << (precision + 1))) < 1 << 15:
        precision += 1
    return 1 << precision


@lru_cache(_PLANS)
def _neighbours(
    size: int, wanted: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Return the two inputs of each result, and the weight of the second."""
    scale = np.float64(np.float32(size) / np.float32(wanted))
    places = (scale * (np.arange(wanted) + 0.5) - 0.5).astype(np.float32)
    places = np.maximum(places, np.float32(0))
    before = np.minimum(places.astype(np.int64), size - 1)
    weight = np.clip(places - before.astype(np.float32), np.float32(0), np.float32(1))
    return before, np.minimum(before + 1, size - 1), weight
