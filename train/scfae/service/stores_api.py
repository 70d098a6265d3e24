"""Routes of feature stores: /api/v1/stores."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query

from scfae.store.errors import ScfaeError

from .context import AService, Operator, Viewer
from .store_media import Medium
from .store_sample import sample
from .store_search import SamplePage, page, place_of
from .store_summary import summary
from .store_views import SampleDetail, StoreView
from .stores import Stores
from .summary_views import StoreSummary
from .swap import Swap, SwapAsk

router = APIRouter(prefix="/stores", tags=["stores"])


@router.get("")
def stores(service: AService, actor: Viewer) -> tuple[StoreView, ...]:
    """Return the stores under the service's folders."""
    return tuple(view(service.stores, one, path) for one, path in service.stores.paths().items())


@router.get("/{store_id}")
def detail(service: AService, actor: Viewer, store_id: str) -> StoreSummary:
    """Return what is in a store, and what looks wrong."""
    return summary(service.stores.open(store_id))


@router.get("/{store_id}/samples")
def samples(
    service: AService,
    actor: Viewer,
    store_id: str,
    q: Annotated[str, Query(max_length=500)] = "",
    cursor: Annotated[str | None, Query(max_length=20)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> SamplePage:
    """Return a page of samples.

    `q` is words that must all be true: `LABEL=VALUE`, `split:NAME`, `group:NAME`, `has:COLUMN`,
    `missing:COLUMN`, `ok:COLUMN`, `partial:COLUMN`, `failed:COLUMN`, or a part of the id.
    """
    return page(service.stores.open(store_id), q=q, cursor=cursor, limit=limit)


@router.get("/{store_id}/samples/{key:path}")
def one_sample(
    service: AService,
    actor: Viewer,
    store_id: str,
    key: str,
    maps: Annotated[str | None, Query(max_length=2000, description="columns, with commas")] = None,
    media: bool = True,
) -> SampleDetail:
    """Return a sample: its rows as maps of at most 200 x 64, and its media for people."""
    opened = service.stores.open(store_id)
    names = None if maps is None else [name for name in maps.split(",") if name]
    found = sample(opened, key, maps=names)
    shown: tuple[Medium, ...] = ()
    if media and found.media:
        shown = service.media.media(opened, place_of(opened, key), found.media)
    return SampleDetail(**dict(found), shown=shown)


@router.get("/{store_id}/swap")
def swap(
    service: AService,
    actor: Operator,
    store_id: str,
    column: Annotated[str, Query(max_length=200)],
    encoder: Annotated[str, Query(max_length=200)],
    media: Annotated[str | None, Query(max_length=1000)] = None,
    device: Annotated[str, Query(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto",
) -> Swap:
    """Return what another encoder would take beside a column, and the job that extracts it.

    It loads the encoder and decodes a few files, so it takes a while; nothing is submitted.
    """
    ask = SwapAsk(column=column, encoder=encoder, media=media or None, device=device)
    return service.swapper.swap(service.stores.open(store_id), ask)


def view(stores: Stores, one: str, path: Path) -> StoreView:
    """Return a store as a line of a list; what is wrong with it is in the line."""
    try:
        opened = stores.open(one)
        table = opened.store.samples
        return StoreView(
            id=one,
            path=str(path),
            num_samples=len(table),
            size_bytes=opened.size_bytes,
            labels=tuple(table.label_names),
            columns={
                name: {
                    "modality": column.info.modality,
                    "dim": column.info.dim,
                    "rows_per_second": column.info.rows_per_second,
                    "encoder": column.info.encoder,
                }
                for name, column in opened.columns.items()
            },
        )
    except (ScfaeError, OSError) as error:
        return StoreView(id=one, path=str(path), error=str(error))
