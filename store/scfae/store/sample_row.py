"""One sample as a manifest gives it, and many of them as the columns of `samples.parquet`.

Shapes: N samples.
"""

import itertools
import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .errors import ManifestError, SchemaMismatch

MEDIA_KINDS: Final = ("video", "audio", "image", "text")
MEDIA_PREFIX: Final = "media."
LABEL_PREFIX: Final = "label."

Label = int | float | str | None


@dataclass(frozen=True, slots=True)
class SampleRow:
    """One sample as the manifest gives it.

    Attributes:
        id: Unique, not empty.
        media: For each kind of media the path as in the manifest, or the text itself.
        split: `train`, `val`, `test` or any other name.
        group: Speaker, identity, dialogue: what must not be on both sides of a split.
        labels: Integers, floats or strings by name; None is unknown.
        duration_s: Length of the media in seconds.
    """

    id: str
    media: Mapping[str, str] = field(default_factory=dict)
    split: str | None = None
    group: str | None = None
    labels: Mapping[str, Label] = field(default_factory=dict)
    duration_s: float | None = None


def typed_labels(values: Sequence[Any], text: Callable[[Any], str | None]) -> list[Label]:
    """Return a label column as integers, else floats, else strings; NaN is None.

    Args:
        values: As a table or JSON has them; of truth values true is 1.
        text: Makes a text of a value, None of nothing.
    """
    texts = [text(int(one) if isinstance(one, bool) else one) for one in values]
    if any("_" in one for one in texts if one):  # Python would read 1_2 as 12
        return list(texts)
    for kind in (int, float):
        try:
            known = [None if one is None else kind(one) for one in texts]
        except ValueError:
            continue
        return [None if one is None or math.isnan(one) else one for one in known]
    return list(texts)


def deal(rows: Sequence[SampleRow], *, key: list[int]) -> list[SampleRow]:
    """Return rows in the order of the shards: a permutation that depends on ids and key only.

    Raises:
        ManifestError: Ids repeat, or one is empty or cannot be stored.
    """
    ordered = sorted(rows, key=lambda row: row.id)
    for one, other in itertools.pairwise(ordered):
        if one.id == other.id:
            raise ManifestError(f"the id {one.id!r} is there twice; ids must be unique")
    if ordered and not ordered[0].id:
        raise ManifestError("a sample has no id")
    for row in ordered:
        # numpy drops trailing NULs, and neither UTF-8 nor parquet knows lone surrogates.
        if "\0" in row.id or any("\ud800" <= char <= "\udfff" for char in row.id):
            raise ManifestError(f"the id {row.id!r} holds characters that cannot be stored")
    # Raw bits and a stable sort are what numpy promises not to change between releases.
    bits = np.random.Philox(np.random.SeedSequence(key)).random_raw(len(ordered))
    return [ordered[i] for i in np.argsort(bits, kind="stable")]


def chunked(num_samples: int, shard_size: int) -> npt.NDArray[np.int64]:
    """Return the shard of each sample `[N]`: full ones, and what is left."""
    return np.arange(num_samples, dtype=np.int64) // shard_size


def to_table(rows: Sequence[SampleRow], shards: npt.NDArray[np.int64]) -> pa.Table:
    """Return the columns of `samples.parquet`.

    Args:
        rows: In shard order.
        shards: Of each, `[N]`.

    Raises:
        ManifestError: A media kind is unknown.
        SchemaMismatch: A label mixes text and numbers.
    """
    for row in rows:
        for kind in row.media:
            if kind not in MEDIA_KINDS:
                known = ", ".join(MEDIA_KINDS)
                raise ManifestError(f"sample {row.id!r}: no media kind {kind!r}; there are {known}")
    columns: dict[str, Any] = {
        "id": pa.array([row.id for row in rows], pa.string()),
        "shard": pa.array(shards.astype(np.int32), pa.int32()),
        "split": pa.array([row.split or None for row in rows], pa.string()),
        "group": pa.array([row.group or None for row in rows], pa.string()),
        "duration_s": pa.array([row.duration_s for row in rows], pa.float64()),
    }
    for kind in MEDIA_KINDS:
        columns[MEDIA_PREFIX + kind] = pa.array([row.media.get(kind) for row in rows], pa.string())
    for name in sorted({name for row in rows for name in row.labels}):
        columns[LABEL_PREFIX + name] = _label_array(name, [row.labels.get(name) for row in rows])
    return pa.table(columns)


def _label_array(name: str, values: list[Label]) -> Any:
    known = [_without_nan(value) for value in values]
    kinds = {type(value) for value in known if value is not None}
    if all(issubclass(kind, str) for kind in kinds):
        return pa.array(known, pa.string())
    if not all(issubclass(kind, numbers.Real) for kind in kinds):
        kinds_named = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise SchemaMismatch(f"label '{name}' mixes text and numbers: it holds {kinds_named}")
    try:
        if all(issubclass(kind, numbers.Integral) for kind in kinds):
            return pa.array([None if v is None else int(v) for v in known], pa.int64())
        return pa.array([None if v is None else float(v) for v in known], pa.float64())
    except (OverflowError, pa.ArrowInvalid) as error:
        raise SchemaMismatch(f"label '{name}' does not fit into 64 bits: {error}") from None


def _without_nan(value: Label) -> Label:
    return None if isinstance(value, numbers.Real) and math.isnan(value) else value
