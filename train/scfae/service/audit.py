"""audit.jsonl: every change that was asked for over HTTP, and every refusal.

A line is appended when the answer begins. The file is put aside when it is large; of refusals from
one address only so many a minute get a line, and the rest are counted, so that nobody can push out
what he did by being refused.
"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scfae.store.config import Frozen
from scfae.store.errors import ConfigError

from .access import SAFE_METHODS, Actor

MAX_BYTES: Final = 8 << 20
KEPT_FILES: Final = 5
REFUSALS_A_MINUTE: Final = 20
_MOST_CHARS: Final = 300
_REFUSED: Final = frozenset({401, 403, 421, 429})
_MOST_ADDRESSES: Final = 10_000


class AuditEvent(Frozen):
    """One line.

    Attributes:
        time_s: Seconds since 1970; no two lines have the same.
        actor: Who asked; empty for nobody known.
        role: What he may do; empty likewise.
        address: Where the request came from.
        method: Of the request.
        path: What was asked.
        status: Of the answer.
        made: Where what was made is found.
        num_more: Refusals of the same address in the minute before that have no line.
    """

    time_s: float
    actor: str = ""
    role: str = ""
    address: str
    method: str
    path: str
    status: int
    made: str = ""
    num_more: int = 0


class AuditPage(Frozen):
    """A page of lines.

    Attributes:
        events: The newest first.
        cursor: Where the next page begins; null after the last.
    """

    events: tuple[AuditEvent, ...]
    cursor: str | None


class Audit:
    """The log.

    Args:
        folder: The service's folder.
        max_bytes: Of the file before it is put aside.
    """

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._path = folder / "audit.jsonl"
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._last_s = 0.0
        self._refusals: dict[str, tuple[int, int]] = {}

    def write(self, event: AuditEvent) -> None:
        """Append a line, or count it where its address is refused too often."""
        with self._lock:
            num_more = 0
            if event.status in _REFUSED:
                minute = int(event.time_s // 60)
                before, count = self._refusals.get(event.address, (minute, 0))
                if before == minute and count >= REFUSALS_A_MINUTE:
                    self._refusals[event.address] = (minute, count + 1)
                    return
                num_more = max(0, count - REFUSALS_A_MINUTE) if before != minute else 0
                if len(self._refusals) > _MOST_ADDRESSES:
                    self._refusals.clear()
                self._refusals[event.address] = (minute, count + 1 if before == minute else 1)
            time_s = max(event.time_s, self._last_s + 1e-6)
            self._last_s = time_s
            line = event.model_copy(update={"time_s": time_s, "num_more": num_more})
            self._rotate()
            with open(self._path, "ab") as file:
                file.write(line.model_dump_json(exclude_defaults=True).encode() + b"\n")

    def page(self, *, q: str = "", cursor: str | None = None, limit: int = 100) -> AuditPage:
        """Return a page of lines, the newest first.

        Args:
            q: Words that all must be found in a line.
            cursor: Where to begin, from the page before.
            limit: Lines a page.

        Raises:
            ConfigError: The cursor is not one of ours.
        """
        try:
            before_s = float("inf") if cursor is None else float(cursor)
        except ValueError:
            raise ConfigError("cursor: not one that a list has given.") from None
        words = [word.lower() for word in q.split()]
        found: list[AuditEvent] = []
        for line in self._lines():
            try:
                event = AuditEvent.model_validate_json(line)
            except ValidationError:
                continue  # a kill cut it off
            text = line.decode("utf-8", "replace").lower()
            if event.time_s < before_s and all(word in text for word in words):
                found.append(event)
            if len(found) > limit:
                return AuditPage(events=tuple(found[:limit]), cursor=repr(found[limit - 1].time_s))
        return AuditPage(events=tuple(found), cursor=None)

    def _lines(self) -> Iterator[bytes]:
        for path in (self._path, *(self._aside(number) for number in range(1, KEPT_FILES + 1))):
            try:
                lines = path.read_bytes().splitlines()
            except FileNotFoundError:
                continue
            yield from reversed(lines)

    def _rotate(self) -> None:
        try:
            if self._path.stat().st_size < self._max_bytes:
                return
        except FileNotFoundError:
            self._path.touch(mode=0o600)
            return
        for number in range(KEPT_FILES, 0, -1):
            path = self._path if number == 1 else self._aside(number - 1)
            if path.exists():
                path.replace(self._aside(number))
        self._path.touch(mode=0o600)

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"audit.{number}.jsonl")


class Auditing:
    """Writes down what is asked, once its answer begins.

    Args:
        app: What is behind.
        audit: The log.
    """

    def __init__(self, app: ASGIApp, audit: Audit) -> None:
        self._app, self._audit = app, audit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = int(message["status"])
                if scope["method"] not in SAFE_METHODS or status in _REFUSED:
                    self._audit.write(_event(scope, status, message, state.get("actor")))
            await send(message)

        await self._app(scope, receive, noted)


def _event(scope: Scope, status: int, message: Message, actor: Actor | None) -> AuditEvent:
    headers = dict(message.get("headers", ()))
    query = scope.get("query_string", b"").decode("latin-1")
    path = scope["path"] + (f"?{query}" if query else "")
    return AuditEvent(
        time_s=time.time(),
        actor="" if actor is None else actor.name,
        role="" if actor is None else actor.role,
        address=address_of(scope),
        method=scope["method"],
        path=path[:_MOST_CHARS],
        status=status,
        made=headers.get(b"location", b"").decode("latin-1")[:_MOST_CHARS],
    )


def address_of(scope: Scope) -> str:
    """Return where a request came from."""
    client = scope.get("client")
    return str(client[0]) if client else ""
