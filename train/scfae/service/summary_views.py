"""What is told of a store: columns, labels, presence, lengths, alarms."""

from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, JsonValue

from scfae.store.config import Frozen

HISTOGRAM_BINS: Final = 30
MOST_CLASSES: Final = 20
"""Of a label that is counted in each split."""


class Histogram(Frozen):
    """How often values lie in bins.

    Attributes:
        edges: Of the bins, one more than there are.
        counts: In each bin.
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: npt.NDArray[Any]) -> "Histogram | None":
        """Return the histogram of values; None of none. Few different whole numbers get a bin each.

        Args:
            values: Finite ones.
        """
        if not len(values):
            return None
        low, high = float(values.min()), float(values.max())
        if np.issubdtype(values.dtype, np.integer) and high - low < HISTOGRAM_BINS:
            edges = np.arange(low, high + 2) - 0.5
        else:
            edges = np.linspace(low, high if high > low else low + 1.0, HISTOGRAM_BINS + 1)
        counts, _ = np.histogram(values, edges)
        return cls(edges=tuple(edges.tolist()), counts=tuple(counts.tolist()))


class ReasonCount(Frozen):
    """Why samples are not whole in a column.

    Attributes:
        status: partial, missing or failed.
        reason: In words.
        count: Samples.
    """

    status: str
    reason: str
    count: int


class ColumnSummary(Frozen):
    """A column.

    Attributes:
        name: Its name.
        modality: What it says.
        encoder: The encoder's string.
        weights: Where its weights came from.
        weights_sha256: Digest of the weights file, None where there is none.
        is_random: The weights are noise.
        dim: Features a row, D.
        rows_per_second: Rows a second of media, None where it has no meaning.
        dtype: How rows are stored.
        format: File format of its shards.
        licence: Of the weights.
        fingerprint: Digest of all that decides its rows.
        size_bytes: Of all shards.
        num_rows: In all samples.
        num_present: Samples that have rows.
        num_pending: Samples that are not extracted yet.
        counts: Samples by fate; those not extracted yet are missing.
        reasons: The most frequent reasons.
        lengths: Rows of the samples that have some.
        stale: Why a derived column no longer agrees with what it was derived from.
        error: Why it cannot be read, or None.
    """

    name: str
    modality: str
    encoder: str
    weights: str
    weights_sha256: str | None
    is_random: bool
    dim: int
    rows_per_second: float | None
    dtype: str
    format: str
    licence: str | None
    fingerprint: str
    size_bytes: int = 0
    num_rows: int = 0
    num_present: int = 0
    num_pending: int = 0
    counts: dict[str, int] = Field(default_factory=dict)
    reasons: tuple[ReasonCount, ...] = ()
    lengths: Histogram | None = None
    stale: tuple[str, ...] = ()
    error: str | None = None


class LabelSummary(Frozen):
    """A label.

    Attributes:
        name: Its name.
        kind: int, float or str.
        num_known: Samples that have it.
        num_values: Different values.
        counts: Value and samples, the most frequent first; empty for fractions.
        histogram: Of numbers with many different values.
        splits: Samples of each split by value, in the order of `counts`, where values are few.
    """

    name: str
    kind: str
    num_known: int
    num_values: int
    counts: tuple[tuple[JsonValue, int], ...] = ()
    histogram: Histogram | None = None
    splits: dict[str, tuple[int, ...]] = Field(default_factory=dict)


class Combination(Frozen):
    """Samples that have exactly these columns.

    Attributes:
        columns: Their names; none for samples without any rows.
        count: Samples.
    """

    columns: tuple[str, ...]
    count: int


class PresenceMap(Frozen):
    """Which samples have rows, over the store in its order.

    Attributes:
        edges: Where bins begin in the sample table, and where the last one ends `[B + 1]`.
        shares: Of each column, which part of each bin has rows `[B]`.
    """

    edges: tuple[int, ...]
    shares: dict[str, tuple[float, ...]]


class Alarm(Frozen):
    """Something that looks wrong.

    Attributes:
        kind: What.
        about: Name of the column or label; empty for the store.
        text: In a sentence.
    """

    kind: Literal[
        "unreadable", "incomplete", "missing", "failed", "constant", "non-finite", "noise",
        "stale", "unbalanced", "split",
    ]  # fmt: skip
    about: str
    text: str


class StoreSummary(Frozen):
    """A store.

    Attributes:
        id: A digest of its path.
        path: Its folder.
        fingerprint: Digest of samples and columns.
        format_version: Of the format on disk.
        num_samples: N.
        num_shards: Shards a column.
        shard_size: Samples a shard.
        size_bytes: Of the sample table and all shards.
        duration_s: Of all media together, as far as it is known.
        splits: Samples of each split; those of none under an empty name.
        labels: Its labels.
        columns: Its columns.
        combinations: Samples by which columns they have, the most frequent first.
        num_combinations: How many there are, also those left out above.
        presence: Over the store.
        alarms: What looks wrong.
        num_looked_at: Samples whose rows were read for that, of each column at most.
    """

    id: str
    path: str
    fingerprint: str
    format_version: int
    num_samples: int
    num_shards: int
    shard_size: int
    size_bytes: int
    duration_s: float
    splits: dict[str, int]
    labels: tuple[LabelSummary, ...]
    columns: tuple[ColumnSummary, ...]
    combinations: tuple[Combination, ...]
    num_combinations: int
    presence: PresenceMap
    alarms: tuple[Alarm, ...]
    num_looked_at: int
