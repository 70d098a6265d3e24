"""Routes of webhooks, for admins: /api/v1/webhooks."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from scfae.store.config import Frozen

from .context import Admin, AService
from .deliveries import Delivery, DeliveryPage
from .webhooks import EVENTS, HookEvent, Webhook, WebhookView

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


class WebhookAsk(Frozen):
    """A webhook as it is asked for.

    Attributes:
        url: https or http; private addresses are refused unless the service allows them.
        events: Which are told.
    """

    url: str = Field(min_length=1, max_length=2000)
    events: tuple[HookEvent, ...] = EVENTS


@router.get("")
def webhooks(service: AService, actor: Admin) -> tuple[WebhookView, ...]:
    """Return the webhooks, without their secrets."""
    return tuple(one.view() for one in service.webhooks.webhooks())


@router.post("", status_code=201)
def add(service: AService, actor: Admin, body: WebhookAsk) -> Webhook:
    """Make a webhook; this answer alone has its secret.

    Each event is posted as JSON, with the header `X-Scfae-Signature: t=SECONDS,v1=HEX`, where HEX
    is the HMAC-SHA256 of `SECONDS.BODY` by the secret.
    """
    return service.webhooks.add(body.url, body.events, actor=actor.name)


@router.delete("/{hook_id}", status_code=204)
def remove(service: AService, actor: Admin, hook_id: str) -> None:
    """Forget a webhook; what it was still to be told is given up."""
    service.webhooks.remove(hook_id)


@router.post("/{hook_id}/ping", status_code=202)
def ping(service: AService, actor: Admin, hook_id: str) -> Delivery:
    """Have something posted to a webhook, to try it; see the log for what became of it."""
    return service.deliveries.ping(service.webhooks.get(hook_id))


@router.get("/deliveries")
def deliveries(
    service: AService,
    actor: Admin,
    webhook: Annotated[str | None, Query(max_length=20)] = None,
    cursor: Annotated[str | None, Query(max_length=60)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> DeliveryPage:
    """Return what webhooks were told, and are still to be told, the newest first."""
    return service.deliveries.page(webhook=webhook, cursor=cursor, limit=limit)


@router.post("/deliveries/{delivery}/retry", status_code=202)
def retry(service: AService, actor: Admin, delivery: str) -> Delivery:
    """Have a delivery tried again that was given up or waits."""
    return service.deliveries.retry(delivery)
