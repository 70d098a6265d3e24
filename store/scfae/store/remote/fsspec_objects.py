"""Objects of any file system that fsspec knows and obstore does not."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..atomic import atomic_file
from ..errors import ConfigError
from .failures import Failures, first_line, lacks_extra
from .objects import BLOCK_BYTES, Entry, Version


class FsspecObjects:
    """Objects of any other file system, by fsspec; see `Objects`.

    fsspec has no conditional creation, so a store here takes one writer at a time.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        try:
            import fsspec
        except ImportError:
            raise lacks_extra(url) from None
        self.url = url
        try:
            self._fs, self._root = fsspec.url_to_fs(url, **dict(options))
        except (ValueError, ImportError, TypeError) as error:
            raise ConfigError(f"store: {url} cannot be opened ({first_line(error)}).") from None

    def get(self, key: str) -> bytes:
        """See Objects."""
        with Failures(self.url, key):
            return bytes(self._fs.cat_file(self._path(key)))

    def download(self, key: str, path: Path) -> str:
        """See Objects."""
        hasher = hashlib.sha256()
        with (
            Failures(self.url, key),
            atomic_file(path, is_durable=False) as file,
            self._fs.open(self._path(key), "rb") as source,
        ):
            while block := source.read(BLOCK_BYTES):
                file.write(block)
                hasher.update(block)
        return hasher.hexdigest()

    def put(self, key: str, data: bytes | Path) -> None:
        """See Objects."""
        with Failures(self.url, key):
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
        with Failures(self.url, key), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(key))

    def copy(self, source: str, target: str) -> None:
        """See Objects."""
        self.put(target, self.get(source))  # not every file system of fsspec has a copy of its own

    def head(self, key: str) -> Entry:
        """See Objects."""
        with Failures(self.url, key):
            path = self._path(key)
            return Entry(key, int(self._fs.size(path)), self._fs.modified(path).timestamp())

    def entries(self) -> list[Entry]:
        """See Objects; raises NotImplementedError where the file system knows no times."""
        with Failures(self.url, ""):
            found = sorted(self._fs.find(self._root))
        return [self.head(str(name)[len(self._root) :].lstrip("/")) for name in found]

    def folders(self, prefix: str) -> list[str]:
        """See Objects."""
        with Failures(self.url, prefix):
            try:
                found = self._fs.ls(self._path(prefix), detail=True)
            except FileNotFoundError:
                return []
        folders = (entry["name"] for entry in found if entry["type"] == "directory")
        return sorted(str(name).rstrip("/").rpartition("/")[2] for name in folders)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}".rstrip("/")
