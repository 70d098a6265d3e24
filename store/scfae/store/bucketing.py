"""Samples of like lengths side by side, so that batches have little padding in every modality.

Sorting by one number serves one modality: of samples that hold as much in all, some have a long
video and others a long sound, and a batch of them pads both. So units are halved again and again,
each part by the modality in which it would pad most, until a part is a batch (a k-d tree). Where
one modality varies, or all vary together, that is sorting by length.

Shapes: n units, M modalities.
"""

import numpy as np
import numpy.typing as npt

from .order import Integers


def alike(sizes: Integers, leaf: int) -> Integers:
    """Return an order of units in which every `leaf` neighbours, from the start, are alike.

    Args:
        sizes: What each unit fills of a padded batch, for each modality `[n, M]`.
        leaf: Units of a batch, at least 1.
    """
    by_modality = np.ascontiguousarray(sizes.T)
    order: Integers = np.arange(len(sizes), dtype=np.int64)
    parts = [(0, len(sizes))]
    while parts:
        start, end = parts.pop()
        here = order[start:end]
        inside = by_modality[:, here]
        widest = _pads_most(inside)
        if widest is None:
            continue  # all alike
        order[start:end] = here[np.argsort(inside[widest], kind="stable")]
        leaves = -(-(end - start) // leaf)
        if leaves > 1:
            middle = start + leaves // 2 * leaf
            parts += [(start, middle), (middle, end)]
    return order


def _pads_most(sizes: npt.NDArray[np.int64]) -> int | None:
    """Return the modality of which a batch `[M, n]` pads most; None if none is padded."""
    num_modalities, num_units = sizes.shape
    if num_modalities == 0 or num_units < 2:
        return None
    padding = sizes.max(axis=1) * num_units - sizes.sum(axis=1)
    widest = int(padding.argmax())
    return widest if padding[widest] > 0 else None
