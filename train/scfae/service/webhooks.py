"""Webhooks: addresses that are told when a job has ended, and who may be told.

Secrets must be known to sign with, so webhooks.json is for its owner only, and no answer but the
one that makes a webhook has its secret.
"""

import hashlib
import hmac
import ipaddress
import json
import secrets
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import ValidationError

from scfae.store.atomic import write_atomic
from scfae.store.config import Frozen
from scfae.store.errors import ConfigError, JobNotFound, ServiceError

HookEvent = Literal["job.finished", "job.failed", "job.cancelled", "job.interrupted"]
EVENTS: Final[tuple[HookEvent, ...]] = (
    "job.finished",
    "job.failed",
    "job.cancelled",
    "job.interrupted",
)
PING: Final = "ping"
_PREFIX: Final = "whsec_"
_MOST: Final = 50
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class WebhookView(Frozen):
    """A webhook, without its secret.

    Attributes:
        id: Of the webhook.
        url: Where events are posted.
        events: Which ones.
        actor: Who made it.
        made_s: When, in seconds since 1970; events from then on are told.
    """

    id: str
    url: str
    events: tuple[HookEvent, ...]
    actor: str
    made_s: float


class Webhook(WebhookView):
    """A webhook.

    Attributes:
        secret: What its posts are signed with.
    """

    secret: str

    def view(self) -> WebhookView:
        """Return it without its secret."""
        return WebhookView(**self.model_dump(exclude={"secret"}))


class _WebhookFile(Frozen):
    version: Literal[1] = 1
    webhooks: tuple[Webhook, ...] = ()


class Webhooks:
    """The webhooks of a service.

    Args:
        folder: The service's folder; they are in its webhooks.json.
        allows_private: Whether addresses that only this network knows may be told.
    """

    def __init__(self, folder: Path, *, allows_private: bool = False) -> None:
        self.allows_private = allows_private
        self._path = folder / "webhooks.json"
        self._lock = threading.Lock()

    def webhooks(self) -> tuple[Webhook, ...]:
        """Return every webhook.

        Raises:
            ServiceError: The file is damaged.
        """
        try:
            return _WebhookFile.model_validate_json(self._path.read_bytes()).webhooks
        except FileNotFoundError:
            return ()
        except ValidationError as error:
            raise ServiceError(f"{self._path} cannot be read: {error}") from None

    def get(self, hook_id: str) -> Webhook:
        """Return a webhook.

        Raises:
            JobNotFound: There is none of this id.
        """
        for one in self.webhooks():
            if one.id == hook_id:
                return one
        raise JobNotFound(f"there is no webhook {hook_id}.")

    def add(self, url: str, events: Sequence[HookEvent], *, actor: str) -> Webhook:
        """Make a webhook.

        Args:
            url: http or https.
            events: Which are told; all if empty.
            actor: Who asks.

        Raises:
            ConfigError: The address is none, or may not be told; or there are too many.
        """
        host, port = host_of(url)
        try:
            addresses_of(host, port, allows_private=self.allows_private)
        except (OSError, UnicodeError) as error:  # the latter of what cannot be a name
            raise ConfigError(f"url = {url!r}: {host} is not found ({error}).") from None
        made = Webhook(
            id=secrets.token_hex(6),
            url=url,
            events=tuple(dict.fromkeys(events)) or EVENTS,
            actor=actor,
            made_s=time.time(),
            secret=_PREFIX + secrets.token_urlsafe(32),
        )
        with self._lock:
            before = self.webhooks()
            if len(before) >= _MOST:
                raise ConfigError(f"there are {_MOST} webhooks already: remove one first.")
            self._write((*before, made))
        return made

    def remove(self, hook_id: str) -> None:
        """Forget a webhook; nothing more is told to it.

        Raises:
            JobNotFound: There is none of this id.
        """
        with self._lock:
            gone = self.get(hook_id)
            self._write(tuple(one for one in self.webhooks() if one.id != gone.id))

    def _write(self, webhooks: tuple[Webhook, ...]) -> None:
        text = _WebhookFile(webhooks=webhooks).model_dump_json(indent=2)
        if not self._path.exists():
            self._path.touch(mode=0o600)
        write_atomic(self._path, text.encode())
        self._path.chmod(0o600)


def signature(secret: str, body: bytes, time_s: int) -> str:
    """Return the value of the header `X-Scfae-Signature`: `t=SECONDS,v1=HEX`.

    HEX is the HMAC-SHA256 of `SECONDS.BODY`; so a post that somebody caught cannot be sent again
    later, if the receiver looks at the time.
    """
    found = hmac.new(secret.encode(), f"{time_s}.".encode() + body, hashlib.sha256)
    return f"t={time_s},v1={found.hexdigest()}"


def body_of(event: str, delivery: str, time_s: float, job: Mapping[str, Any] | None) -> str:
    """Return the JSON that is posted."""
    return json.dumps({"id": delivery, "event": event, "time_s": time_s, "job": job})


def host_of(url: str) -> tuple[str, int]:
    """Return host and port of an address.

    Raises:
        ConfigError: It is none of http or https, or has a name or password in it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigError(f"url = {url!r}: {error}.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError(f"url = {url!r}: it must begin with https:// or http://.")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("url: no name or password in it; posts are signed.")
    return host, port or (443 if parts.scheme == "https" else 80)


def addresses_of(host: str, port: int, *, allows_private: bool) -> list[str]:
    """Return the addresses of a host, all of which may be told.

    Raises:
        ConfigError: One of them is private, loopback or link-local.
        OSError: The host is not known.
    """
    found = [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    for address in found:
        if not allows_private and not is_public(address):
            raise ConfigError(
                f"url: {host} is {address}, which only this network knows; "
                "--allow-private-webhooks allows it."
            )
    return found


def is_public(address: str) -> bool:
    """Return whether an address is one of the Internet: no private, loopback or link-local one."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inside = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inside = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inside is not None:
            found = inside
    return found.is_global and not found.is_multicast
