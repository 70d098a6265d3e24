"""Objects of a cloud, by obstore: S3, Google Cloud, Azure, HTTP."""

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from ..atomic import atomic_file
from ..errors import ConfigError
from .failures import Failures, first_line, lacks_extra
from .objects import BLOCK_BYTES, Entry, Version

RETRIES: Final = 6
RETRY_TIME: Final = timedelta(seconds=60)
_ONE_PUT_BYTES = 256 << 20  # held in memory


class ObstoreObjects:
    """Objects of a cloud, by obstore; see `Objects`."""

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        try:
            import obstore
            from obstore.store import from_url
        except ImportError:
            raise lacks_extra(url) from None
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
            raise ConfigError(f"store: {url} cannot be opened ({first_line(error)}).") from None

    def get(self, key: str) -> bytes:
        """See Objects."""
        with Failures(self.url, key):
            return bytes(self._obstore.get(self._store, key).bytes())

    def download(self, key: str, path: Path) -> str:
        """See Objects."""
        hasher = hashlib.sha256()
        with Failures(self.url, key), atomic_file(path, is_durable=False) as file:
            for block in self._obstore.get(self._store, key).stream(min_chunk_size=BLOCK_BYTES):
                file.write(block)
                hasher.update(block)
        return hasher.hexdigest()

    def put(self, key: str, data: bytes | Path) -> None:
        """See Objects."""
        num_bytes = data.stat().st_size if isinstance(data, Path) else len(data)
        with Failures(self.url, key):
            # In parts only where it must be: a kill leaves parts that are paid for and not listed.
            self._obstore.put(self._store, key, data, use_multipart=num_bytes > _ONE_PUT_BYTES)

    def create(self, key: str, data: bytes | Path) -> bool:
        """See Objects."""
        with Failures(self.url, key):
            try:
                # One request: the condition of a multipart upload is not checked by every server.
                self._obstore.put(self._store, key, data, mode="create", use_multipart=False)
            except self._obstore.exceptions.AlreadyExistsError:
                return False
            return True

    def get_versioned(self, key: str) -> tuple[bytes, Version]:
        """See Objects."""
        with Failures(self.url, key):
            found = self._obstore.get(self._store, key)
            e_tag, version = found.meta.get("e_tag"), found.meta.get("version")
            known = {"e_tag": e_tag, "version": version}
            return bytes(found.bytes()), {name: text for name, text in known.items() if text}

    def replace(self, key: str, data: bytes, version: Version) -> bool:
        """See Objects."""
        with Failures(self.url, key):
            try:
                mode: Any = dict(version)  # UpdateVersion, which is there for type checkers only
                self._obstore.put(self._store, key, data, mode=mode, use_multipart=False)
            except (self._obstore.exceptions.PreconditionError, FileNotFoundError):
                return False
            return True

    def delete(self, key: str) -> None:
        """See Objects."""
        # Not there is removed already, which is what was asked for.
        with Failures(self.url, key), suppress(FileNotFoundError):
            self._obstore.delete(self._store, key)

    def copy(self, source: str, target: str) -> None:
        """See Objects."""
        with Failures(self.url, source):
            self._obstore.copy(self._store, source, target)

    def head(self, key: str) -> Entry:
        """See Objects."""
        with Failures(self.url, key):
            return _entry(self._obstore.head(self._store, key))

    def entries(self) -> list[Entry]:
        """See Objects."""
        with Failures(self.url, ""):
            found = [_entry(one) for part in self._obstore.list(self._store) for one in part]
        return sorted(found, key=lambda one: one.key)

    def folders(self, prefix: str) -> list[str]:
        """See Objects."""
        with Failures(self.url, prefix):
            found = self._obstore.list_with_delimiter(self._store, prefix)
        return sorted(str(name).rstrip("/").rpartition("/")[2] for name in found["common_prefixes"])


def _entry(meta: Mapping[str, Any]) -> Entry:
    return Entry(str(meta["path"]), int(meta["size"]), meta["last_modified"].timestamp())
