"""`store.json` and the sample table that it names: reading both as one.

`store.json` is the commit of a change of the samples; see `store.py` for the three steps of one.
"""

import hashlib
import json
import time
from importlib import metadata
from pathlib import Path
from typing import Final, Self

from pydantic import ValidationError

from .config import Frozen
from .document import unseal
from .errors import CorruptShard, StoreNotFound, StoreVersionError
from .migration import FORMAT_VERSION, forward_store
from .samples import SampleTable

STORE_FILE: Final = "store.json"
SAMPLES_FILE: Final = "samples.parquet"
NEXT_SAMPLES_FILE: Final = "samples.next.parquet"
COLUMNS_FOLDER: Final = "columns"
CLAIMS_FOLDER: Final = "claims"  # who works on which shard; see scfae.extract.leases
_READ_ATTEMPTS = 20
_READ_PAUSE_S = 0.05


class Header(Frozen):
    """What `store.json` says."""

    format_version: int
    created_with: str
    num_samples: int
    num_shards: int
    shard_size: int
    seed: int
    samples_sha256: str

    @classmethod
    def new(cls, samples: SampleTable, data: bytes) -> Self:
        """Return the header of a new store.

        Args:
            samples: Its samples.
            data: The bytes of the sample table.
        """
        return cls(
            format_version=FORMAT_VERSION,
            created_with=f"scfae {metadata.version('scfae')}",
            num_samples=len(samples),
            num_shards=samples.num_shards,
            shard_size=samples.shard_size,
            seed=samples.seed,
            samples_sha256=hashlib.sha256(data).hexdigest(),
        )

    def replaced(self, samples: SampleTable, data: bytes) -> Self:
        """Return the header of the same store with another sample table."""
        update = {
            "num_samples": len(samples),
            "num_shards": samples.num_shards,
            "samples_sha256": hashlib.sha256(data).hexdigest(),
        }
        return self.model_copy(update=update)


def read_store(path: Path) -> tuple[Header, SampleTable]:
    """Read `store.json` and the sample table that it names.

    Raises:
        StoreNotFound: If there is no store.
        StoreVersionError: If it was written by a newer version.
        CorruptShard: If `store.json` or `samples.parquet` is damaged.
    """
    for _ in range(_READ_ATTEMPTS):
        header = read_header(path)
        data = samples_bytes(path, header)
        if data is not None:
            samples = SampleTable.from_bytes(data, shard_size=header.shard_size, seed=header.seed)
            return header, samples
        if read_header(path) == header:
            break
        time.sleep(_READ_PAUSE_S)  # a writer was between two steps: read again
    raise CorruptShard(
        f"{path / SAMPLES_FILE} is damaged: it is not the table that {STORE_FILE} names. "
        "Restore it from a backup, or extract into a new store."
    )


def read_header(path: Path) -> Header:
    """Read `store.json`; raises as `read_store`."""
    file = path / STORE_FILE
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        what = "is a folder without store.json" if path.is_dir() else "does not exist"
        raise StoreNotFound(
            f"there is no feature store at {path}: it {what}. "
            f"`scfae extract MEDIA {path} -e ENCODER` makes one."
        ) from None
    except NotADirectoryError:
        raise StoreNotFound(f"there is no feature store at {path}: it is a file.") from None
    # The version comes before the checksum: a newer version may seal its files differently.
    version = _version(data)
    if version > FORMAT_VERSION:
        raise StoreVersionError(
            f"{path} has format version {version}, but this scfae reads versions up to "
            f"{FORMAT_VERSION}; upgrade scfae to open it."
        )
    try:
        return Header(**forward_store(unseal(data, file), file))
    except ValidationError as error:
        raise CorruptShard(f"{file} is damaged: {error.error_count()} fields are wrong.") from None


def _version(data: bytes) -> int:
    try:
        body = json.loads(data)
    except ValueError:
        return 0  # the checksum will tell
    version = body.get("format_version") if isinstance(body, dict) else None
    return version if isinstance(version, int) else 0


def samples_bytes(path: Path, header: Header) -> bytes | None:
    """Return the bytes of the table that the header names; None if there is none."""
    # The next one first: if it is renamed before it is looked for, it is found by its new name.
    for name in (NEXT_SAMPLES_FILE, SAMPLES_FILE):
        try:
            data = (path / name).read_bytes()
        except FileNotFoundError:
            continue
        if hashlib.sha256(data).hexdigest() == header.samples_sha256:
            return data
    return None
