"""Warns when a shuffle window is not what the view is: filled by one label, or by one group.

Batches of such a window teach one thing for a while and then another. A window as large as the
view cannot be, and a label that fills the whole view fills every window; so what counts is how
much more of a window one value fills than it fills of the view. The limit is 20 points above that:
training on windows of one class each ends 2 to 3 points of accuracy lower and learns far slower
in the first epochs, while samples dealt at random, or in groups of a tenth of a shard, learn as
with a full shuffle. Fewer than 8 samples, or an excess below four standard errors of a random deal,
are chance, and no warning.

Shapes: N samples, S shards, V windows, K values.
"""

import warnings
from typing import Final

import numpy as np

from .order import Integers
from .sample_view import SampleView

EXCESS: Final = 0.2
_STANDARD_ERRORS: Final = 4.0
_MIN_SAMPLES: Final = 8


class SkewedWindowWarning(UserWarning):
    """A shuffle window is dominated by one label or group."""


def warn_of_skew(view: SampleView, window: Integers) -> None:
    """Warn once for each label, and for groups, whose worst window is dominated by one value.

    Args:
        view: The samples.
        window: Window of each of them `[N]`.
    """
    if len(window) == 0 or window.max() == 0:
        return  # all samples are mixed
    for name in view.label_names:
        label = view.label(name)
        if label.kind == "float":
            continue
        values = np.asarray(label.values, dtype=np.int64)
        codes = values - values.min()
        if codes.max() > 4 * len(codes):
            codes = np.unique(codes, return_inverse=True)[1].astype(np.int64)
        if found := worst_excess(window, codes.astype(np.int64)):
            sample, share, usual = found
            value = label.values[sample]
            shown = label.classes[value] if label.classes and value >= 0 else value
            _warn(f"{name} = {shown}", share, usual)
    if found := worst_excess(window, view.group_of):
        sample, share, usual = found
        _warn(f"the group of sample '{view.ids[sample]}'", share, usual)


def worst_excess(window: Integers, codes: Integers) -> tuple[int, float, float] | None:
    """Return the value that fills most more of a window than of all, if by more than the limit.

    Args:
        window: Window of each sample `[N]`.
        codes: Value of each sample, 0 .. K-1, `[N]`.

    Returns:
        A sample that has the value, its share of the window, and its share of all.
    """
    sizes = np.bincount(window)
    totals = np.bincount(codes)
    # Only these can fill so much of the smallest window: few, also where each sample has its own.
    frequent = totals >= max(_MIN_SAMPLES, EXCESS * sizes.min())
    chosen = np.flatnonzero(frequent[codes])
    if len(chosen) == 0:
        return None
    names = np.cumsum(frequent) - 1
    num_values = int(names[-1]) + 1
    pairs = window[chosen] * num_values + names[codes[chosen]]
    counts = np.bincount(pairs, minlength=len(sizes) * num_values).reshape(-1, num_values)
    usual = (totals[frequent] / len(codes))[None, :]
    share = counts / sizes[:, None]
    chance = _STANDARD_ERRORS * np.sqrt(usual * (1 - usual) / sizes[:, None])
    is_much = (share - usual > np.maximum(EXCESS, chance)) & (counts >= _MIN_SAMPLES)
    excess = np.where(is_much, share - usual, 0.0)
    if not excess.any():
        return None
    where, value = np.unravel_index(int(excess.argmax()), excess.shape)
    sample = int(chosen[np.flatnonzero(pairs == where * num_values + value)[0]])
    return sample, float(share[where, value]), float(usual[0, value])


def _warn(what: str, share: float, usual: float) -> None:
    warnings.warn(
        f"{what} fills {share:.0%} of a shuffle window, but {usual:.0%} of the view; raise "
        "window_shards, or make the store anew, which deals samples to shards at random",
        SkewedWindowWarning,
        stacklevel=4,
    )
