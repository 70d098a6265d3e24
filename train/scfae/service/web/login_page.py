"""Signing in and out: a token for a cookie."""

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from scfae.store.errors import AccessRefused, AttemptsExceeded

from ..audit import address_of
from ..context import AService
from ..session import COOKIE, LASTS_S
from .site import render

router = APIRouter(include_in_schema=False)


@router.get("/login")
def form(
    request: Request, service: AService, then: Annotated[str, Query(max_length=2000)] = "/"
) -> HTMLResponse:
    """Return the form."""
    return render(request, "login.html.j2", None, then=_local(then), refusal="")


@router.post("/login")
def sign_in(
    request: Request,
    service: AService,
    token: Annotated[str, Form(max_length=500)],
    then: Annotated[str, Form(max_length=2000)] = "/",
) -> Response:
    """Exchange a token for a cookie, and go on to the page that was asked for."""
    try:
        actor = service.actor(token.strip(), address=address_of(request.scope))
        cookie = service.sessions.begin(token.strip())
    except AccessRefused as error:
        page = render(request, "login.html.j2", None, then=_local(then), refusal=str(error))
        page.status_code = 429 if isinstance(error, AttemptsExceeded) else 401
        return page
    request.state.actor = actor  # for the audit log
    root = request.scope.get("root_path", "")
    answer = RedirectResponse(root + _local(then), 303)
    answer.set_cookie(
        COOKIE,
        cookie,
        max_age=LASTS_S,
        path=root or "/",
        secure=_is_https(request),
        httponly=True,
        samesite="strict",
    )
    return answer


@router.post("/logout")
def sign_out(
    request: Request, service: AService, csrf: Annotated[str, Form(max_length=200)] = ""
) -> Response:
    """Forget the cookie."""
    root = request.scope.get("root_path", "")
    service.sessions.check_csrf(request.cookies.get(COOKIE, ""), csrf)
    answer = RedirectResponse(f"{root}/login", 303)
    answer.delete_cookie(COOKIE, path=root or "/")
    return answer


def _is_https(request: Request) -> bool:
    """Return whether the browser speaks HTTPS, with us or with a proxy that says so.

    Anybody may say so: who says it wrongly gets a cookie that is of less use to them.
    """
    told = request.headers.get("x-forwarded-proto", "").split(",")[0].strip().lower()
    forwarded = request.headers.get("forwarded", "").split(",")[0].lower()
    pairs = {pair.strip().replace('"', "") for pair in forwarded.split(";")}
    return request.url.scheme == "https" or told == "https" or "proto=https" in pairs


def _local(place: str) -> str:
    """Return a path of ours: nobody is sent to another site from here."""
    parts = urlsplit(place)
    is_ours = place.startswith("/") and not place.startswith(("//", "/\\"))
    return place if is_ours and not parts.netloc and not parts.scheme else "/"
