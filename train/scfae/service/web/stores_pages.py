"""The pages of stores: which there are, what is in one, its samples, another backbone for it."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from scfae.extract import list_encoders, open_names
from scfae.store.errors import ScfaeError

from ..access import ROLES, Actor
from ..context import AService, Viewer
from ..store_search import page
from ..store_summary import summary
from ..stores import OpenStore
from ..stores_api import view
from ..summary_views import StoreSummary
from ..swap import Swap, SwapAsk, is_of
from . import shapes
from .sample_view import sample_view
from .site import is_fragment, render

router = APIRouter(prefix="/stores", include_in_schema=False)

TABS: Final = (
    ("overview", "Overview", ""),
    ("samples", "Samples", "/samples"),
    ("swap", "Swap backbone", "/swap"),
)
_PAGE: Final = 50


@router.get("")
def stores(request: Request, service: AService, actor: Viewer) -> HTMLResponse:
    """Return the list of stores."""
    found = [view(service.stores, one, path) for one, path in service.stores.paths().items()]
    return render(request, "stores.html.j2", actor, here="stores", stores=found)


@router.get("/{store_id}")
def overview(request: Request, service: AService, actor: Viewer, store_id: str) -> HTMLResponse:
    """Return what is in a store, and what looks wrong."""
    opened = service.stores.open(store_id)
    found = summary(opened)
    return _tab(
        request, actor, "overview", opened, found=found, sentence=_sentence(found), shapes=shapes
    )


@router.get("/{store_id}/samples")
def samples(
    request: Request,
    service: AService,
    actor: Viewer,
    store_id: str,
    q: Annotated[str, Query(max_length=500)] = "",
    cursor: Annotated[str | None, Query(max_length=20)] = None,
) -> HTMLResponse:
    """Return a page of samples, or for htmx its table alone."""
    opened = service.stores.open(store_id)
    error, found = "", None
    try:
        found = page(opened, q=q, cursor=cursor, limit=_PAGE)
    except ScfaeError as wrong:
        error = str(wrong)
    template = "store_samples_table.html.j2" if is_fragment(request) else "store_samples.html.j2"
    return _tab(
        request,
        actor,
        "samples",
        opened,
        template=template,
        q=q,
        cursor=cursor,
        page=found,
        error=error,
        columns=tuple(opened.readable),
        labels=opened.store.samples.label_names,
    )


@router.get("/{store_id}/samples/{key:path}")
def one_sample(
    request: Request, service: AService, actor: Viewer, store_id: str, key: str
) -> HTMLResponse:
    """Return a sample: its labels, what it looks and sounds like, and its features over time."""
    opened = service.stores.open(store_id)
    found = sample_view(opened, service.media, key)
    return _tab(request, actor, "samples", opened, template="store_sample.html.j2", found=found)


@router.get("/{store_id}/swap")
def swap(
    request: Request,
    service: AService,
    actor: Viewer,
    store_id: str,
    column: Annotated[str, Query(max_length=200)] = "",
    encoder: Annotated[str, Query(max_length=200)] = "",
    media: Annotated[str, Query(max_length=1000)] = "",
    device: Annotated[str, Query(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto",
) -> HTMLResponse:
    """Return the form, with what was found if it was filled in; for htmx that alone."""
    opened = service.stores.open(store_id)
    error = ""
    found: Swap | None = None
    if column and encoder and _may(actor):
        ask = SwapAsk(column=column, encoder=encoder.strip(), media=media or None, device=device)
        try:
            found = service.swapper.swap(opened, ask)
        except ScfaeError as wrong:
            error = str(wrong)
    template = "store_plan.html.j2" if is_fragment(request) else "store_swap.html.j2"
    return _tab(
        request,
        actor,
        "swap",
        opened,
        template=template,
        columns=list(opened.columns.values()),
        column=column,
        encoder=encoder,
        media=media,
        device=device,
        encoders=_choices(opened),
        open_names=open_names(),
        found=found,
        error=error,
    )


@dataclass(frozen=True)
class Choice:
    """An encoder that could stand beside a column.

    Attributes:
        encoder: As `scfae encoders` tells.
        columns: Those that it could stand beside.
    """

    encoder: Any
    columns: tuple[str, ...]


def _choices(opened: OpenStore) -> list[Choice]:
    found = []
    for encoder in list_encoders():
        fit = [
            name
            for name, column in opened.columns.items()
            if is_of(encoder.modality, column.info.modality)
        ]
        if fit:
            found.append(Choice(encoder, tuple(fit)))
    return sorted(found, key=lambda one: (not one.encoder.is_available, one.encoder.name))


def _tab(
    request: Request,
    actor: Actor,
    tab: str,
    opened: OpenStore,
    *,
    template: str = "store_overview.html.j2",
    **values: Any,
) -> HTMLResponse:
    return render(
        request,
        template,
        actor,
        here="stores",
        tab=tab,
        tabs=TABS,
        store=opened,
        title=PurePath(opened.path).name,
        **values,
    )


def _may(actor: Actor) -> bool:
    return ROLES.index(actor.role) >= ROLES.index("operator")


def _sentence(found: StoreSummary) -> str:
    """Return what a store is in one sentence."""
    samples = f"{found.num_samples:,} samples" if found.num_samples != 1 else "One sample"
    columns = f"{len(found.columns)} columns" if len(found.columns) != 1 else "one column"
    whole = sum(not one.num_pending and one.error is None for one in found.columns)
    state = "all whole" if whole == len(found.columns) else f"{whole} of them whole"
    if not found.columns:
        return f"{samples}, and no columns yet."
    if len(found.columns) == 1:
        state = "whole" if whole else "not whole"
    return f"{samples} with {columns}, {state}."
