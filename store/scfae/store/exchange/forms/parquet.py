"""parquet: one file a column, or one file with all columns, which Hugging Face datasets opens.

A row is a sample, a row group is a shard: `id`, `split`, `group`, `label.NAME`, and for each column
`KEY` (list of rows, each of D floats), `KEY.times` (list of [start, end] in seconds), `KEY.status`
and `KEY.reason`. Numbers are stored plain, float16 as float16. A README.md names the files, so that
`load_dataset(OUT, COLUMN)` finds them; their split is the one that was exported, or `samples`.

Shapes: n samples of a shard, R rows of all of them, D features.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from ...atomic import atomic_file, write_atomic
from ...config import digest
from ...errors import ConfigError
from ...samples import SampleTable
from ..fates import ShardFates
from ..manifest import COLUMNS_FOLDER, ExportedColumn, Manifest
from ..pieces import Piece
from ..source import ColumnSource, ShardRows, Source

if TYPE_CHECKING:
    import pyarrow as pa

JOINED_FILE: Final = "joined.parquet"
README_FILE: Final = "README.md"
_LEAF = ".list.element.list.element"
_SAMPLE_FIELDS = ("id", "split", "group")


class Parquet:
    """A file a column, or a joined one; see the module.

    Args:
        is_joined: All columns in one file.
    """

    def __init__(self, *, is_joined: bool = False) -> None:
        self._is_joined = is_joined

    def pieces(self, source: Source) -> Iterator[Piece]:
        """Yield the files, and the README.md that names them."""
        parts = [source.columns] if self._is_joined else [[one] for one in source.columns]
        files = {}
        for columns in parts:
            name = self._file(columns[0].info.name)
            files["joined" if self._is_joined else columns[0].info.name] = name
            mark = source.mark(columns, range(source.num_shards))
            yield Piece(name, mark, _writer(source, columns))
        text = _readme(files, source.split)
        yield Piece(README_FILE, digest(text), lambda path: write_atomic(path, text.encode()))

    def files(self, manifest: Manifest, column: ExportedColumn) -> list[str]:
        """Return the file of a column."""
        return [self._file(column.info.name)]

    @contextmanager
    def open(
        self, root: Path, manifest: Manifest, column: ExportedColumn, *, samples: SampleTable
    ) -> Iterator["ParquetReader"]:
        """Open a column; see `ExportForm.open`."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(root / self._file(column.info.name), pre_buffer=False) as file:
            yield ParquetReader(file, column)

    def _file(self, column: str) -> str:
        return JOINED_FILE if self._is_joined else f"{COLUMNS_FOLDER}/{column}.parquet"


class ParquetReader:
    """Reads the rows of one column, a row group a shard.

    Args:
        file: An open `pyarrow.parquet.ParquetFile`.
        column: What it holds.
    """

    def __init__(self, file: Any, column: ExportedColumn) -> None:
        self._file = file
        self._key = column.key
        self._dim = column.info.dim
        self._dtype = np.dtype(column.info.dtype)

    def read(self, fates: ShardFates) -> ShardRows:
        """Return the rows of a shard."""
        wanted = {
            self._key: (_list_type(self._dtype, self._dim), self._dim),
            f"{self._key}.times": (_list_type(np.dtype(np.float64), 2), 2),
        }
        leaves = [name + _LEAF for name in wanted]
        table = self._file.read_row_group(fates.shard, columns=leaves, use_threads=False)
        arrays = []
        for name, (kind, width) in wanted.items():
            if table.schema.field(name).type != kind:
                raise ValueError(f"{name} is {table.schema.field(name).type}, not {kind}")
            lists = table[name].combine_chunks()
            if not np.array_equal(np.diff(lists.offsets.to_numpy()), fates.lengths):
                raise ValueError(f"{name} of shard {fates.shard} has other lengths than its fates")
            flat = lists.flatten().flatten()
            if lists.null_count or flat.null_count:
                raise ValueError(f"{name} of shard {fates.shard} has nulls")
            arrays.append(flat.to_numpy(zero_copy_only=True).reshape(-1, width))
        offsets = np.concatenate([[0], np.cumsum(fates.lengths)]).astype(np.int64)
        return ShardRows(arrays[0], offsets, arrays[1])


