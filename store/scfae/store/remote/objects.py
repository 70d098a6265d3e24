"""Objects under one URL: get, put, create-if-absent. Everything a remote store needs of a server.

S3, Google Cloud, Azure, HTTP and `memory://` go through obstore (Rust, no event loop of Python's,
safe beside threads), every other scheme through fsspec. Creation that fails where the object is
there already is what lets two writers meet; whether a server really enforces it is tried once, at
the first write, since some accept the header and overwrite all the same.
"""

import hashlib
import os
import secrets
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from ..atomic import atomic_file
from ..errors import ConfigError, StoreError, StoreForbidden

PARALLEL_REQUESTS: Final = 32
PROBE: Final = ".probe-"
RETRIES: Final = 6
RETRY_TIME: Final = timedelta(seconds=60)
_BLOCK_BYTES = 8 << 20
_ONE_PUT_BYTES = 256 << 20  # held in memory
_FORBIDDEN = ("PermissionDeniedError", "UnauthenticatedError", "PermissionError")
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


class ObstoreObjects:
    """Objects of a cloud, by obstore; see `Objects`."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        try:
            import obstore
            from obstore.store import from_url
        except ImportError:
            raise ConfigError(
                f"store: {url} needs the extra: pip install 'scfae[remote]'."
            ) from None
        self.url = url
        self._obstore = obstore
        config = dict(options)
        endpoint = str(config.get("endpoint") or os.environ.get("AWS_ENDPOINT_URL", ""))
        client = {"allow_http": True} if endpoint.startswith("http://") else {}
        retry = {"max_retries": RETRIES, "retry_timeout": RETRY_TIME}
        try:
            opener: Any = from_url  # typed a scheme at a time
            self._store = opener(
                url,
                config=config,
                client_options=client,
                retry_config=retry,
            )
        except obstore.exceptions.BaseError as error:
            raise ConfigError(f"store: {url} cannot be opened ({_first_line(error)}).") from None

    def get(self, key: str) -> bytes:
        """See Objects."""
        with _Failures(self.url, key):
            return bytes(self._obstore.get(self._store, key).bytes())

    def download(self, key: str, path: Path) -> str:
        """See Objects."""
        hasher = hashlib.sha256()
        with _Failures(self.url, key), atomic_file(path, is_durable=False) as file:
            for block in self._obstore.get(self._store, key).stream(min_chunk_size=_BLOCK_BYTES):
                file.write(block)
                hasher.update(block)
        return hasher.hexdigest()

    def put(self, key: str, data: bytes | Path) -> None:
        """See Objects."""
        num_bytes = data.stat().st_size if isinstance(data, Path) else len(data)
        with _Failures(self.url, key):
            # In parts only where it must be: a kill leaves parts that are paid for and not listed.
            self._obstore.put(self._store, key, data, use_multipart=num_bytes > _ONE_PUT_BYTES)

    def create(self, key: str, data: bytes | Path) -> bool:
        """See Objects."""
        with _Failures(self.url, key):
            try:
                # One request: the condition of a multipart upload is not checked by every server.
                self._obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except self._obstore.exceptions.AlreadyExistsError:
                return False
            return True

    def get_versioned(self, key: str) -> tuple[bytes, Version]:
        """See Objects."""
        with _Failures(self.url, key):
            found = self._obstore.get(self._store, key)
            e_tag, version = found.meta.get("e_tag"), found.meta.get("version")
            known = {"e_tag": e_tag, "version": version}
            return bytes(found.bytes()), {name: text for name, text in known.items() if text}

    def replace(self, key: str, data: bytes, version: Version) -> bool:
        """See Objects."""
        with _Failures(self.url, key):
            try:
                mode: Any = dict(version)  # UpdateVersion, which is there for type checkers only
                self._obstore.put(self._store, key, data, mode=mode, use_multipart=False)
            except (self._obstore.exceptions.PreconditionError, FileNotFoundError):
                return False
            return True

    def delete(self, key: str) -> None:
        """See Objects."""
        # Not there is removed already, which is what was asked for.
        with _Failures(self.url, key), suppress(FileNotFoundError):
            self._obstore.delete(self._store, key)

    def copy(self, source: str, target: str) -> None:
        """See Objects."""
        with _Failures(self.url, source):
            self._obstore.copy(self._store, source, target)

    def head(self, key: str) -> Entry:
        """See Objects."""
        with _Failures(self.url, key):
            return _entry(self._obstore.head(self._store, key))

    def entries(self) -> list[Entry]:
        """See Objects."""
        with _Failures(self.url, ""):
            found = [_entry(one) for part in self._obstore.list(self._store) for one in part]
        return sorted(found, key=lambda one: one.key)

    def folders(self, prefix: str) -> list[str]:
        """See Objects."""
        with _Failures(self.url, prefix):
            found = self._obstore.list_with_delimiter(self._store, prefix)
        return sorted(str(name).rstrip("/").rpartition("/")[2] for name in found["common_prefixes"])


class FsspecObjects:
    """Objects of any other file system, by fsspec; see `Objects`.

    fsspec has no conditional creation, so a store here takes one writer at a time.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        try:
            import fsspec
        except ImportError:
            raise ConfigError(
                f"store: {url} needs the extra: pip install 'scfae[remote]'."
            ) from None
        self.url = url
        try:
            self._fs, self._root = fsspec.url_to_fs(url, **dict(options))
        except (ValueError, ImportError, TypeError) as error:
            raise ConfigError(f"store: {url} cannot be opened ({_first_line(error)}).") from None

    def get(self, key: str) -> bytes:
        """See Objects."""
        with _Failures(self.url, key):
            return bytes(self._fs.cat_file(self._path(key)))

    def download(self, key: str, path: Path) -> str:
        """See Objects."""
        hasher = hashlib.sha256()
        with (
            _Failures(self.url, key),
            atomic_file(path, is_durable=False) as file,
            self._fs.open(self._path(key), "rb") as source,
        ):
            while block := source.read(_BLOCK_BYTES):
                file.write(block)
                hasher.update(block)
        return hasher.hexdigest()

    def put(self, key: str, data: bytes | Path) -> None:
        """See Objects."""
        with _Failures(self.url, key):
            path = self._path(key)
            self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._fs.pipe_file(path, data.read_bytes() if isinstance(data, Path) else data)

    def create(self, key: str, data: bytes | Path) -> bool:
        """See Objects; raises NotImplementedError."""
        raise NotImplementedError(f"{self.url}: fsspec cannot create conditionally")

    def get_versioned(self, key: str) -> tuple[bytes, Version]:
        """See Objects; fsspec knows no versions."""
        return self.get(key), {}

    def replace(self, key: str, data: bytes, version: Version) -> bool:
        """Write an object whatever its version: a store here takes one writer at a time."""
        self.put(key, data)
        return True

    def delete(self, key: str) -> None:
        """See Objects."""
        # Not there is removed already, which is what was asked for.
        with _Failures(self.url, key), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(key))

    def copy(self, source: str, target: str) -> None:
        """See Objects."""
        self.put(target, self.get(source))  # not every file system of fsspec has a copy of its own

    def head(self, key: str) -> Entry:
        """See Objects."""
        with _Failures(self.url, key):
            path = self._path(key)
            return Entry(key, int(self._fs.size(path)), self._fs.modified(path).timestamp())

    def entries(self) -> list[Entry]:
        """See Objects; raises NotImplementedError where the file system knows no times."""
        with _Failures(self.url, ""):
            found = sorted(self._fs.find(self._root))
        return [self.head(str(name)[len(self._root) :].lstrip("/")) for name in found]

    def folders(self, prefix: str) -> list[str]:
        """See Objects."""
        with _Failures(self.url, prefix):
            try:
                found = self._fs.ls(self._path(prefix), detail=True)
            except FileNotFoundError:
                return []
        folders = (entry["name"] for entry in found if entry["type"] == "directory")
        return sorted(str(name).rstrip("/").rpartition("/")[2] for name in folders)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}".rstrip("/")


def _entry(meta: Mapping[str, Any]) -> Entry:
    return Entry(str(meta["path"]), int(meta["size"]), meta["last_modified"].timestamp())


class _Failures:
    """Turns what a server refuses into one sentence; lets FileNotFoundError through."""

    def __init__(self, url: str, key: str) -> None:
        self._where = f"{url}/{key}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, FileNotFoundError | NotImplementedError):
            return
        if type(error).__name__ in _FORBIDDEN:
            raise StoreForbidden(
                f"{self._where} may not be written or read with these credentials "
                f"({_first_line(error)})."
            ) from error
        if isinstance(error, Exception):
            raise StoreError(
                f"{self._where} cannot be read or written ({_first_line(error)}). Check the "
                "address, the credentials and the network."
            ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
