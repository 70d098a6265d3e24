"""The application: routes, what stands before them, and how errors are answered."""

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from .admin_api import router as admin
from .audit import Auditing
from .compare_api import router as compare
from .context import Service
from .guard import Guard
from .health import Latency
from .health import router as health
from .models_api import router as models
from .problems import add_problems
from .runs_api import router as runs
from .stores_api import router as stores
from .system_api import router as system
from .web import ROUTERS
from .webhooks_api import router as webhooks

API = "/api/v1"


def make_app(service: Service, *, root_path: str = "") -> FastAPI:
    """Return the application of a service.

    Args:
        service: What its routes work on.
        root_path: The path that a proxy puts before ours, e.g. `/scfae`, whether or not it takes it
            away before it asks.
    """
    app = FastAPI(
        title="scfae",
        summary="Submit, watch, cancel and resume trainings.",
        version="1",
        docs_url=None,  # its page loads scripts from another host
        redoc_url=None,
        openapi_url=f"{API}/openapi.json",
    )
    app.state.service = service
    app.add_middleware(Guard, service=service)
    app.add_middleware(Auditing, audit=service.audit)
    app.add_middleware(Latency)
    app.add_middleware(Below, path=root_path.rstrip("/"))
    add_problems(app)
    app.include_router(runs, prefix=API)
    app.include_router(compare, prefix=API)
    app.include_router(models, prefix=API)
    app.include_router(system, prefix=API)
    app.include_router(stores, prefix=API)
    app.include_router(admin, prefix=API)
    app.include_router(webhooks, prefix=API)
    app.include_router(health)
    for pages in ROUTERS:
        app.include_router(pages)
    return app


class Below:
    """Has routes found, and links made, below a path that a proxy puts before ours.

    uvicorn's own `root_path` puts the path before every request, and so finds none of a proxy that
    leaves it there.

    Args:
        app: What is behind.
        path: That path, without `/` at its end.
    """

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if self._path and scope["type"] == "http":
            scope = {**scope, "root_path": self._path}
        await self._app(scope, receive, send)
