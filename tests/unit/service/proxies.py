"""A reverse proxy of a few lines: it puts a path before a service, as nginx does."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

_OF_THE_WAY = {"connection", "transfer-encoding", "keep-alive", "content-length"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # a body ends with its connection
    server: "_Proxy"

    def _pass_on(self) -> None:
        prefix = self.server.prefix
        if not self.path.startswith(prefix):
            self.send_error(404)
            return
        path = self.path.removeprefix(prefix) if self.server.is_stripping else self.path
        length = int(self.headers.get("Content-Length", 0))
        headers = {k: v for k, v in self.headers.items() if k.lower() not in _OF_THE_WAY}
        headers |= self.server.headers
        url = f"http://127.0.0.1:{self.server.behind}{path}"
        with (
            httpx.Client(timeout=60) as client,
            client.stream(
                self.command, url, headers=headers, content=self.rfile.read(length)
            ) as answer,
        ):
            self.send_response(answer.status_code)
            for name, value in answer.headers.multi_items():
                if name not in _OF_THE_WAY:
                    self.send_header(name, value)
            self.end_headers()
            for block in answer.iter_raw():  # as it comes: streams go on
                self.wfile.write(block)
                self.wfile.flush()

    do_GET = do_POST = do_PATCH = do_DELETE = _pass_on  # noqa: N815 (the library's names)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, behind: int, prefix: str, is_stripping: bool, headers: dict[str, str]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.prefix = behind, prefix
        self.is_stripping, self.headers = is_stripping, headers

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""


@contextmanager
def proxied(
    behind: int, prefix: str, *, is_stripping: bool, headers: dict[str, str] | None = None
) -> Iterator[str]:
    """Yield the address of a proxy.

    Args:
        behind: Port of the service.
        prefix: The path it puts before the service's own.
        is_stripping: Whether it takes that path away before it asks.
        headers: That it sets.
    """
    proxy = _Proxy(behind, prefix, is_stripping, headers or {})
    thread = threading.Thread(target=proxy.serve_forever, args=[0.05])
    thread.start()
    try:
        yield f"http://127.0.0.1:{proxy.server_address[1]}{prefix}"
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()
