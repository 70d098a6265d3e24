"""Errors as RFC 9457 problem+json: the class as `type`, the sentence as `detail`."""

import json
import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from scfae.store.errors import (
    AccessRefused,
    ConfigError,
    JobNotFound,
    JobStateError,
    RunStateError,
    ScfaeError,
    ServiceBusy,
    StoreFull,
)

logger = logging.getLogger("scfae.service.http")
MEDIA_TYPE = "application/problem+json"
PREFIX = "urn:scfae:"
_STATUS: dict[type[ScfaeError], int] = {
    ConfigError: 422,
    JobNotFound: 404,
    JobStateError: 409,
    RunStateError: 409,
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
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return _Problem(content, status, headers=headers)


def add_problems(app: FastAPI) -> None:
    """Have an application answer every error as a problem."""

    @app.exception_handler(ScfaeError)
    def ours(request: Request, error: ScfaeError) -> JSONResponse:
        name = type(error).__name__
        if isinstance(error, AccessRefused):
            is_known = "authorization" in request.headers and "takes" in str(error)
            return problem(403 if is_known else 401, str(error), kind=name)
        if isinstance(error, LookupError | FileNotFoundError):
            return problem(404, str(error), kind=name)
        for kind, status in _STATUS.items():
            if isinstance(error, kind):
                return problem(status, str(error), kind=name)
        logger.error("%s %s: %s", request.method, request.url.path, error)
        return problem(500, str(error), kind=name)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        errors = [
            {"field": ".".join(map(str, one["loc"])), "message": str(one["msg"])}
            for one in error.errors()
        ]
        detail = "; ".join(f"{one['field']}: {one['message']}" for one in errors)
        return problem(422, detail, kind="ConfigError", errors=errors)

    @app.exception_handler(HTTPException)
    def plain(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail))

    @app.exception_handler(Exception)
    def unforeseen(request: Request, error: Exception) -> JSONResponse:
        return problem(500, "an error that nobody foresaw; the server's log has it.")
