"""Splits, groups and labels from a table beside the features: CSV, JSON lines or Parquet.

GCNet's label pickles are read too, by the restricted unpickler.
"""

import csv
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from ..errors import ImportRefused, ManifestError
from ..sample_row import MEDIA_KINDS, SampleRow, typed_labels
from .arrays import as_text
from .limits import ByteBudget, check_id, regular_file
from .pickled import as_list
from .pickles import read_pickle
from .source import PICKLE_SUFFIXES

_RESERVED: Final = ("id", "split", "group", *MEDIA_KINDS)
_MAX_FIELD_CHARS: Final = 1 << 20
_MAX_LINE_CHARS: Final = 1 << 22


def read_labels(path: Path, *, max_bytes: int | None = None) -> dict[str, SampleRow]:
    """Return the samples of a table of labels, by id.

    Columns: `id`, optional `split` and `group`, references to media as in a manifest, and labels
    of any name.

    Args:
        path: `.csv`, `.jsonl`, `.parquet`, or a label pickle of GCNet's.
        max_bytes: What it may unpack to; None is 20 times its size, at least 1 GiB.

    Raises:
        ManifestError: If it cannot be used; the message names the file, the row and what to do.
        ImportRefused: If it is hostile.
    """
    if not path.exists():
        raise ManifestError(f"{path}: no such file; --labels takes .csv, .jsonl or .parquet.")
    path = path.resolve()
    budget = ByteBudget(path, regular_file(path).st_size, max_bytes)
    suffix = path.suffix.lower()
    if suffix in PICKLE_SUFFIXES:
        return _gcnet(read_pickle(path, budget), path)
    readers = {".csv": _csv_rows, ".jsonl": _json_rows, ".parquet": _parquet_rows}
    if suffix not in readers:
        raise ManifestError(f"{path}: --labels takes .csv, .jsonl or .parquet.")
    try:
        rows = list(readers[suffix](path, budget))
    except (ManifestError, ImportRefused):
        raise
    except Exception as error:  # csv, json and Arrow report damage as a dozen kinds
        raise ManifestError(f"{path}: cannot be read ({str(error)[:200]}).") from None
    return _samples(path, rows)


def _csv_rows(path: Path, budget: ByteBudget) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (row number as an editor counts it, row)."""
    csv.field_size_limit(_MAX_FIELD_CHARS)
    reader = csv.DictReader(_lines(path), strict=True)
    names = reader.fieldnames or []
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ManifestError(f"{path}: the column {repeated[0]!a} is there twice.")
    for row in reader:
        if None in row or None in row.values():
            raise ManifestError(
                f"{path}, line {reader.line_num}: has another number of fields than the header, "
                f"which has {len(names)}; quote fields that hold commas."
            )
        yield reader.line_num, row


def _json_rows(path: Path, budget: ByteBudget) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            raise ManifestError(f"{path}, line {number}: not JSON.") from None
        if not isinstance(row, dict):
            raise ManifestError(f"{path}, line {number}: must be a JSON object.")
        yield number, row


def _parquet_rows(path: Path, budget: ByteBudget) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path, pre_buffer=False)
    facts = file.metadata
    unpacked = sum(facts.row_group(i).total_byte_size for i in range(facts.num_row_groups))
    # A dictionary lets a value be repeated in a few bits; a cell costs its pointer at least.
    budget.spend(unpacked + 8 * facts.num_rows * facts.num_columns, "the table")
    number = itertools.count(1)
    for batch in file.iter_batches(batch_size=4096, use_threads=False):
        for row in batch.to_pylist():
            yield next(number), row


def _lines(path: Path) -> Iterator[str]:
    """Yield lines, never one that does not end.

    Raises:
        ManifestError: If one is too long.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        for number in itertools.count(1):
            line = file.readline(_MAX_LINE_CHARS)
            if not line:
                return
            if len(line) == _MAX_LINE_CHARS:
                raise ManifestError(
                    f"{path}, line {number}: has more than {_MAX_LINE_CHARS} characters; labels "
                    "are short."
                )
            yield line


