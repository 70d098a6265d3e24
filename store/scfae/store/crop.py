"""Which rows of a sample are read: every K-th of them, and of those a window of T.

A random window is a pure function of (seed, epoch, sample id), and lies at the same fraction of
every modality, so that modalities which were aligned before stay aligned.

Shapes: n samples, M modalities, T rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .errors import ConfigError
from .hashing import Keys, mix, uniform
from .order import Integers, integer

CROP_AT = ("random", "center")
PerModality = int | Mapping[str, int] | None


@dataclass(frozen=True, slots=True)
class Crop:
    """What is read of the rows of each modality.

    Attributes:
        rows: At most so many rows of each of the M modalities; None is all.
        strides: Every how many-th row of each of them.
        at: `random`, or `center` for evaluation.
    """

    rows: tuple[int | None, ...]
    strides: tuple[int, ...]
    at: str = "random"

    @classmethod
    def parse(
        cls, crop: PerModality, stride: PerModality, at: str, modalities: tuple[str, ...]
    ) -> "Crop":
        """Read `crop`, `stride` and `crop_at` as users give them.

        Raises:
            ConfigError: If one cannot be used; the message names it.
        """
        if at not in CROP_AT:
            raise ConfigError(f"crop_at: must be {' or '.join(CROP_AT)}, not {at!r}")
        rows = _each("crop", crop, modalities)
        strides = _each("stride", stride, modalities)
        return cls(tuple(rows), tuple(k or 1 for k in strides), at)

    @property
    def is_all(self) -> bool:
        """Whether every row is read."""
        return not self.is_cropping and set(self.strides) <= {1}

    @property
    def is_cropping(self) -> bool:
        """Whether any modality has a window."""
        return any(rows is not None for rows in self.rows)

    @property
    def is_random(self) -> bool:
        """Whether what is read depends on the epoch and the sample."""
        return self.is_cropping and self.at == "random"

    def lengths(self, column: int, stored: Integers) -> Integers:
        """Return how many rows are read of samples `[n]`.

        Args:
            column: Number of the modality.
            stored: How many rows they have `[n]`.
        """
        stride, rows = self.strides[column], self.rows[column]
        kept = stored if stride == 1 else -(-stored // stride)
        return kept if rows is None else np.minimum(kept, rows)

    def starts(
        self, column: int, stored: Integers, keys: Keys, *, seed: int, epoch: int
    ) -> Integers:
        """Return the first row that is read of samples `[n]`.

        Args:
            column: Number of the modality.
            stored: How many rows they have `[n]`.
            keys: `id_keys` of the samples `[n]`; not read unless `is_random`.
            seed: Non-negative.
            epoch: Non-negative.
        """
        stride = self.strides[column]
        slack = -(-stored // stride) - self.lengths(column, stored)
        if self.at == "center":
            return slack // 2 * stride
        if not self.is_random:
            return np.zeros(len(stored), dtype=np.int64)
        # One number a sample for all modalities. It is below 1, so the product is at most slack.
        place = uniform(mix(keys, seed, epoch, "crop")) * (slack + 1)
        return place.astype(np.int64) * stride

    def __str__(self) -> str:
        return f"crop={list(self.rows)} stride={list(self.strides)} crop_at={self.at}"


def _each(field: str, given: PerModality, modalities: tuple[str, ...]) -> list[int | None]:
    if given is None:
        return [None] * len(modalities)
    if not isinstance(given, Mapping):
        return [integer(field, given, least=1)] * len(modalities)
    if unknown := [name for name in given if name not in modalities]:
        raise ConfigError(
            f"{field}: names {', '.join(unknown)}; this view has {', '.join(modalities)}"
        )
    return [integer(f"{field}.{m}", given[m], least=1) if m in given else None for m in modalities]