def _writer(source: Source, columns: Sequence[ColumnSource]) -> Callable[[Path], None]:
    schema = _schema(source.samples, columns)

    def write(path: Path) -> None:
        import pyarrow.parquet as pq

        leaves = [name + _LEAF for one in columns for name in (one.key, f"{one.key}.times")]
        texts = [name for name in schema.names if name + _LEAF not in leaves]
        options: dict[str, Any] = {
            "compression": {**dict.fromkeys(texts, "zstd"), **dict.fromkeys(leaves, "none")},
            "use_dictionary": texts,
            "write_statistics": texts,
        }
        with (
            atomic_file(path) as file,
            pq.ParquetWriter(file, schema, **options) as writer,
        ):
            for shard in source.shards():
                table = _table(source, columns, shard, schema)
                writer.write_table(table, row_group_size=len(table))

    return write


def _schema(samples: SampleTable, columns: Sequence[ColumnSource]) -> "pa.Schema":
    import pyarrow as pa

    kinds = {"int": pa.int64(), "float": pa.float64(), "str": pa.string()}
    fields: list[tuple[str, Any]] = [(name, pa.string()) for name in _SAMPLE_FIELDS]
    fields += [(f"label.{name}", kinds[samples.label_kind(name)]) for name in samples.label_names]
    for one in columns:
        fields += [
            (one.key, _list_type(np.dtype(one.info.dtype), one.info.dim)),
            (f"{one.key}.times", _list_type(np.dtype(np.float64), 2)),
            (f"{one.key}.status", pa.string()),
            (f"{one.key}.reason", pa.string()),
        ]
    names = [name for name, _ in fields]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"columns: two columns of the parquet file would be called '{name}'; export "
                "without the column of that name."
            )
    return pa.schema(fields)


def _list_type(dtype: np.dtype[Any], width: int) -> Any:
    import pyarrow as pa

    return pa.list_(pa.list_(pa.from_numpy_dtype(dtype), width))


def _table(
    source: Source, columns: Sequence[ColumnSource], shard: int, schema: "pa.Schema"
) -> "pa.Table":
    import pyarrow as pa

    samples, here = source.samples, source.samples.rows_of(shard)
    part = slice(here.start, here.stop)
    arrays: list[Any] = [samples.ids[part].tolist(), samples.split[part], samples.group[part]]
    arrays += [values[part] for values in source.labels.values()]
    for one in columns:
        rows = source.rows(one, shard)
        status, reasons = source.told(one, shard)
        arrays += [_lists(rows.data, rows.offsets), _lists(rows.times, rows.offsets)]
        arrays += [status, reasons]
    made = [
        array if isinstance(array, pa.Array) else pa.array(array, field.type)
        for array, field in zip(arrays, schema, strict=True)
    ]
    return pa.Table.from_arrays(made, schema=schema)


def _lists(rows: npt.NDArray[Any], offsets: npt.NDArray[np.int64]) -> Any:
    import pyarrow as pa

    flat: Any = pa.array(rows.reshape(-1))
    starts: Any = pa.array(offsets, pa.int32())
    return pa.ListArray.from_arrays(starts, pa.FixedSizeListArray.from_arrays(flat, rows.shape[1]))


def _readme(files: dict[str, str], split: str | None) -> str:
    """Return a dataset card: Hugging Face datasets reads the names of files from its head."""
    is_known = split is not None and split != "all" and re.fullmatch(r"\w+(\.\w+)*", split)
    lines = ["---", "configs:"]
    for name, file in files.items():
        lines += [
            f"- config_name: {json.dumps(name)}",
            "  data_files:",
            f"  - split: {json.dumps(split if is_known else 'samples')}",
            f"    path: {json.dumps(file)}",
        ]
    lines += [
        "---",
        "",
        "Encoder features exported by `scfae store export`. A row is a sample; `scfae-export.json`",
        "says which encoder, weights and recipe each column comes from.",
        "",
    ]
    return "\n".join(lines)
