"""`scfae-export.json`: what an export holds and what its bytes must be. Written last.

A folder without it is no finished export. Names of files come from outside when an export is
restored, so they are checked here: relative, plain parts, regular files, no links on the way.
"""

import json
import stat
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, Self, get_args

from pydantic import Field, ValidationError, model_validator

from ..atomic import sha256_file, size_of
from ..column import SAFE_NAME, ColumnInfo
from ..config import Frozen
from ..container import format_of
from ..document import read_document, write_document
from ..errors import CorruptShard, StoreError, StoreNotFound, StoreVersionError

EXPORT_FILE: Final = "scfae-export.json"
EXPORT_VERSION: Final = 1
SAMPLES_FILE: Final = "samples.parquet"
COLUMNS_FOLDER: Final = "columns"

Form = Literal["zarr", "zarr-zstd", "zarr-dir", "webdataset", "hdf5", "npz", "parquet"]
FORMS: Final[tuple[Form, ...]] = get_args(Form)
JOINED_FORMS: Final[tuple[Form, ...]] = ("webdataset", "parquet")


class ExportedFile(Frozen):
    """One file of an export; of `zarr-dir` the folder of a shard.

    Attributes:
        bytes: Its size.
        sha256: Of its bytes, see `sha256_file`.
    """

    bytes: int = Field(ge=0)
    sha256: str


class ExportedColumn(Frozen):
    """One column of an export.

    Attributes:
        key: What its rows are called inside joined files: the modality, or the column's name
            where two columns have one modality.
        info: The column's whole description, with provenance and fingerprint.
    """

    key: str
    info: ColumnInfo


class Manifest(Frozen):
    """What `scfae-export.json` says.

    Attributes:
        kind: Always `scfae-export`.
        version: Version of the layout of exports.
        created_with: The scfae that wrote it.
        form: File format of the features.
        joined: All columns are side by side in one file, or one file a shard.
        split: Only samples of this split were exported; None is all.
        plan: Digest of what was asked for: form, columns, samples.
        content: Digest of the plan and of every receipt that was read.
        num_samples: Samples in the table.
        num_shards: Shards in the table.
        shard_size: Samples a shard, for new shards.
        seed: Seed of the partition.
        columns: The columns in the order they were asked for.
        files: Every other file of the export by its path in it.
    """

    kind: Literal["scfae-export"] = "scfae-export"
    version: int = EXPORT_VERSION
    created_with: str = Field(default_factory=lambda: f"scfae {metadata.version('scfae')}")
    form: Form
    joined: bool = False
    split: str | None = None
    plan: str
    content: str
    num_samples: int = Field(ge=1)
    num_shards: int = Field(ge=1)
    shard_size: int = Field(ge=1, lt=2**31)
    seed: int = Field(ge=0)
    columns: list[ExportedColumn]
    files: dict[str, ExportedFile]

    @model_validator(mode="after")
    def _names_columns_once(self) -> Self:
        names = [column.info.name for column in self.columns]
        if len(set(names)) < len(names):
            raise ValueError("a column is there twice")
        return self

    def column(self, name: str) -> ExportedColumn | None:
        """Return a column by its name, None if the export does not hold it."""
        return next((one for one in self.columns if one.info.name == name), None)


def is_export(path: str | Path) -> bool:
    """Return whether a folder is a finished export."""
    return (Path(path) / EXPORT_FILE).is_file()


def write_manifest(root: Path, manifest: Manifest) -> None:
    """Write `scfae-export.json`, sealed with its own checksum; with it the export is finished."""
    write_document(root / EXPORT_FILE, manifest.model_dump(mode="json"))


def read_manifest(root: Path) -> Manifest:
    """Read `scfae-export.json`.

    Raises:
        StoreNotFound: If the folder is no finished export.
        StoreVersionError: If a newer scfae wrote it.
        CorruptShard: If it is damaged.
        StoreError: If it names a file that lies outside the export.
    """
    path = root / EXPORT_FILE
    try:
        version = _version(path.read_bytes())
        if version > EXPORT_VERSION:
            raise StoreVersionError(
                f"{path} has version {version}, but this scfae reads exports up to version "
                f"{EXPORT_VERSION}; upgrade scfae to restore it."
            )
        manifest = Manifest(**read_document(path))
    except (FileNotFoundError, NotADirectoryError):
        raise StoreNotFound(
            f"there is no finished export at {root}: it has no {EXPORT_FILE}. "
            f"`scfae store export STORE {root} --to FORM` makes or completes one."
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise CorruptShard(
            f"{path} is no manifest of an export: {where}: {first['msg']}."
        ) from None
    except (ValueError, TypeError, RecursionError) as error:
        raise CorruptShard(f"{path} is no manifest of an export ({error}).") from None
    for name in manifest.files:
        _check_name(root, name)
    return manifest


def check_files(root: Path, manifest: Manifest, names: Iterable[str]) -> None:
    """Read files of an export against their checksums.

    Args:
        root: The export's folder.
        manifest: What it must hold.
        names: The files to read, as the manifest names them.

    Raises:
        CorruptShard: If files are gone or their bytes differ; the message names them all.
        StoreError: If a file is a link, or lies behind one.
    """
    damage = []
    for name in names:
        wanted = manifest.files.get(name)
        path = root / name
        if wanted is None:
            damage.append(f"{name} is not listed in {EXPORT_FILE}")
            continue
        try:
            status = path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            damage.append(f"{name} is gone")
            continue
        if not _is_plain(path, status.st_mode) or _is_behind_link(root, name):
            raise StoreError(
                f"{path} is a link or no plain file; an export holds plain files only."
            )
        if size_of(path) != wanted.bytes:
            damage.append(f"{name} has {size_of(path)} bytes, not {wanted.bytes}")
        elif sha256_file(path) != wanted.sha256:
            damage.append(f"{name} differs from its checksum")
    if damage:
        raise CorruptShard(
            f"the export {root} is damaged: {'; '.join(damage)}. Copy or export it again."
        )


def file_of(files: Mapping[str, ExportedFile], name: str) -> ExportedFile:
    """Return what a file of an export must be.

    Raises:
        CorruptShard: If the manifest does not list it.
    """
    try:
        return files[name]
    except KeyError:
        raise CorruptShard(
            f"{name} is not listed in {EXPORT_FILE}: the export is damaged."
        ) from None


def _version(data: bytes) -> int:
    body: Any = json.loads(data)
    version = body.get("version") if isinstance(body, dict) else None
    return version if isinstance(version, int) else 0


def _check_name(root: Path, name: str) -> None:
    # SAFE_NAME admits no separator, no empty part, and nothing that begins with a dot.
    if not all(SAFE_NAME.fullmatch(part) for part in name.split("/")):
        raise StoreError(
            f"{root / EXPORT_FILE} names the file {name!r}, which is no plain path inside the "
            "export; nothing was read or written. Do not trust where it comes from."
        )


def _is_plain(path: Path, mode: int) -> bool:
    """Return whether it is a file, or a shard's folder that holds files and folders only."""
    if format_of(path.name) != "zarr-dir":
        return stat.S_ISREG(mode)
    parts = [one.lstat().st_mode for one in path.rglob("*")]
    return stat.S_ISDIR(mode) and all(stat.S_ISREG(one) or stat.S_ISDIR(one) for one in parts)


def _is_behind_link(root: Path, name: str) -> bool:
    folders = [root / parent for parent in PurePosixPath(name).parents if parent.name]
    return any(folder.is_symlink() for folder in folders)
