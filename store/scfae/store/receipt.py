"""A shard's receipt: written last, so a shard without one is not there."""

import re
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from .config import Frozen
from .container import SUFFIXES, Format
from .document import unseal, write_document
from .errors import CorruptShard

Status = Literal["ok", "partial", "missing", "failed"]
_SHARD_FILE: Final = re.compile(
    rf"shard-(\d{{5,}})(?:\.[0-9a-f]{{16}})?(?:{'|'.join(map(re.escape, SUFFIXES.values()))})"
)
_MAX_ROWS: Final = 2**31 - 1
STATUSES: Final[tuple[Status, ...]] = ("ok", "partial", "missing", "failed")


class Receipt(Frozen):
    """What is in one shard of one column, and what its bytes must be.

    Attributes:
        column: Name of the column.
        shard: Number of the shard.
        fingerprint: Of the column that wrote it.
        file: Name of the shard's file.
        bytes: Its size.
        sha256: Of its bytes.
        rows: Sum of `lengths`.
        lengths: Rows of each sample, T; 0 for missing and failed.
        status: Each sample's fate.
        reasons: Why, for the samples that are not ok, by their number in the shard.
        media: sha256 of each sample's media, None where it has none.
        ids_sha256: Digest of the sample ids in order.
    """

    column: str
    shard: int = Field(ge=0)
    fingerprint: str
    file: str
    bytes: int = Field(ge=0)
    sha256: str
    rows: int = Field(ge=0)
    lengths: list[int]
    status: list[Status]
    reasons: dict[str, str]
    media: list[str | None]
    ids_sha256: str

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if not len(self.lengths) == len(self.status) == len(self.media):
            raise ValueError("lengths, status and media differ in number")
        if sum(self.lengths) != self.rows:
            raise ValueError("lengths do not add up to rows")
        if max(self.lengths, default=0) > _MAX_ROWS or min(self.lengths, default=0) < 0:
            raise ValueError("a sample has more rows than 32 bits count, or less than none")
        return self


def shard_file(shard: int, form: Format = "zarr") -> str:
    """Return the name of a shard's file in a format.

    >>> shard_file(17)
    'shard-00017.zarr.zip'
    """
    return f"shard-{shard:05d}{SUFFIXES[form]}"


def shard_of_file(name: str) -> int | None:
    """Return the number of a shard by the name of its file, None if it is no such name.

    A file may have a part of its digest in its name, as those of remote stores do.

    >>> shard_of_file("shard-00017.zarr.zip"), shard_of_file("shard-00017.0123456789abcdef.tar")
    (17, 17)
    """
    match = _SHARD_FILE.fullmatch(name)
    number = int(match[1]) if match else None
    return number if match and f"{number:05d}" == match[1] else None


def receipt_file(shard: int) -> str:
    """Return the name of a shard's receipt.

    >>> receipt_file(17)
    'shard-00017.json'
    """
    return f"shard-{shard:05d}.json"


def write_receipt(folder: Path, receipt: Receipt) -> None:
    """Write a receipt into its column's folder; with it the shard is committed."""
    write_document(folder / receipt_file(receipt.shard), receipt.model_dump(mode="json"))


def is_committed(folder: Path, shard: int, sha256: str) -> bool:
    """Return whether a shard is still the one with this digest, by its receipt.

    A shard is replaced in this order: the receipt is removed, the file takes the other's place, the
    new receipt is written. So a file that was opened *before* this says yes is the receipt's own.
    The text is searched, not parsed: that costs a hundredth, and is done at every opening.
    """
    try:
        text = (folder / receipt_file(shard)).read_bytes()
    except FileNotFoundError:
        return False
    return b'"sha256": "%s"' % sha256.encode() in text


def read_receipt(folder: Path, shard: int) -> Receipt | None:
    """Return the receipt of a shard, None if the shard is not committed.

    Raises:
        CorruptShard: If the receipt is damaged, or is that of another column or shard.
    """
    try:
        data = (folder / receipt_file(shard)).read_bytes()
    except FileNotFoundError:
        return None
    return parse_receipt(data, folder, shard)


def parse_receipt(data: bytes, folder: Path, shard: int) -> Receipt:
    """Return the receipt that a file's bytes hold.

    Args:
        data: The bytes.
        folder: The column's folder, which has the column's name.
        shard: Whose receipt it must be.

    Raises:
        CorruptShard: If the receipt is damaged, or is that of another column or shard.
    """
    path = folder / receipt_file(shard)
    try:
        receipt = Receipt(**unseal(data, path))
    except CorruptShard as error:
        raise CorruptShard(f"column '{folder.name}', shard {shard}: {error}") from None
    except (ValidationError, TypeError) as error:
        why = str(error).splitlines()[0]
        raise CorruptShard(
            f"column '{folder.name}', shard {shard}: {path} is damaged ({why})."
        ) from None
    is_own = (receipt.column, receipt.shard) == (folder.name, shard)
    if not is_own or shard_of_file(receipt.file) != shard:
        raise CorruptShard(
            f"column '{folder.name}', shard {shard}: {path} is the receipt of shard "
            f"{receipt.shard} of column '{receipt.column}'."
        )
    return receipt
