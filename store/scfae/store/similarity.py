"""How alike the features of two columns are, whatever their dims, and what a label says of each.

Each sample counts by the mean of its rows. Linear CKA (Kornblith et al. 2019, in its feature form)
is 1 for columns that differ by a rotation and a scale. Overlap of neighbours: of the `k` nearest by
cosine in one column, how many are so in the other. Linear probe: how often a linear classifier on
standardised features names the label of samples it was not fitted on; ridge regression onto one-hot
labels, in folds that keep groups together.

Shapes: n samples, D and E features, C classes.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .errors import SchemaMismatch

Features = npt.NDArray[np.float64]
NEIGHBOURS: Final = 10
FOLDS: Final = 5
_RIDGE: Final = 1e-2
_BLOCK = 512


def linear_cka(one: Features, other: Features) -> float | None:
    """Return linear CKA of features `[n, D]` and `[n, E]` of the same samples, in [0, 1].

    None where a column is constant.
    """
    x, y = one - one.mean(axis=0), other - other.mean(axis=0)
    if len(x) < max(x.shape[1], y.shape[1]):
        # The same by n x n matrices, which are smaller here.
        a, b = x @ x.T, y @ y.T
        cross, own, others = float((a * b).sum()), _norm(a), _norm(b)
    else:
        cross, own, others = _norm(x.T @ y) ** 2, _norm(x.T @ x), _norm(y.T @ y)
    scale = own * others
    return cross / scale if scale > 0 else None


def neighbour_overlap(one: Features, other: Features, k: int = NEIGHBOURS) -> float | None:
    """Return the share of each sample's `k` nearest that both columns agree on, on average.

    None where there are no `k` others.
    """
    if len(one) <= k:
        return None
    near, far = _neighbours(one, k), _neighbours(other, k)
    common = [len(np.intersect1d(a, b)) for a, b in zip(near, far, strict=True)]
    return float(np.mean(common)) / k


def probe_accuracy(features: Features, labels: Sequence[Any], groups: Sequence[str]) -> float:
    """Return how often a linear probe names the label of samples it was not fitted on.

    Args:
        features: `[n, D]`.
        labels: Of each sample.
        groups: Samples of one group are fitted on together or not at all.

    Raises:
        SchemaMismatch: If there are fewer than two labels or groups.
    """
    classes, target = np.unique(np.array([str(label) for label in labels]), return_inverse=True)
    fold = np.array([int(hashlib.sha256(g.encode()).hexdigest(), 16) % FOLDS for g in groups])
    folds = np.unique(fold)
    if len(classes) < 2 or len(folds) < 2:
        raise SchemaMismatch(
            f"a probe needs at least two labels and groups in two folds, not {len(classes)} and "
            f"{len(folds)}"
        )
    right = 0
    for held in folds:
        train = fold != held
        right += int(
            (_probe(features[train], target[train], features[~train]) == target[~train]).sum()
        )
    return right / len(target)


def majority_share(labels: Sequence[Any]) -> float:
    """Return how often the most frequent label is right: what a probe must beat."""
    _, counts = np.unique(np.array([str(label) for label in labels]), return_counts=True)
    return float(counts.max() / counts.sum())


def _probe(x: Features, target: npt.NDArray[Any], new: Features) -> npt.NDArray[np.int64]:
    """Return the predicted class of each row of `new`."""
    mean, scale = x.mean(axis=0), x.std(axis=0)
    scale[scale == 0] = 1.0
    width = np.sqrt(x.shape[1])
    x, new = (x - mean) / scale / width, (new - mean) / scale / width
    onehot = np.eye(int(target.max()) + 1)[target]
    offset = onehot.mean(axis=0)
    y = onehot - offset
    ridge = _RIDGE * len(x) / width
    if len(x) < x.shape[1]:
        weights = x.T @ np.linalg.solve(x @ x.T + ridge * np.eye(len(x)), y)
    else:
        weights = np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)
    predicted: npt.NDArray[np.int64] = (new @ weights + offset).argmax(axis=1)
    return predicted


def _neighbours(features: Features, k: int) -> npt.NDArray[np.int64]:
    """Return the numbers of the `k` nearest others of each sample by cosine, `[n, k]`."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(norms > 0, norms, 1.0)
    found = np.empty((len(unit), k), dtype=np.int64)
    for start in range(0, len(unit), _BLOCK):
        block = unit[start : start + _BLOCK] @ unit.T
        own = np.arange(len(block))
        block[own, start + own] = -np.inf
        found[start : start + _BLOCK] = np.argpartition(-block, k - 1, axis=1)[:, :k]
    return found


def _norm(matrix: Features) -> float:
    return float(np.linalg.norm(matrix))