def _samples(path: Path, rows: list[tuple[int, dict[str, Any]]]) -> dict[str, SampleRow]:
    if not rows:
        raise ManifestError(f"{path}: has no rows.")
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    if "id" not in names:
        other = next((c for c in ";\t|" if len(names) == 1 and c in names[0]), None)
        if other is not None:
            raise ManifestError(f"{path}: its fields are separated by {other!a}; use commas.")
        shown = ", ".join(ascii(name) for name in names[:10])
        raise ManifestError(f"{path}: has no column 'id'; its columns: {shown}.")
    labels = {
        name: typed_labels(
            [row.get(name) for _, row in rows], partial(_text, where=f"{path}, column {name!a}")
        )
        for name in names
        if name not in _RESERVED
    }
    samples: dict[str, SampleRow] = {}
    seen: dict[str, int] = {}
    for i, (number, row) in enumerate(rows):
        where = f"{path}, line {number}"
        name = _text(row.get("id"), where)
        if name is None:
            raise ManifestError(f"{where}: the id is empty; every sample needs one.")
        if name in seen:
            raise ManifestError(
                f"{where}: the id {name!a} is that of line {seen[name]} too; ids must differ."
            )
        seen[name] = number
        media = {kind: text for kind in MEDIA_KINDS if (text := _text(row.get(kind), where))}
        samples[check_id(name, where)] = SampleRow(
            name,
            media=media,
            split=_text(row.get("split"), where),
            group=_text(row.get("group"), where),
            labels={label: values[i] for label, values in labels.items()},
        )
    return samples


def _text(value: Any, where: str) -> str | None:
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is not None and not isinstance(value, (str, int, float)):
        raise ManifestError(f"{where}: a {type(value).__name__} where there should be text.")
    text = "" if value is None else str(value).strip()
    if len(text) > _MAX_FIELD_CHARS:
        raise ManifestError(f"{where}: a field has {len(text)} characters; labels are short.")
    return text or None


def _gcnet(content: Any, path: Path) -> dict[str, SampleRow]:
    """Return utterances with their label, dialogue (the group) and split.

    GCNet's list is (ids, labels, speakers, sentences) of each video, then the videos of train,
    validation and test; IEMOCAP's has no validation.
    """
    names = {7: ("train", "val", "test"), 6: ("train", "test")}
    if not isinstance(content, (list, tuple)) or len(content) not in names:
        raise ManifestError(f"{path}: is not a label pickle of GCNet's, which lists 6 or 7 things.")
    ids, labels, splits = content[0], content[1], content[4:]
    if not isinstance(ids, Mapping) or not isinstance(labels, Mapping):
        raise ManifestError(f"{path}: does not give ids and labels by video, as GCNet's do.")
    where = str(path)
    split_of: dict[str, str] = {}
    for split, videos in zip(names[len(content)], splits, strict=True):
        split_of |= {as_text(video, where): split for video in as_list(videos, f"{path}, {split}")}
    samples: dict[str, SampleRow] = {}
    for key, utterances in ids.items():
        video = as_text(key, where)
        known = as_list(utterances, f"{path}, utterances of {video!a}")
        values = as_list(labels.get(key, []), f"{path}, labels of {video!a}")
        if len(values) != len(known):
            raise ManifestError(
                f"{path}: the video {video!a} has {len(values)} labels for {len(known)} utterances."
            )
        for utterance, value in zip(known, values, strict=True):
            name = check_id(as_text(utterance, where), path)
            if name in samples:
                raise ManifestError(f"{path}: the id {name!a} is there twice.")
            if not isinstance(value, (str, int, float)):
                raise ManifestError(f"{path}: the label of {name!a} is no number or text.")
            samples[name] = SampleRow(
                name, split=split_of.get(video), group=video, labels={"label": value}
            )
    return samples
