"""Stored masks: which modalities each sample keeps, in a parquet file that evaluation reads.

A table has a column `id` and one bool column a modality. Random masks that are drawn anew by
every evaluation make its figures random too; a table makes them repeatable, and can be published.

Shapes: N samples, M modalities.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .atomic import write_atomic
from .errors import ConfigError
from .hashing import Keys, id_keys, mix
from .order import Booleans, check_seed
from .policies import drawn_by_modality

_ID = "id"


@dataclass(frozen=True, slots=True, eq=False)
class MaskTable:
    """`table:PATH`: what the table says, of what a sample has.

    Attributes:
        modalities: All modalities, in the order of the masks' columns.
        keys: `id_keys` of the table's samples, rising.
        kept: What they keep `[N, M]`.
        sha256: Digest of what the table says of these modalities.
        path: Where it was read.
    """

    modalities: tuple[str, ...]
    keys: Keys
    kept: Booleans
    sha256: str
    path: str = field(default="")
    is_random = True
    changes = False

    def __str__(self) -> str:
        return f"table:{self.sha256}"

    def may_keep(self, epoch: int) -> tuple[bool, ...]:
        """Return what any sample of the table keeps."""
        return tuple(bool(column.any()) for column in self.kept.T)

    def masks(self, keys: Keys, available: Booleans, *, seed: int, epoch: int) -> Booleans:
        """Return what the table says, of what is available.

        Raises:
            ConfigError: If the table lacks a sample.
        """
        place = np.searchsorted(self.keys, keys)
        found = np.minimum(place, max(len(self.keys) - 1, 0))
        lacking = self.keys[found] != keys if len(self.keys) else np.ones(len(keys), dtype=bool)
        if lacking.any():
            raise ConfigError(
                f"masking: the table {self.path} has no row for {int(lacking.sum())} of "
                f"{len(keys)} samples; write one for all of them"
            )
        return np.logical_and(available, self.kept[found])

    def check(self, ids: npt.NDArray[Any], keys: Keys) -> None:
        """Check that the table has a row for every sample.

        Raises:
            ConfigError: If it lacks some; the message names one.
        """
        lacking = np.flatnonzero(~np.isin(keys, self.keys))
        if len(lacking):
            raise ConfigError(
                f"masking: the table {self.path} has no row for {len(lacking)} of {len(ids)} "
                f"samples, such as '{ids[lacking[0]]}'; write one for all of them"
            )


def read_mask_table(path: str | Path, modalities: Sequence[str]) -> MaskTable:
    """Read a stored mask table.

    Args:
        path: A parquet file.
        modalities: Those of the view; the table may have more.

    Raises:
        ConfigError: If the file cannot be read, lacks a modality or names a sample twice.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path, pre_buffer=False).read(use_threads=False)
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigError(f"masking: the table {path} cannot be read: {error}") from None
    if lacking := [name for name in (_ID, *modalities) if name not in table.column_names]:
        raise ConfigError(f"masking: the table {path} has no column {', '.join(lacking)}")
    if table.schema.field(_ID).type not in (pa.string(), pa.large_string()):
        raise ConfigError(f"masking: the table {path}: id must be text")
    for name in modalities:
        column = table[name]
        if column.type != pa.bool_() or column.null_count:
            raise ConfigError(f"masking: the table {path}: {name} must be bool without nulls")
    keys = id_keys([str(name) for name in table[_ID].to_pylist()])
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    if (keys[1:] == keys[:-1]).any():
        raise ConfigError(f"masking: the table {path} names a sample twice")
    kept = np.zeros((len(keys), len(modalities)), dtype=bool)
    for number, name in enumerate(modalities):
        kept[:, number] = table[name].to_numpy()[order]
    sha = hashlib.sha256(keys.tobytes())
    for name in sorted(modalities):
        sha.update(name.encode() + b"\0" + kept[:, list(modalities).index(name)].tobytes())
    return MaskTable(tuple(modalities), keys, kept, sha.hexdigest(), str(path))


def write_mask_table(
    path: str | Path,
    ids: Sequence[str] | npt.NDArray[Any],
    masks: npt.ArrayLike,
    modalities: Sequence[str],
) -> None:
    """Write a mask table, at once or not at all.

    Args:
        path: A parquet file; one that is there is replaced.
        ids: Sample ids `[N]`, each once.
        masks: What each sample keeps, bool `[N, M]`.
        modalities: Names of the M columns.

    Raises:
        ConfigError: If the shapes do not agree or an id is there twice.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kept = np.asarray(masks)
    names = [str(name) for name in ids]
    if kept.dtype != np.bool_ or kept.shape != (len(names), len(modalities)):
        raise ConfigError(
            f"masks: must be bool [{len(names)}, {len(modalities)}], not {kept.dtype} "
            f"{list(kept.shape)}"
        )
    if len(set(names)) != len(names):
        raise ConfigError("ids: one is there twice")
    if _ID in modalities or len(set(modalities)) != len(modalities):
        raise ConfigError("modalities: each needs a name of its own, other than 'id'")
    columns: dict[str, Any] = {_ID: pa.array(names, pa.string())}
    columns |= {name: pa.array(kept[:, i], pa.bool_()) for i, name in enumerate(modalities)}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd")
    write_atomic(path, sink.getvalue().to_pybytes())


def exact_rate_masks(
    ids: Sequence[str] | npt.NDArray[Any],
    available: npt.ArrayLike,
    rate: float,
    *,
    seed: int,
    modalities: Sequence[str],
) -> Booleans:
    """Return masks `[N, M]` in which each modality lacks a share of `rate`, to the sample.

    For `write_mask_table`: unlike the masks of `rate:R` they depend on all samples together. Every
    sample keeps at least one modality that it has, so a rate above 1 - 1 / M comes out as that.

    Args:
        ids: Sample ids `[N]`.
        available: What the samples have `[N, M]`.
        rate: From 0 to 1.
        seed: Non-negative; another seed is another draw.
        modalities: Names of the M columns.

    Raises:
        ConfigError: If the rate or the seed is out of range.
    """
    check_seed(seed, epoch=0)
    if not 0 <= rate <= 1:
        raise ConfigError(f"rate: must be from 0 to 1, not {rate}")
    has = np.asarray(available, dtype=bool)
    keys = id_keys(ids)
    kept = _one_each(keys, has, seed, modalities)
    drawn = drawn_by_modality(keys, has, tuple(modalities), seed, 0, "rate: exact")
    for column in range(has.shape[1]):
        wanted = round((1 - rate) * int(has[:, column].sum()))
        others = np.flatnonzero(has[:, column] & ~kept[:, column])
        more = max(0, wanted - int(kept[:, column].sum()))
        kept[others[np.argsort(drawn[others, column], kind="stable")[:more]], column] = True
    return kept


def _one_each(keys: Keys, has: Booleans, seed: int, modalities: Sequence[str]) -> Booleans:
    """Keep one modality a sample, each as often as the others where all samples have all."""
    place = np.empty(len(keys), dtype=np.int64)
    place[np.argsort(mix(keys, seed, 0, "rate: exact order"), kind="stable")] = np.arange(len(keys))
    by_name = np.argsort(np.array(modalities), kind="stable")
    count = has.sum(axis=1)
    chosen = place % np.maximum(count, 1)
    kept = np.empty_like(has)
    number = np.cumsum(has[:, by_name], axis=1) - 1
    kept[:, by_name] = has[:, by_name] & (number == chosen[:, None])
    return kept
