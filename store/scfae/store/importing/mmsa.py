"""MMSA's pickles: `split -> {id, text, audio, vision, regression_labels, …}`.

`aligned_50.pkl` and `unaligned_50.pkl` of MOSI and MOSEI, and those of CH-SIMS, hold every
modality padded to the same number of rows; `audio_lengths` and `vision_lengths` say how many are
real. An id is `VIDEO$_$CLIP`; the video is the group.

Shapes: N samples of a split, T rows, D features.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from ..atomic import sha256_file
from ..errors import ConfigError, ImportRefused, ManifestError
from ..sample_row import Label, SampleRow
from .archive import trim
from .arrays import Array, MemoryArray, as_text, read_all
from .limits import ByteBudget, check_ids, regular_file
from .pickled import PickledArray, as_list
from .pickles import read_pickle
from .source import Rows, SameDim

_KEYS: Final = {"video": "vision", "visual": "vision", "image": "vision"}
_SPLITS: Final = {"valid": "val", "dev": "val"}
_CLIP: Final = "$_$"


@dataclass(frozen=True, slots=True, eq=False)
class _Split:
    """One split: its padded rows `[N, T, D]` or `[N, D]`, and how many of each are real."""

    rows: Array
    lengths: list[int] | None


class MmsaSource:
    """One modality of an MMSA pickle as a source; see `Source`.

    Args:
        path: The pickle.
        modality: Tells the key where it is not given: `audio`, `text`, or `vision` for `video`.
        key: Which entry of each split holds the rows.
        max_bytes: What it may unpack to; None is 20 times its size, at least 1 GiB.

    Raises:
        ManifestError: If it holds no splits with ids.
        ConfigError: If a split does not have the key.
        ImportRefused: If it holds anything but arrays and plain containers, or they do not fit.
    """

    kind = "mmsa"

    def __init__(
        self, path: Path, *, modality: str, key: str | None = None, max_bytes: int | None = None
    ) -> None:
        num_bytes = regular_file(path).st_size
        self._path = path
        content = read_pickle(path, ByteBudget(path, num_bytes, max_bytes))
        splits = _splits(content, path)
        self._key = key or _KEYS.get(modality, modality)
        self.notices: list[str] = []
        self._splits: list[_Split] = []
        self._place: dict[str, tuple[int, int]] = {}
        self.labels: Mapping[str, SampleRow] = {}
        rows: dict[str, SampleRow] = {}
        same = SameDim()
        for name, entries in splits.items():
            ids = [_joined(one, str(path)) for one in as_list(entries["id"], f"{path}, {name} id")]
            for i, one in enumerate(ids):
                if one in self._place:
                    raise ImportRefused(f"{path}: the id {one!a} is there twice.")
                self._place[one] = (len(self._splits), i)
            self._splits.append(self._split(name, entries, len(ids), same))
            rows |= self._rows(name, entries, ids)
        self.ids = check_ids(list(self._place), path)
        self.labels = rows
        self.dim: int = same.dim
        self.dtype: np.dtype[Any] = same.dtype
        self.sha256 = sha256_file(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Do nothing: the file closes with the last array that is read from it."""

    def sample(self, name: str) -> Rows:
        """Return a sample's rows, without padding where lengths are known; see `Source`."""
        number, i = self._place[name]
        split = self._splits[number]
        rows = split.rows.read(i, i + 1)
        if rows.ndim == 2:
            return Rows(rows, None)
        return Rows(trim(rows[0], None if split.lengths is None else split.lengths[i]), None)

    def sample_sha256(self, name: str) -> str | None:
        """Return None: a sample has no file of its own."""
        return None

    def _split(self, name: str, entries: dict[str, Any], count: int, same: SameDim) -> _Split:
        where = f"{self._path}, {name} {self._key}"
        if self._key not in entries:
            shown = ", ".join(sorted(entries))
            raise ConfigError(f"--key: {self._path}, {name} has no '{self._key}'; it has {shown}.")
        array = _as_array(entries[self._key], where)
        shape = array.shape
        if len(shape) not in (2, 3) or shape[0] != count or shape[-1] < 1:
            raise ImportRefused(
                f"{where}: has the shape {list(shape)} where there are {count} ids; it must be "
                "[ids, D] or [ids, T, D]."
            )
        same.add(where, shape[-1], array.dtype)
        lengths = entries.get(f"{self._key}_lengths")
        if len(shape) == 2:
            return _Split(array, None)
        if lengths is None:
            self.notices.append(
                f"{where}: no {self._key}_lengths are given, so all {shape[1]} rows are taken, "
                "padding included"
            )
            return _Split(array, None)
        numbers = as_list(lengths, f"{where}_lengths")
        if len(numbers) != count or not all(isinstance(n, (int, float)) for n in numbers):
            raise ImportRefused(f"{where}_lengths: is not a number for each of {count} ids.")
        if any(n != n or abs(n) > 2**53 or n != int(n) for n in numbers):
            raise ImportRefused(f"{where}_lengths: holds numbers that are not whole.")
        return _Split(array, [int(n) for n in numbers])

    def _rows(self, split: str, entries: dict[str, Any], ids: list[str]) -> Mapping[str, SampleRow]:
        labels: dict[str, list[Label]] = {}
        for name, value in entries.items():
            if "label" not in name and name != "annotations":
                continue
            values = _one_each(value, len(ids), f"{self._path}, {split} {name}")
            if values is None:
                self.notices.append(
                    f"{self._path}, {split}: {name} is not one value a sample and was left"
                )
            else:
                labels[name] = values
        return {
            one: SampleRow(
                one,
                split=_SPLITS.get(split, split),
                group=one.split(_CLIP)[0] if _CLIP in one else None,
                labels={name: values[i] for name, values in labels.items()},
            )
            for i, one in enumerate(ids)
        }


