"""Objects under one URL: get, put, create-if-absent. Everything a remote store needs of a server.

S3, Google Cloud, Azure, HTTP and `memory://` go through obstore (Rust, no event loop of Python's,
safe beside threads), every other scheme through fsspec. Creation that fails where the object is
there already is what lets two writers meet; whether a server really enforces it is tried once, at
the first write, since some accept the header and overwrite all the same.
"""

import os
import secrets
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

PARALLEL_REQUESTS: Final = 32
PROBE: Final = ".probe-"
BLOCK_BYTES: Final = 8 << 20
"""Of a download at a time."""
_OBSTORE_SCHEMES = ("s3", "s3a", "gs", "az", "adl", "abfs", "abfss", "http", "https")


Version = Mapping[str, str]
"""What a server calls one state of an object: its `e_tag` and `version`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing.

    Attributes:
        key: Of the object.
        bytes: Its size.
        written_s: When it was written, in seconds of the server's clock.
    """

    key: str
    bytes: int
    written_s: float


class Objects(Protocol):
    """Objects by key below one URL; keys are relative, with `/`.

    Attributes:
        url: Where they are, without a slash at the end.
    """

    url: str

    def get(self, key: str) -> bytes:
        """Return an object; raises FileNotFoundError if there is none."""

    def download(self, key: str, path: Path) -> str:
        """Write an object to a file and return the sha256 of what arrived.

        A kill leaves no part of it under the name, a power cut may: no disk is waited for.

        Raises:
            FileNotFoundError: If there is no such object.
        """

    def put(self, key: str, data: bytes | Path) -> None:
        """Write an object, over one that is there."""

    def create(self, key: str, data: bytes | Path) -> bool:
        """Write an object unless one is there; return whether it was written."""

    def get_versioned(self, key: str) -> tuple[bytes, Version]:
        """Return an object and which version of it that is; raises FileNotFoundError."""

    def replace(self, key: str, data: bytes, version: Version) -> bool:
        """Write an object if it is still the version that was read; return whether it was."""

    def delete(self, key: str) -> None:
        """Remove an object; nothing if there is none."""

    def copy(self, source: str, target: str) -> None:
        """Copy an object on the server; raises FileNotFoundError if there is none."""

    def head(self, key: str) -> Entry:
        """Return an object's size and time; raises FileNotFoundError if there is none."""

    def entries(self) -> list[Entry]:
        """List all objects, in the order of their keys; only `gc` does."""

    def folders(self, prefix: str) -> list[str]:
        """Return the names right below a prefix that end in a slash, without it, sorted."""


def is_url(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a URL of something that is not a local folder.

    >>> is_url("s3://bucket/features"), is_url("features/"), is_url("file:///features")
    (True, False, False)
    """
    text = os.fspath(path)
    return "://" in text and not text.startswith("file://")


def open_objects(url: str, options: Mapping[str, Any] | None = None) -> Objects:
    """Return the objects under a URL.

    Args:
        url: Such as `s3://bucket/features`.
        options: For obstore the store's configuration, such as `endpoint`, `region`,
            `access_key_id`; for other schemes fsspec's storage options. What is not given comes
            from the environment, such as `AWS_ENDPOINT_URL`.

    Raises:
        ConfigError: If the scheme is unknown, a package is missing, or an option is wrong.
    """
    from .fsspec_objects import FsspecObjects  # each is made of what stands here
    from .obstore_objects import ObstoreObjects

    url = url.rstrip("/")
    if urlsplit(url).scheme in _OBSTORE_SCHEMES:
        return ObstoreObjects(url, options or {})
    return FsspecObjects(url, options or {})


def get_many(objects: Objects, keys: Iterable[str]) -> dict[str, bytes]:
    """Return the objects that are there among `keys`, in the order of `keys`."""

    def one(key: str) -> bytes | None:
        try:
            return objects.get(key)
        except FileNotFoundError:
            return None

    wanted = list(keys)
    with ThreadPoolExecutor(PARALLEL_REQUESTS, thread_name_prefix="scfae-get") as pool:
        found = zip(wanted, pool.map(one, wanted), strict=True)
        return {key: data for key, data in found if data is not None}


def create_once(objects: Objects, key: str, data: bytes) -> bool:
    """Write an object unless one is there, for one writer at a time where there are no conditions.

    Returns:
        Whether it was written.
    """
    try:
        return objects.create(key, data)
    except NotImplementedError:
        if get_many(objects, [key]):
            return False
        objects.put(key, data)
        return True


def now_s(objects: Objects) -> float:
    """Return the time by the server's clock, to compare with `Entry.written_s`."""
    key = f"{PROBE}{secrets.token_hex(8)}"
    try:
        objects.put(key, b"1")
        return objects.head(key).written_s
    finally:
        objects.delete(key)


def enforces_create(objects: Objects) -> bool:
    """Create one object twice; return whether the second time was refused, as it must be."""
    key = f"{PROBE}{secrets.token_hex(8)}"
    try:
        return objects.create(key, b"1") and not objects.create(key, b"2")
    except NotImplementedError:
        return False
    finally:
        objects.delete(key)
