"""Sealed JSON: `store.json`, `column.json` and receipts carry a checksum of their own bytes.

The last line holds the sha256 of every byte before it, so a flipped bit is found even where the
text would still parse. One key a line, sorted: the same content is the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .atomic import write_atomic
from .config import canonical_json
from .errors import CorruptShard

_LAST_LINE = b'"checksum": "%s"\n}\n'
_LAST_LINE_BYTES = len(_LAST_LINE) - 2 + 64


def seal(body: Mapping[str, Any]) -> bytes:
    """Return the bytes of a sealed document; `body` has no key `checksum` and is not empty."""
    lines = [
        b"%s: %s,\n" % (canonical_json(key), canonical_json(body[key])) for key in sorted(body)
    ]
    text = b"{\n" + b"".join(lines)
    return text + _LAST_LINE % hashlib.sha256(text).hexdigest().encode()


def unseal(data: bytes, path: Path) -> dict[str, Any]:
    """Return the body of a sealed document.

    Args:
        data: The bytes of the file.
        path: Where they come from, for the message.

    Raises:
        CorruptShard: If the bytes are not what was written.
    """
    text, last = data[:-_LAST_LINE_BYTES], data[-_LAST_LINE_BYTES:]
    if last != _LAST_LINE % hashlib.sha256(text).hexdigest().encode():
        raise CorruptShard(f"{path} is damaged: its bytes do not agree with its own checksum.")
    body: dict[str, Any] = json.loads(data)
    del body["checksum"]
    return body


def write_document(path: Path, body: Mapping[str, Any]) -> None:
    """Seal a document and write it atomically."""
    write_atomic(path, seal(body))


def read_document(path: Path) -> dict[str, Any]:
    """Return the body of the sealed document at `path`.

    Raises:
        FileNotFoundError: If it is not there.
        CorruptShard: If the bytes are not what was written.
    """
    return unseal(path.read_bytes(), path)
