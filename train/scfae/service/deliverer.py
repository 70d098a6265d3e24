"""The thread of a server that posts what webhooks are to be told."""

import fcntl
import logging
import sqlite3
import threading
import time
from typing import Final

import httpx

from scfae.store.errors import ConfigError, JobNotFound, ScfaeError

from .deliveries import Deliveries, Delivery
from .queue import Queue
from .webhooks import Webhooks, addresses_of, host_of, signature

logger = logging.getLogger("scfae.service.webhooks")

POLL_S: Final = 1.0
TIMEOUT_S: Final = 10.0
FORGET_EVERY_S: Final = 3600.0


class Deliverer:
    """Takes what has happened from the queue and posts it; one server of a folder at a time does.

    Args:
        queue: The jobs.
        webhooks: Who is told.
        deliveries: What is told.
        stopping: Set when the server is about to end.
    """

    def __init__(
        self,
        queue: Queue,
        webhooks: Webhooks,
        deliveries: Deliveries,
        *,
        stopping: threading.Event,
    ) -> None:
        self._queue = queue
        self._webhooks = webhooks
        self._deliveries = deliveries
        self._stopping = stopping
        self._forgot_s = 0.0

    def start(self) -> threading.Thread:
        """Start the thread; a post that it is in does not keep the server up."""
        thread = threading.Thread(target=self.run, name="webhooks", daemon=True)
        thread.start()
        return thread

    def run(self) -> None:
        """Deliver until the server ends."""
        with open(self._queue.folder / "webhooks.lock", "a") as file:
            while not self._stopping.wait(POLL_S):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue  # another server of this folder does it
                try:
                    self.step()
                except (ScfaeError, sqlite3.Error, OSError):
                    logger.exception("webhooks")  # what is to be told stays and is told later

    def step(self) -> None:
        """Look once at what has happened, and post what is due."""
        self._deliveries.collect(self._queue, self._webhooks.webhooks())
        if time.monotonic() - self._forgot_s > FORGET_EVERY_S:
            self._forgot_s = time.monotonic()
            self._deliveries.forget_old()
        held: set[str] = set()
        for delivery, body in self._deliveries.due():
            if self._stopping.is_set():
                return
            if delivery.webhook not in held and not self._deliver(delivery, body):
                held.add(delivery.webhook)

    def _deliver(self, delivery: Delivery, body: str) -> bool:
        try:
            webhook = self._webhooks.get(delivery.webhook)
        except JobNotFound:
            self._deliveries.give_up(delivery, "its webhook was removed")
            return True
        try:
            status = post(
                webhook.url,
                body.encode(),
                secret=webhook.secret,
                event=delivery.event,
                delivery=delivery.id,
                allows_private=self._webhooks.allows_private,
            )
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError, ConfigError) as error:
            self._deliveries.failed(delivery, None, f"{type(error).__name__}: {error}"[:300])
            return False
        if 200 <= status < 300:
            self._deliveries.delivered(delivery, status)
            return True
        moved = "; it leads elsewhere, which is not followed" if 300 <= status < 400 else ""
        self._deliveries.failed(delivery, status, f"it answered with status {status}{moved}")
        return False


def post(
    url: str, body: bytes, *, secret: str, event: str, delivery: str, allows_private: bool
) -> int:
    """Post to a webhook; return the status of the answer.

    The host's addresses are looked up and judged here, and one of them is connected to: a name that
    leads elsewhere a moment later does not help anybody. No redirect and no proxy is followed.

    Raises:
        ConfigError: The address may not be told.
        OSError: The host is not known.
        httpx.HTTPError: There is no answer.
    """
    host, port = host_of(url)
    now = int(time.time())
    there = httpx.URL(url)
    headers = {
        "Host": there.netloc.decode("ascii"),
        "Content-Type": "application/json",
        "User-Agent": "scfae",
        "X-Scfae-Event": event,
        "X-Scfae-Delivery": delivery,
        "X-Scfae-Signature": signature(secret, body, now),
    }
    *others, last = addresses_of(host, port, allows_private=allows_private)
    for address in others:
        try:
            return _post_to(there.copy_with(host=address), body, headers, host)
        except httpx.ConnectError:
            continue  # a host may have addresses of a kind that this one has not
    return _post_to(there.copy_with(host=last), body, headers, host)


def _post_to(url: httpx.URL, body: bytes, headers: dict[str, str], host: str) -> int:
    with (
        httpx.Client(timeout=TIMEOUT_S, trust_env=False, follow_redirects=False) as client,
        client.stream(
            "POST",
            url,
            content=body,
            headers=headers,
            extensions={"sni_hostname": host},  # whose certificate is checked
        ) as answer,
    ):
        return answer.status_code
