"""What a column is: the encoder, its weights and its recipe, and the fingerprint of all three."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationError, field_validator

from .atomic import write_atomic
from .config import Frozen, digest
from .container import Format
from .document import read_document, seal
from .errors import ConfigError, CorruptShard
from .migration import forward_column

COLUMN_FILE: Final = "column.json"
BASIS_FILE: Final = "basis.npy"
"""What a column was projected by, where it was; see `derivation.basis`."""
SAFE_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=+-]{0,199}")
DType = Literal["float32", "float16"]

_UNSAFE = re.compile(r"[^A-Za-z0-9._=+-]+")
_OPTIONS = re.compile(r"[^=,:/@]+=[^,]*(,[^=,:/@]+=[^,]*)*")


class ColumnInfo(Frozen):
    """Where the rows of a column come from and what they look like.

    Attributes:
        name: Name of the column and of its folder.
        modality: What it says, e.g. `video`, `audio`, `image`.
        encoder: The encoder's canonical string.
        weights: Where the weights came from, as the user gave it, or `published`.
        weights_sha256: Digest of the weights file, None where there is none.
        is_random: The weights are noise; every report must say so.
        recipe: How media becomes the encoder's input.
        options: Options of the encoder.
        layer: Which layer speaks, None for the official output.
        dim: Features a row, D.
        dtype: How rows are stored.
        format: File format of the shards; no part of the fingerprint.
        rows_per_second: Rows a second of media, None where it has no meaning.
        licence: Licence of the weights.
        versions: Library versions that change numbers.
        compute: Device, batch size, threads; recorded, not part of the fingerprint.
        fingerprint: Digest of all that decides the rows; see `create`.
    """

    name: str
    modality: str
    encoder: str
    weights: str = "published"
    weights_sha256: str | None = None
    is_random: bool = False
    recipe: dict[str, Any] = Field(default_factory=dict)
    options: dict[str, Any] = Field(default_factory=dict)
    layer: str | None = None
    dim: int = Field(ge=1)
    dtype: DType = "float32"
    format: Format = "zarr"
    rows_per_second: float | None = None
    licence: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    compute: dict[str, Any] = Field(default_factory=dict)
    fingerprint: str

    @field_validator("name")
    @classmethod
    def _is_safe(cls, name: str) -> str:
        if not SAFE_NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no column name: letters, digits and . _ = + - only")
        return name

    @classmethod
    def create(cls, name: str, modality: str, *, encoder: str, dim: int, **fields: Any) -> Self:
        """Return the description of a column with its fingerprint.

        The fingerprint is the digest of encoder, weights, recipe, options, layer, dim, dtype and
        versions: what decides the rows. Weights count by their sha256; without one, by the source
        string, so that `random:0` and `random:1` differ.

        Args:
            name: Name of the column; see `column_name`.
            modality: What it says.
            encoder: The encoder's canonical string.
            dim: Features a row, D.
            **fields: The other attributes, except the fingerprint.

        Raises:
            ConfigError: If a field is unknown, missing or of the wrong type.
        """
        try:
            info = cls(
                name=name, modality=modality, encoder=encoder, dim=dim, fingerprint="", **fields
            )
        except ValidationError as error:
            raise ConfigError(f"column {name!r}: {_first(error)}") from None
        return info.model_copy(update={"fingerprint": digest(info.identity())})

    def identity(self) -> dict[str, Any]:
        """Return what the fingerprint is made of, as JSON values."""
        body = self.model_dump(mode="json")
        keys = ("encoder", "recipe", "options", "layer", "dim", "dtype", "versions")
        return {key: body[key] for key in keys} | {"weights": self.weights_sha256 or self.weights}

    def differences(self, other: "ColumnInfo") -> list[str]:
        """Return what differs between two columns' rows, as `key: mine, not other's`."""
        mine: Mapping[str, Any] = self.identity()
        others = other.identity()
        return [
            f"{key}: {mine[key]}, not {others[key]}" for key in mine if mine[key] != others[key]
        ]


def column_name(encoder: str) -> str:
    """Return the column's name of an encoder string `NAME[@WEIGHTS][:option=value,...]`.

    Options are sorted and weights are left out: they are part of the fingerprint, and two columns
    of one encoder with different weights need a name from the user.

    >>> column_name("wavlm-base-plus@/x.pt:layer=9,fps=2")
    'wavlm-base-plus.fps=2.layer=9'
    """
    head, _, tail = encoder.rpartition(":")
    if not head or not _OPTIONS.fullmatch(tail):
        head, tail = encoder, ""
    name = head.partition("@")[0]
    parts = [name, *sorted(tail.split(","))] if tail else [name]
    return _UNSAFE.sub("-", ".".join(part.strip() for part in parts)).lstrip(".-") or "column"


def column_document(info: ColumnInfo) -> bytes:
    """Return the bytes of a column's `column.json`."""
    body = info.model_dump(mode="json")
    if info.format == "zarr":
        del body["format"]  # so readers from before the other formats open it too
    return seal(body)


def write_column(folder: Path, info: ColumnInfo) -> None:
    """Write `column.json` into a column's folder, atomically."""
    write_atomic(folder / COLUMN_FILE, column_document(info))


def read_column(folder: Path) -> ColumnInfo:
    """Return the description in a column's folder.

    Raises:
        FileNotFoundError: If there is none.
        CorruptShard: If `column.json` is damaged.
        StoreVersionError: If it was written by a newer version.
    """
    path = folder / COLUMN_FILE
    try:
        return ColumnInfo(**forward_column(read_document(path), path))
    except ValidationError as error:
        raise CorruptShard(f"{path} is damaged: {_first(error)}.") from None


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    said = first["msg"].removeprefix("Value error, ")  # our own validators', as pydantic tells it
    return f"{'.'.join(map(str, first['loc']))}: {said}"
