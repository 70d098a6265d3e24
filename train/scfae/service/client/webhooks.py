"""Calls about webhooks: who is told when jobs end, and what became of that."""

from collections.abc import Sequence
from typing import Any

from ..deliveries import Delivery, DeliveryPage
from ..webhooks import EVENTS, HookEvent, Webhook, WebhookView
from .connection import Connection, part


class WebhookCalls(Connection):
    """Of /webhooks."""

    def webhooks(self) -> list[WebhookView]:
        """Return the webhooks, without their secrets."""
        return self._read_all(WebhookView, "/webhooks")

    def add_webhook(self, url: str, events: Sequence[HookEvent] = EVENTS) -> Webhook:
        """Make a webhook; what is returned alone has its secret.

        Args:
            url: https or http.
            events: Which are told.

        Raises:
            ConfigError: The address may not be told.
        """
        body = {"url": url, "events": list(events)}
        return self._read(Webhook, "POST", "/webhooks", json=body)

    def remove_webhook(self, hook: str) -> None:
        """Forget a webhook; what it was still to be told is given up."""
        self._send("DELETE", f"/webhooks/{part(hook)}")

    def ping_webhook(self, hook: str) -> Delivery:
        """Have something posted to a webhook, to try it."""
        return self._read(Delivery, "POST", f"/webhooks/{part(hook)}/ping")

    def deliveries(
        self, *, webhook: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> DeliveryPage:
        """Return what webhooks were told, and are still to be told, the newest first."""
        given = {"webhook": webhook, "cursor": cursor}
        params: dict[str, Any] = {name: value for name, value in given.items() if value}
        return self._read(
            DeliveryPage, "GET", "/webhooks/deliveries", params=params | {"limit": limit}
        )

    def retry_delivery(self, delivery: str) -> Delivery:
        """Have a delivery tried again that was given up or waits."""
        return self._read(Delivery, "POST", f"/webhooks/deliveries/{part(delivery)}/retry")
