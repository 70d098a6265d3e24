"""Routes for machines: /healthz, /readyz, and /metrics as Prometheus reads it."""

import sqlite3
import threading
import time

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .context import AService, Viewer
from .problems import problem
from .states import STATES

router = APIRouter()
_BOUNDS_S = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class Latency:
    """Counts requests by status and duration; streams count when they begin to answer.

    Args:
        app: What is behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._lock = threading.Lock()
        self._buckets = [0] * (len(_BOUNDS_S) + 1)
        self._sum_s = 0.0
        self._statuses: dict[int, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})["latency"] = self
        begun_s = time.monotonic()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(int(message["status"]), time.monotonic() - begun_s)
            await send(message)

        await self._app(scope, receive, counted)

    def lines(self) -> list[str]:
        """Return the counts as Prometheus reads them."""
        with self._lock:
            lines = ["# TYPE scfae_http_seconds histogram"]
            total = 0
            for bound, count in zip((*_BOUNDS_S, "+Inf"), self._buckets, strict=True):
                total += count
                lines.append(f'scfae_http_seconds_bucket{{le="{bound}"}} {total}')
            lines += [f"scfae_http_seconds_sum {self._sum_s:.6f}"]
            lines += [f"scfae_http_seconds_count {total}", "# TYPE scfae_http_requests counter"]
            for status, count in sorted(self._statuses.items()):
                lines.append(f'scfae_http_requests{{status="{status}"}} {count}')
        return lines

    def _count(self, status: int, took_s: float) -> None:
        with self._lock:
            self._buckets[sum(took_s > bound for bound in _BOUNDS_S)] += 1
            self._sum_s += took_s
            self._statuses[status] = self._statuses.get(status, 0) + 1


@router.get("/healthz", tags=["health"])
def healthz() -> dict[str, str]:
    """Answer, which is all that is asked."""
    return {"status": "ok"}


@router.get("/readyz", tags=["health"], response_model=None)
def readyz(service: AService) -> Response | dict[str, object]:
    """Answer whether the index can be read and written, and how many workers live."""
    try:
        with service.queue.database.writing() as connection:
            connection.execute("SELECT COUNT(*) FROM jobs").fetchone()
    except sqlite3.Error as error:
        return problem(503, f"the index cannot be used: {error}")
    return {"status": "ready", "workers": len(service.roster.workers())}


@router.get("/metrics", tags=["health"], response_class=PlainTextResponse)
def metrics(request: Request, service: AService, actor: Viewer) -> str:
    """Return counts of jobs, workers and requests in Prometheus' text format."""
    counts = service.queue.counts()
    waits_s = service.queue.oldest_wait_s()
    lines = ["# TYPE scfae_jobs gauge"]
    lines += [f'scfae_jobs{{state="{state}"}} {counts.get(state, 0)}' for state in STATES]
    lines += [
        "# TYPE scfae_queue_oldest_seconds gauge",
        f"scfae_queue_oldest_seconds {waits_s:.3f}",
    ]
    workers = service.roster.workers()
    lines += ["# TYPE scfae_workers gauge", f"scfae_workers {len(workers)}"]
    slots = sum(worker.num_slots for worker in workers)
    lines += ["# TYPE scfae_slots gauge", f"scfae_slots {slots}"]
    lines += request.state.latency.lines()
    return "\n".join(lines) + "\n"
