"""The application: routes, what stands before them, and how errors are answered."""

from fastapi import FastAPI

from .context import Service
from .guard import Guard
from .health import Latency
from .health import router as health
from .problems import add_problems
from .runs_api import router as runs
from .system_api import router as system

API = "/api/v1"


def make_app(service: Service, *, root_path: str = "") -> FastAPI:
    """Return the application of a service.

    Args:
        service: What its routes work on.
        root_path: The path that a proxy puts before ours, e.g. `/scfae`.
    """
    app = FastAPI(
        title="scfae",
        summary="Submit, watch, cancel and resume trainings.",
        version="1",
        root_path=root_path.rstrip("/"),
        docs_url=None,  # its page loads scripts from another host
        redoc_url=None,
        openapi_url=f"{API}/openapi.json",
    )
    app.state.service = service
    app.add_middleware(Guard, service=service)
    app.add_middleware(Latency)
    add_problems(app)
    app.include_router(runs, prefix=API)
    app.include_router(system, prefix=API)
    app.include_router(health)
    return app
