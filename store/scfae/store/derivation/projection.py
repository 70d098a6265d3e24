"""Linear maps to fewer features: principal components of the train split, or random signs.

Shapes: R rows, D features, K features made.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ConfigError


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """An affine map of rows.

    Attributes:
        mean: Subtracted first, `[D]`.
        matrix: `[D, K]`.
        facts: What is worth knowing of it, as JSON values.
    """

    mean: npt.NDArray[np.float64]
    matrix: npt.NDArray[np.float64]
    facts: dict[str, Any] = field(default_factory=dict)

    def __call__(self, rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Map rows `[T, D]` of one sample to `[T, K]`."""
        return (rows - self.mean) @ self.matrix

    @property
    def sha256(self) -> str:
        """Digest of its numbers."""
        return hashlib.sha256(self.mean.tobytes() + self.matrix.tobytes()).hexdigest()


def fit_pca(blocks: Iterable[npt.NDArray[np.float64]], num_components: int) -> Projection:
    """Fit principal components in one pass, in `[D, D]` memory whatever the number of rows.

    Each component's largest weight is positive, so the same rows give the same signs.

    Args:
        blocks: Rows `[R, D]`, in an order that does not change; read once.
        num_components: How many, K; at most D, and at most the number of rows.

    Raises:
        ConfigError: If there are fewer rows than components.
    """
    shift = total = np.zeros(0)
    gram = np.zeros((0, 0))
    num_rows = 0
    for block in blocks:
        if not len(block):
            continue
        if not num_rows:
            # Near the mean already, so that the subtraction below loses no digits.
            shift = block.mean(axis=0)
            total, gram = np.zeros_like(shift), np.zeros((len(shift), len(shift)))
        centred = block - shift
        total += centred.sum(axis=0)
        gram += centred.T @ centred
        num_rows += len(block)
    if num_rows < num_components:
        raise ConfigError(
            f"--pca: {num_components} components of the {num_rows} rows that --fit-split has; "
            "ask for fewer, or fit on another split."
        )
    offset = total / num_rows
    covariance = gram / num_rows - np.outer(offset, offset)
    variances, vectors = np.linalg.eigh(covariance)
    matrix = vectors[:, ::-1][:, :num_components]
    largest = np.abs(matrix).argmax(axis=0)
    matrix = np.ascontiguousarray(matrix * np.sign(matrix[largest, np.arange(num_components)]))
    everything = float(np.trace(covariance))
    kept = float(variances[::-1][:num_components].sum())
    share = kept / everything if everything > 0 else 1.0
    return Projection(
        shift + offset, matrix, {"fitted_rows": num_rows, "explained_variance": round(share, 6)}
    )


def random_projection(dim: int, num_features: int, seed: int) -> Projection:
    """Draw signs over the root of K: distances are kept on average, and no data is looked at.

    Args:
        dim: Features of a row, D.
        num_features: Features made, K.
        seed: Decides the signs; the same on every machine and with every numpy.
    """
    # Raw bits, since numpy may change its distributions between releases.
    words = np.random.Philox(np.random.SeedSequence(seed)).random_raw(-(-dim * num_features // 64))
    bits = np.unpackbits(words.astype("<u8").view(np.uint8))[: dim * num_features]
    signs = 2.0 * bits.reshape(dim, num_features) - 1.0
    return Projection(np.zeros(dim), signs / np.sqrt(num_features))
