"""One committed shard of one column, read by positioned reads whatever its format.

Shapes: n samples of the shard, T rows of one, D features.
"""

from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from .atomic import sha256_file
from .container import Layout, container, format_of
from .errors import CorruptShard
from .files import FilePool, OpenFile, WrongBytes
from .lazy import lazy_property
from .receipt import is_committed


class ShardFacts(Protocol):
    """What a reader of a shard must know of it: a receipt, or a line of a column's index."""

    @property
    def column(self) -> str:
        """Name of the column."""

    @property
    def shard(self) -> int:
        """Number of the shard."""

    @property
    def file(self) -> str:
        """Name of the shard's file."""

    @property
    def bytes(self) -> int:
        """Its size."""

    @property
    def sha256(self) -> str:
        """Digest of its bytes."""

    @property
    def lengths(self) -> npt.ArrayLike:
        """Rows of each sample, T, `[n]`."""


class ShardLine(NamedTuple):
    """A line of a column's index, see `ShardFacts`."""

    column: str
    shard: int
    file: str
    bytes: int
    sha256: str
    lengths: npt.NDArray[np.integer[Any]]


_TIMES_BYTES = 2 * np.dtype(np.float64).itemsize


class ShardReader:
    """Reads a committed shard.

    Nothing is opened before the first read, so a reader may cross a fork; `pread` has no shared
    position, so several threads may use one reader.

    Args:
        path: The shard's file.
        receipt: Its receipt, or what the index says; the file's size is compared with it before
            anything is read.
        pool: Keeps files open; one of its own if not given.
        is_shared: Writers may replace the shard meanwhile: a file is read only if, after it was
            opened, the receipt was still beside it.
    """

    def __init__(
        self,
        path: Path | str,
        receipt: ShardFacts,
        *,
        pool: FilePool | None = None,
        is_shared: bool = False,
    ) -> None:
        self._name = str(path)  # hashed in each read, which a Path does anew
        self._receipt = receipt
        self._is_shared = is_shared
        self._pool = FilePool(capacity=1) if pool is None else pool

    @property
    def path(self) -> Path:
        """The shard's file."""
        return Path(self._name)

    @property
    def dim(self) -> int:
        """Features a row, D."""
        return self.layout.dim

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored rows."""
        return self.layout.dtype

    def rows(self, number: int) -> npt.NDArray[Any]:
        """Return the rows `[T, D]` of the shard's sample `number`, as stored.

        Raises:
            CorruptShard: If the file is not what its receipt says.
        """
        layout = self.layout
        out = np.empty((int(layout.lengths[number]), layout.dim), dtype=layout.dtype)
        return self._fill(out, int(layout.rows_at[number]), "data")

    def read_rows(self, number: int, out: npt.NDArray[Any], *, first: int = 0) -> None:
        """Read rows of the shard's sample `number` into a part of a batch, without a copy.

        Args:
            number: Which sample.
            out: C-contiguous `[T', D]` in the stored dtype; rows `first` to `first + T'` fill it.
            first: The first row.

        Raises:
            CorruptShard: If the file is not what its receipt says.
            ValueError: If `out` does not fit the sample.
        """
        layout = self.layout
        last = first + len(out)
        if out.dtype != layout.dtype or out.shape[1:] != (layout.dim,):
            raise ValueError(f"out is {out.dtype} {list(out.shape)}, rows are [T, {layout.dim}]")
        if not (out.flags.c_contiguous and 0 <= first <= last <= layout.lengths[number]):
            raise ValueError(f"rows {first} to {last} of {layout.lengths[number]}")
        row_bytes = layout.dim * layout.dtype.itemsize
        self._fill(out, int(layout.rows_at[number]) + first * row_bytes, "data")

    def times(self, number: int) -> npt.NDArray[np.float64]:
        """Return the times `[T, 2]` in seconds of the shard's sample `number`."""
        layout = self.layout
        out = np.empty((int(layout.lengths[number]), 2), dtype="<f8")
        return self._fill(out, int(layout.times_at[number]), "times")

    def verify(self) -> None:
        """Read the whole file.

        Raises:
            CorruptShard: If a byte differs from what the receipt says.
        """
        self.open()
        if sha256_file(self.path) != self._receipt.sha256:
            raise self.corrupt("differs from the sha256 of its receipt")
        _ = self.layout  # the receipt and the file may both be whole and not belong together

    @lazy_property
    def layout(self) -> Layout:
        """Where the samples lie in the file; kept."""
        return self.locate()

    def locate(self) -> Layout:
        """Return where the samples lie in the file; not kept, but taken from `layout` if that is.

        Raises:
            CorruptShard: If the file is not what its receipt says.
        """
        kept: Layout | None = self.__dict__.get("layout")
        if kept is not None:
            return kept
        file = self.open()
        form = format_of(self._receipt.file)
        if form is None:
            raise self.corrupt("is of no known format")
        try:
            layout = container(form).locate(file)
        except Exception as error:  # altered bytes make parsers raise a dozen kinds
            raise self.corrupt(f"is not a readable shard ({error})") from None
        if layout.dtype.name not in ("float32", "float16") or layout.dim < 1:
            raise self.corrupt(f"holds {layout.dtype} [R, {layout.dim}]")
        lengths = np.asarray(self._receipt.lengths)
        if len(layout.lengths) != len(lengths):
            raise self.corrupt("holds another number of samples than its receipt")
        if not np.array_equal(layout.lengths, lengths):
            raise self.corrupt("has other lengths than its receipt")
        sizes = {"rows": layout.dim * layout.dtype.itemsize, "times": _TIMES_BYTES}
        for what, at in (("rows", layout.rows_at), ("times", layout.times_at)):
            is_outside = (at < 0) | (at > file.end - layout.lengths * sizes[what])
            if (is_outside & (layout.lengths > 0)).any():
                raise self.corrupt(f"has {what} outside of it")
        return layout

    def _fill(self, out: npt.NDArray[Any], position: int, what: str) -> npt.NDArray[Any]:
        if out.size and not self.open().read_into(out, position):
            raise self.corrupt(f"ends inside {what}")
        return out

    def open(self) -> OpenFile:
        """Return the file, open and of the right size.

        Raises:
            CorruptShard: If it is gone or of another size.
        """
        try:
            file = self._pool.get(self._name, self._receipt.sha256)
        except FileNotFoundError:
            raise self.corrupt("is gone") from None
        except WrongBytes:
            raise self.corrupt("differs from the sha256 of its receipt") from None
        if self._is_shared and not file.is_checked:
            # By its name alone it may be the shard that has just taken this one's place.
            if not is_committed(self.path.parent, self._receipt.shard, self._receipt.sha256):
                self._pool.forget(self._name, self._receipt.sha256)
                raise self._replaced()
            file.is_checked = True
        if file.num_bytes != self._receipt.bytes:
            self._pool.forget(self._name, self._receipt.sha256)
            raise self.corrupt(
                f"has {file.num_bytes} bytes where its receipt says {self._receipt.bytes}"
            )
        return file

    def _replaced(self) -> CorruptShard:
        return CorruptShard(
            f"column '{self._receipt.column}', shard {self._receipt.shard}: {self.path} has been "
            "replaced since it was first looked at. Open the store again."
        )

    def corrupt(self, what: str) -> CorruptShard:
        """Return the error that names this shard and says what is wrong with it."""
        return CorruptShard(
            f"column '{self._receipt.column}', shard {self._receipt.shard}: {self.path} {what}. "
            "Run `scfae store verify --repair` and extract again."
        )
