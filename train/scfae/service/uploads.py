"""Media that come in a request: written aside under names of ours, and removed after it."""

import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from scfae.extract import media_kind
from scfae.extract.manifest import EXTENSIONS
from scfae.store.errors import ConfigError

FIELDS = ("file", "video", "audio", "image", "text")
_TEXT_BYTES = 1 << 20
_STALE_S = 3600.0
_ONLY = re.compile(r"[,\s]+")


@asynccontextmanager
async def uploaded(request: Request, folder: Path) -> AsyncIterator[dict[str, Any]]:
    """Yield the question in a multipart request: `{"files": {kind: path}, "text", "only"}`.

    Args:
        request: Its parts are `file` (whose kind its name's extension tells) or `video`, `audio`,
            `image`, `text`, and `only`, modalities with commas.
        folder: Where files are while the block lasts.

    Raises:
        ConfigError: There is nothing to predict, or a part is of no known kind.
        HTTPException: The body was cut off.
    """
    try:
        form = await request.form(max_files=4, max_fields=20, max_part_size=_TEXT_BYTES)
    except ClientDisconnect:
        raise HTTPException(413, "the request was cut off, or is larger than it said.") from None
    place = await run_in_threadpool(_place, folder)
    try:
        question: dict[str, Any] = {"files": {}, "only": []}
        for name, part in form.multi_items():
            if name == "only" and isinstance(part, str):
                question["only"] += [one for one in _ONLY.split(part) if one]
            elif name == "text" and isinstance(part, str):
                question["text"] = part
            elif name in FIELDS and isinstance(part, UploadFile):
                kind = _kind(name, part)
                if kind in question["files"]:
                    raise ConfigError(f"{name}: there is a file of {kind} already.")
                path = place / f"{kind}{_suffix(kind, part)}"
                await run_in_threadpool(_write, part, path)
                question["files"][kind] = str(path)
            else:
                raise ConfigError(f"{name}: parts are files {', '.join(FIELDS)}, and only.")
        if not question["files"] and "text" not in question:
            raise ConfigError("file: there is nothing to predict; send a clip, or name a sample.")
        yield question
    finally:
        await form.close()
        await run_in_threadpool(shutil.rmtree, place, True)


def _kind(name: str, part: UploadFile) -> str:
    if name != "file":
        return name
    given = part.filename or ""
    kind = "text" if given.lower().endswith(".txt") else media_kind(given)
    if kind is None:
        known = " ".join(sorted(suffix for some in EXTENSIONS.values() for suffix in some))
        raise ConfigError(f"file = {given!r}: known are {known} .txt.")
    return kind


def _suffix(kind: str, part: UploadFile) -> str:
    """Return the extension to keep: FFmpeg reads lists of other files by some that are not here."""
    suffix = Path(part.filename or "").suffix.lower()
    return suffix if suffix in EXTENSIONS.get(kind, frozenset()) else ""


def _place(folder: Path) -> Path:
    """Return a new folder, those of servers that were killed removed."""
    folder.mkdir(exist_ok=True)
    for one in folder.iterdir():
        if time.time() - one.stat().st_mtime > _STALE_S:
            shutil.rmtree(one, ignore_errors=True)
    return Path(mkdtemp(dir=folder))


def _write(part: UploadFile, path: Path) -> None:
    with open(path, "wb") as target:
        shutil.copyfileobj(part.file, target, 1 << 20)