def _splits(content: Any, path: Path) -> dict[str, dict[str, Any]]:
    if not isinstance(content, dict):
        raise ManifestError(
            f"{path}: holds a {type(content).__name__}, not a dict of splits as MMSA writes it."
        )
    splits = {
        str(name): entries
        for name, entries in content.items()
        if isinstance(entries, dict) and "id" in entries
    }
    if not splits or not all(isinstance(key, str) for one in splits.values() for key in one):
        shown = ", ".join(ascii(name) for name in list(content)[:10]) or "nothing"
        raise ManifestError(
            f"{path}: no split in it has ids, as MMSA's have; it holds {shown}. Features by name "
            "go into one .npz instead."
        )
    return splits


def _as_array(value: Any, where: str) -> Array:
    if isinstance(value, PickledArray) and value.objects is None:
        return value.array
    if isinstance(value, list):  # short ones only: an array a sample would be thousands of these
        try:
            return MemoryArray(np.asarray(value, dtype=np.float64))
        except (ValueError, TypeError):
            pass
    raise ImportRefused(f"{where}: is not an array of numbers.")


def _joined(value: Any, where: str) -> str:
    """Return an id as text; MulT's pickles give it in parts, `[VIDEO, START, END]`."""
    if isinstance(value, PickledArray):
        value = as_list(value, where)
    if isinstance(value, (list, tuple)):
        return "_".join(_part(one, where) for one in value)
    return _part(value, where)


def _part(value: Any, where: str) -> str:
    return format(value, "g") if isinstance(value, float) else as_text(value, where)


def _one_each(value: Any, count: int, where: str) -> list[Label] | None:
    """Return one value a sample, None if there are more of them or they are none."""
    if isinstance(value, PickledArray) and value.objects is None:
        if value.array.shape[:1] != (count,) or int(np.prod(value.array.shape)) != count:
            return None
        values: list[Any] = read_all(value.array).reshape(-1).tolist()
    else:
        values = as_list(value, where)
    texts = [one.decode("utf-8", "replace") if isinstance(one, bytes) else one for one in values]
    if len(texts) != count or not all(
        one is None or isinstance(one, (str, int, float)) for one in texts
    ):
        return None
    return texts
