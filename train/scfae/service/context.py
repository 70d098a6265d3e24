"""What every route needs: the queue, who asks, and whether the server is about to end."""

import threading
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from scfae.store.errors import AccessRefused

from .access import LOCAL, SAFE_METHODS, Actor, Role, Tokens
from .attempts import Attempts
from .audit import Audit, address_of
from .deliveries import Deliveries
from .disk import DiskMeter
from .dry_runs import DryRuns
from .gpus import GpuMeter
from .models import Models
from .predictors import Predictors
from .queue import Queue
from .roots import Roots
from .roster import Roster
from .session import COOKIE, CSRF_HEADER, Sessions
from .store_media import MediaViewer
from .stores import Stores
from .swap import Swapper
from .system import System
from .trash import Trash
from .webhooks import Webhooks

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
        allows_private_webhooks: Whether webhooks may lead to addresses of this network only.
        max_upload_bytes: Of a request with media to predict.
        stopping: Set when the server is about to end; streams end then.
    """

    queue: Queue
    roots: Roots
    needs_token: bool = False
    hosts: frozenset[str] = frozenset({"localhost", "127.0.0.1", "::1"})
    max_body_bytes: int = 1 << 20
    allows_private_webhooks: bool = False
    max_upload_bytes: int = 256 << 20
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.roster = Roster(self.queue.database)
        self.tokens = Tokens(self.queue.folder)
        self.attempts = Attempts()
        self.audit = Audit(self.queue.folder)
        self.webhooks = Webhooks(self.queue.folder, allows_private=self.allows_private_webhooks)
        self.deliveries = Deliveries(self.queue.folder)
        self.trash = Trash(self.queue)
        self.disk = DiskMeter(self.queue.folder)
        self.gpus = GpuMeter.here()
        self.stores = Stores(self.roots)
        self.media = MediaViewer(self.roots)
        self.dry_runs = DryRuns(is_stopping=self.stopping.is_set)
        self.swapper = Swapper(self.queue, self.roots, self.dry_runs)
        self.models = Models(self.queue.folder)
        self.predictors = Predictors(
            self.queue.folder / "predict.log", is_stopping=self.stopping.is_set
        )
        self.sessions = Sessions(self.queue.folder, self.tokens)

    def actor(self, secret: str, *, address: str) -> Actor:
        """Return whose a token is.

        Args:
            secret: The token.
            address: Where it came from.

        Raises:
            AccessRefused: It is nobody's.
            AttemptsExceeded: Too many wrong ones came from there.
        """
        self.attempts.check(address, secret)
        try:
            actor = self.tokens.actor(secret)
        except AccessRefused:
            self.attempts.wrong(address, secret)
            raise
        self.attempts.right(address, secret)
        return actor

    def system(self, *, is_fresh: bool = False) -> System:
        """Return queue, workers, disk and GPUs.

        Args:
            is_fresh: Measure the disk again, even if that was done a moment ago.
        """
        workers = self.roster.workers()
        return System(
            counts=self.queue.counts(),
            oldest_wait_s=self.queue.oldest_wait_s(),
            num_slots=sum(worker.num_slots for worker in workers),
            workers=tuple(workers),
            disk=self.disk.measure(list(self.stores.paths().values()), is_fresh=is_fresh),
            gpus=self.gpus.gpus(),
        )


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
        AttemptsExceeded: Too many wrong ones came from the same address.
    """
    service = service_of(request)
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and secret:
        return _known(request, service.actor(secret.strip(), address=address_of(request.scope)))
    cookie = request.cookies.get(COOKIE)
    if cookie and is_token_due(request):
        actor = _known(request, service.sessions.actor(cookie))
        if request.method not in SAFE_METHODS:
            service.sessions.check_csrf(cookie, request.headers.get(CSRF_HEADER, ""))
        return actor
    if is_token_due(request):
        raise AccessRefused(
            "a token is due: in $SCFAE_TOKEN for the commands of scfae, else as the header "
            "`Authorization: Bearer TOKEN`; an admin of the machine makes one by: "
            "scfae service token add FOLDER NAME --role viewer"
        )
    return _known(request, LOCAL)


def _known(request: Request, actor: Actor) -> Actor:
    request.state.actor = actor  # for the audit log
    return actor


def _requiring(role: Role) -> object:
    def check(actor: Annotated[Actor, Depends(actor_of)]) -> Actor:
        actor.require(role)
        return actor

    return Depends(check)


AService = Annotated[Service, Depends(service_of)]
Viewer = Annotated[Actor, _requiring("viewer")]
Operator = Annotated[Actor, _requiring("operator")]
Admin = Annotated[Actor, _requiring("admin")]
