"""What stands before every route: the Host header, cross-site posts, and the size of a body."""

import re
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .access import SAFE_METHODS
from .context import Service
from .problems import problem

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_UPLOADS = re.compile(r"/api/v1/models/[^/]+/predict$")


class Guard:
    """Refuses requests for another host, from another site's page, or with too large a body.

    A page of another site can make a browser post to the loopback address; and a name of another
    site can be made to lead there, so the name is looked at too.

    Args:
        app: What is behind.
        service: Which hosts and sizes are allowed.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = _name_of(f"//{headers.get(b'host', '')}")
        origin = headers.get(b"origin")
        length = headers.get(b"content-length", "0")
        is_foreign = origin is not None and not self._is_ours(origin, headers.get(b"host", ""))
        limit = self._limit_of(scope["path"], headers.get(b"content-type", ""))
        if host not in self._service.hosts:
            refusal = problem(421, f"this service is not called {host!r}; see --allow-host.")
        elif scope["method"] not in SAFE_METHODS and is_foreign:
            refusal = problem(403, f"a page of {origin} may not change anything here.")
        elif not length.isdigit() or int(length) > limit:
            refusal = problem(413, f"a request may have {limit} bytes.")
        else:
            await self._app(scope, _limited(receive, limit), send)
            return
        await refusal(scope, receive, send)

    def _is_ours(self, origin: str, host: str) -> bool:
        """Return whether a page of an origin may change something."""
        if origin in (f"http://{host}", f"https://{host}"):
            return True
        # Whatever else serves pages on this machine, at another port, is not this service.
        name = _name_of(origin)
        return name in self._service.hosts and name not in LOOPBACK

    def _limit_of(self, path: str, content_type: str) -> int:
        """Return the bytes that a body may have; media are larger than settings."""
        is_upload = bool(_UPLOADS.search(path)) and content_type.startswith("multipart/form-data")
        return self._service.max_upload_bytes if is_upload else self._service.max_body_bytes


def _limited(receive: Receive, limit: int) -> Receive:
    """Cut off a body that is longer than it said; what is behind then finds it incomplete."""
    left = limit

    async def read() -> Message:
        nonlocal left
        message = await receive()
        if message["type"] == "http.request":
            left -= len(message.get("body", b""))
            if left < 0:
                return {"type": "http.disconnect"}
        return message

    return read


def _name_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
