"""Routes of the service itself: /api/v1/system, /trash, /tokens and /audit."""

from typing import Annotated

from fastapi import APIRouter, Query

from .access import NewToken, TokenAsk, TokenView
from .audit import AuditPage
from .context import Admin, AService, Viewer
from .system import System
from .trash import Emptied, TrashView
from .views import JobView

router = APIRouter()


@router.get("/system", tags=["system"])
def system(service: AService, actor: Viewer, fresh: bool = False) -> System:
    """Return queue, workers, disk and GPUs; disk figures are up to a minute old unless `fresh`."""
    return service.system(is_fresh=fresh)


@router.get("/trash", tags=["system"])
def trash(service: AService, actor: Viewer) -> TrashView:
    """Return what is in the trash and how much that takes."""
    return service.trash.view()


@router.post("/trash/empty", tags=["system"])
def empty(service: AService, actor: Admin) -> Emptied:
    """Remove what is in the trash for good; say how many bytes that freed."""
    return service.trash.empty()


@router.delete("/trash/{entry}", tags=["system"])
def remove(service: AService, actor: Admin, entry: str) -> Emptied:
    """Remove one job in the trash for good; say how many bytes that freed."""
    return service.trash.empty(entry)


@router.post("/trash/{entry}/restore", tags=["system"])
def restore(service: AService, actor: Admin, entry: str) -> JobView:
    """Put a job back that was deleted."""
    record = service.trash.restore(entry)
    return JobView.of(record, service.queue.job(record.id))


@router.get("/tokens", tags=["access"])
def tokens(service: AService, actor: Admin) -> tuple[TokenView, ...]:
    """Return whose tokens there are."""
    return tuple(
        TokenView(name=one.name, role=one.role, made_s=one.made_s)
        for one in service.tokens.tokens()
    )


@router.post("/tokens", tags=["access"], status_code=201)
def add_token(service: AService, actor: Admin, body: TokenAsk) -> NewToken:
    """Make a token; this answer alone has it."""
    secret = service.tokens.add(body.name, body.role)
    return NewToken(name=body.name, role=body.role, token=secret)


@router.delete("/tokens/{name}", tags=["access"], status_code=204)
def remove_token(service: AService, actor: Admin, name: str) -> None:
    """Forget a token; it is refused from now on."""
    service.tokens.remove(name)


@router.get("/audit", tags=["system"])
def audit(
    service: AService,
    actor: Admin,
    q: Annotated[str, Query(max_length=200)] = "",
    cursor: Annotated[str | None, Query(max_length=40)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> AuditPage:
    """Return what was changed and refused, the newest first; `q` is words to be found in a line."""
    return service.audit.page(q=q, cursor=cursor, limit=limit)
