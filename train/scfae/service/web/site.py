"""What every page shares: templates, links, assets, who looks at it, and what it may load."""

import hashlib
from functools import cache
from importlib import resources
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.exceptions import HTTPException

from .. import words
from ..access import ROLES, Actor
from ..context import is_token_due, service_of
from ..session import COOKIE

router = APIRouter(include_in_schema=False)

PLACES: Final = (
    ("runs", "Runs", "/"),
    ("new", "New run", "/new"),
    ("stores", "Stores", "/stores"),
    ("models", "Models", "/models"),
    ("system", "System", "/system"),
)
"""Of the bar at the top: name, title and path."""

_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "style-src-attr 'unsafe-inline'",
        "img-src 'self' data:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "frame-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ]
)
HEADERS: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_TYPES: Final = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
_KEPT_S: Final = 365 * 24 * 3600


def render(
    request: Request,
    template: str,
    actor: Actor | None,
    *,
    status: int = 200,
    **values: Any,
) -> HTMLResponse:
    """Return a page.

    Args:
        request: That it answers.
        template: Of `templates/`.
        actor: Who looks at it; None for who has not signed in.
        status: Of HTTP.
        values: What the template needs.
    """
    root = request.scope.get("root_path", "")
    service = service_of(request)
    cookie = request.cookies.get(COOKIE, "")
    shared = {
        "root": root,
        "url": lambda path: root + path,
        "asset": lambda name: f"{root}/static/{name}?v={_digest(name)}",
        "csrf": service.sessions.csrf(cookie) if cookie and is_token_due(request) else "",
        "actor": actor,
        "may": lambda role: actor is not None and ROLES.index(actor.role) >= ROLES.index(role),
        "has_sessions": is_token_due(request),
        "places": PLACES,
        "here": "",
    }
    html = _templates().get_template(template).render(shared | values)
    return HTMLResponse(html, status, headers=dict(HEADERS))


def is_fragment(request: Request) -> bool:
    """Return whether a part of a page is asked for, by htmx, and not the page."""
    return request.headers.get("HX-Request") == "true"


@router.get("/static/{name}")
def static(name: str, v: str = "") -> Response:
    """Return a script, a style or an icon; for good if it is asked for by its digest `v`."""
    kind = name.rpartition(".")[2]
    if kind not in _TYPES or name not in _assets():
        raise HTTPException(404, f"there is no file {name}.")
    headers = {
        "Cache-Control": f"public, max-age={_KEPT_S}, immutable" if v else "no-cache",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(_assets()[name], media_type=_TYPES[kind], headers=headers)


@cache
def _assets() -> dict[str, bytes]:
    folder = resources.files(__package__).joinpath("static")
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@cache
def _digest(name: str) -> str:
    return hashlib.sha256(_assets()[name]).hexdigest()[:12]


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ago": words.ago,
        "exactly": words.exactly,
        "duration": words.duration,
        "bytes": words.size,
        "figure": words.figure,
        "percent": words.percent,
        "metric": words.metric,
    }
    return environment
