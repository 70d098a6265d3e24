"""The pages of the service itself: workers, queue, GPUs, disk; trash, tokens, webhooks, audit."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from ..access import ROLES, Actor, Role
from ..context import Admin, AService, Viewer
from ..states import STATES
from ..webhooks import EVENTS
from . import shapes
from .site import is_fragment, render

router = APIRouter(prefix="/system", include_in_schema=False)

TABS: Final[tuple[tuple[str, str, str, Role], ...]] = (
    ("overview", "Overview", "", "viewer"),
    ("trash", "Trash", "/trash", "viewer"),
    ("tokens", "Tokens", "/tokens", "admin"),
    ("webhooks", "Webhooks", "/webhooks", "admin"),
    ("audit", "Audit log", "/audit", "admin"),
)


@router.get("")
def overview(request: Request, service: AService, actor: Viewer) -> HTMLResponse:
    """Return workers, queue, GPUs and disk, or for htmx what of it changes by itself."""
    found = service.system()
    active = {record.id: record for record in service.queue.active()}
    work: dict[str, list[Any]] = {}
    for record in active.values():
        work.setdefault(record.worker or "", []).append(record)
    template = "system_now.html.j2" if is_fragment(request) else "system.html.j2"
    folders = sorted(found.disk.places, key=lambda one: -one.size_bytes)
    return _tab(
        request,
        actor,
        "overview",
        template,
        system=found,
        counts={state: found.counts[state] for state in STATES if found.counts.get(state)},
        work=work,
        folders=folders,
        line=shapes.line,
    )


@router.get("/trash")
def trash(request: Request, service: AService, actor: Viewer) -> HTMLResponse:
    """Return what was deleted and can be put back."""
    return _tab(request, actor, "trash", "system_trash.html.j2", trash=service.trash.view())


@router.get("/tokens")
def tokens(request: Request, service: AService, actor: Admin) -> HTMLResponse:
    """Return whose tokens there are."""
    return _tab(
        request,
        actor,
        "tokens",
        "system_tokens.html.j2",
        tokens=service.tokens.tokens(),
        roles=ROLES,
        needs_token=service.needs_token,
    )


@router.get("/webhooks")
def webhooks(
    request: Request,
    service: AService,
    actor: Admin,
    webhook: Annotated[str | None, Query(max_length=20)] = None,
    cursor: Annotated[str | None, Query(max_length=60)] = None,
) -> HTMLResponse:
    """Return who is told when jobs end, and what became of that; for htmx the latter alone."""
    template = "system_deliveries.html.j2" if is_fragment(request) else "system_webhooks.html.j2"
    return _tab(
        request,
        actor,
        "webhooks",
        template,
        webhooks=[one.view() for one in service.webhooks.webhooks()],
        webhook=webhook,
        cursor=cursor,
        page=service.deliveries.page(webhook=webhook or None, cursor=cursor),
        events=EVENTS,
        allows_private=service.allows_private_webhooks,
    )


@router.get("/audit")
def audit(
    request: Request,
    service: AService,
    actor: Admin,
    q: Annotated[str, Query(max_length=200)] = "",
    cursor: Annotated[str | None, Query(max_length=40)] = None,
) -> HTMLResponse:
    """Return what was changed and refused, or for htmx its table alone."""
    template = "system_audit_table.html.j2" if is_fragment(request) else "system_audit.html.j2"
    page = service.audit.page(q=q, cursor=cursor)
    return _tab(request, actor, "audit", template, q=q, cursor=cursor, page=page)


def _tab(request: Request, actor: Actor, tab: str, template: str, **values: Any) -> HTMLResponse:
    shown = [one for one in TABS if ROLES.index(actor.role) >= ROLES.index(one[3])]
    return render(request, template, actor, here="system", tab=tab, tabs=shown, **values)
