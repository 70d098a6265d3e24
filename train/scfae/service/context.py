"""What every route needs: the queue, who asks, and whether the server is about to end."""

import threading
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from scfae.store.errors import AccessRefused

from .access import LOCAL, Actor, Role, Tokens
from .queue import Queue
from .roots import Roots
from .roster import Roster
from .session import COOKIE, CSRF_HEADER, Sessions
from .store_media import MediaViewer
from .stores import Stores
from .swap import Swapper

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_FORWARDED = frozenset({"forwarded", "x-forwarded-for", "x-real-ip"})
"""Headers of what came through a proxy, from who knows where."""


@dataclass
class Service:
    """A service as its routes see it; `request.app.state.service`.

    Attributes:
        queue: The jobs.
        roots: What requests may name.
        needs_token: Whether callers without a token are refused; else they are `local`.
        hosts: Names that the Host header may have.
        max_body_bytes: Of a request.
        stopping: Set when the server is about to end; streams end then.
    """

    queue: Queue
    roots: Roots
    needs_token: bool = False
    hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "::1"})
    max_body_bytes: int = 1 << 20
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.roster = Roster(self.queue.database)
        self.tokens = Tokens(self.queue.folder)
        self.stores = Stores(self.roots)
        self.media = MediaViewer(self.roots)
        self.swapper = Swapper(self.queue, self.roots, is_stopping=self.stopping.is_set)
        self.sessions = Sessions(self.queue.folder, self.tokens)


def service_of(request: Request) -> Service:
    """Return the service of a request."""
    service: Service = request.app.state.service
    return service


def is_token_due(request: Request) -> bool:
    """Return whether who asks must say who they are: all but those on this machine itself."""
    return service_of(request).needs_token or not _FORWARDED.isdisjoint(request.headers)


def actor_of(request: Request) -> Actor:
    """Return who asks.

    Raises:
        AccessRefused: No token where one is due, or a wrong one; or a session's request that
            changes something and does not come from a page of ours.
    """
    service = service_of(request)
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret:
        return service.tokens.actor(secret.strip())
    cookie = request.cookies.get(COOKIE)
    if cookie and is_token_due(request):
        actor = service.sessions.actor(cookie)
        if request.method not in _SAFE:
            service.sessions.check_csrf(cookie, request.headers.get(CSRF_HEADER, ""))
        return actor
    if is_token_due(request):
        raise AccessRefused(
            "a token is due, as the header `Authorization: Bearer TOKEN`; an admin of the machine "
            "makes one by: scfae service token add NAME --role viewer"
        )
    return LOCAL


def _requiring(role: Role) -> object:
    def check(actor: Annotated[Actor, Depends(actor_of)]) -> Actor:
        actor.require(role)
        return actor

    return Depends(check)


AService = Annotated[Service, Depends(service_of)]
Viewer = Annotated[Actor, _requiring("viewer")]
Operator = Annotated[Actor, _requiring("operator")]
Admin = Annotated[Actor, _requiring("admin")]
