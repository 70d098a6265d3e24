"""Errors as RFC 9457 problem+json: the class as `type`, the sentence as `detail`."""

import json
import logging
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from scfae.store.errors import (
    AccessRefused,
    AttemptsExceeded,
    ConfigError,
    EditConflict,
    JobNotFound,
    JobStateError,
    MediaError,
    RunStateError,
    ScfaeError,
    ServiceBusy,
    StoreFull,
)

from .attempts import PAUSE_S
from .faults import faults
from .session import COOKIE
from .web.site import render

logger = logging.getLogger("scfae.service.http")
MEDIA_TYPE = "application/problem+json"
PREFIX = "urn:scfae:"
_HEADERS: dict[int, dict[str, str]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "10"},
}
_STATUS: dict[type[ScfaeError], int] = {
    ConfigError: 422,
    EditConflict: 412,
    JobNotFound: 404,
    JobStateError: 409,
    RunStateError: 409,
    MediaError: 422,
    ServiceBusy: 503,
    StoreFull: 507,
}


class _Problem(JSONResponse):
    """JSON in ASCII: a sentence that quotes half of a surrogate pair has no other spelling."""

    media_type = MEDIA_TYPE

    def render(self, content: Any) -> bytes:
        """Return the document's bytes."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def problem(status: int, detail: str, *, kind: str = "", **more: Any) -> JSONResponse:
    """Return a problem as a response.

    Args:
        status: Of HTTP.
        detail: One sentence.
        kind: Name of the error's class.
        more: Further members.
    """
    content = {
        "type": PREFIX + kind if kind else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **more,
    }
    return _Problem(content, status, headers=_HEADERS.get(status))


def add_problems(app: FastAPI) -> None:
    """Have an application answer every error as a problem."""

    @app.exception_handler(ScfaeError)
    def ours(request: Request, error: ScfaeError) -> Response:
        status = _status_of(request, error)
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.error("%s %s: %s", request.method, request.url.path, error)
        answer = _answer(request, status, str(error), kind=type(error).__name__)
        if status == HTTPStatus.TOO_MANY_REQUESTS:
            answer.headers["Retry-After"] = str(round(PAUSE_S))
        return answer

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        errors = [{"field": field, "message": said} for field, said in faults(error.errors())]
        detail = "; ".join(one["message"] for one in errors)
        return _answer(request, 422, detail, kind="ConfigError", errors=errors)

    @app.exception_handler(HTTPException)
    def plain(request: Request, error: HTTPException) -> Response:
        return _answer(request, error.status_code, _said(request, error))

    @app.exception_handler(Exception)
    def unforeseen(request: Request, error: Exception) -> Response:
        return _answer(request, 500, "an error that nobody foresaw; the server's log has it.")


def _said(request: Request, error: HTTPException) -> str:
    """Return the detail of an error, or a sentence where it is but the status in words."""
    detail, path = str(error.detail), request.url.path
    if detail != HTTPStatus(error.status_code).phrase:
        return detail
    if error.status_code == HTTPStatus.NOT_FOUND:
        return f"there is nothing at {path}."
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{request.method} is not for {path}."
    return detail


def _status_of(request: Request, error: ScfaeError) -> int:
    if isinstance(error, AttemptsExceeded):
        return 429
    if isinstance(error, AccessRefused):
        is_known = "authorization" in request.headers or COOKIE in request.cookies
        return 403 if is_known and "takes" in str(error) else 401
    if isinstance(error, LookupError | FileNotFoundError):
        return 404
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 500)


def _answer(request: Request, status: int, detail: str, *, kind: str = "", **more: Any) -> Response:
    """Answer a page with a page, and anything else with a problem."""
    root = request.scope.get("root_path", "")
    path = request.url.path.removeprefix(root)
    is_page = not path.startswith("/api/") and "text/html" in request.headers.get("accept", "")
    if not is_page:
        return problem(status, detail, kind=kind, **more)
    if status == HTTPStatus.UNAUTHORIZED:
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{root}/login?{urlencode({'then': path + query})}", 303)
    heading = HTTPStatus(status).phrase
    return render(request, "problem.html.j2", None, status=status, heading=heading, detail=detail)
