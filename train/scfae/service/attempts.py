"""Wrong tokens: after some from one address, tokens from there are not looked at for a while.

A token has 32 random bytes, so guessing it is hopeless anyway; this keeps guesses from costing much
and makes them seen. Tokens that were right from the same address go on, since behind a proxy
everybody has one address.
"""

import hashlib
import ipaddress
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from scfae.store.errors import AttemptsExceeded

MOST_WRONG: Final = 10
WINDOW_S: Final = 60.0
PAUSE_S: Final = 60.0
_MOST_ADDRESSES: Final = 10_000
_MOST_KNOWN: Final = 100


@dataclass(slots=True)
class _Address:
    wrong: deque[float] = field(default_factory=lambda: deque(maxlen=MOST_WRONG))
    until: float = 0.0
    known: OrderedDict[str, None] = field(default_factory=OrderedDict)


class Attempts:
    """Counts wrong tokens by address, in memory: a restart forgives.

    Args:
        now: The clock, in seconds.
    """

    def __init__(self, *, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._addresses: OrderedDict[str, _Address] = OrderedDict()

    def check(self, address: str, secret: str) -> None:
        """Check that a token from an address may be looked at.

        Raises:
            AttemptsExceeded: Too many wrong ones came from there.
        """
        with self._lock:
            left_s = self._left_s(address)
            one = self._addresses.get(_network(address))
            if left_s <= 0 or (one is not None and _hash(secret) in one.known):
                return
        raise AttemptsExceeded(
            f"{MOST_WRONG} wrong tokens came from {address}; try again in {left_s:.0f} s."
        )

    def wrong(self, address: str, secret: str) -> None:
        """Count a wrong token."""
        with self._lock:
            one = self._address(address)
            now = self._now()
            one.known.pop(_hash(secret), None)
            one.wrong.append(now)
            if len(one.wrong) == MOST_WRONG and now - one.wrong[0] <= WINDOW_S:
                one.until = now + PAUSE_S

    def right(self, address: str, secret: str) -> None:
        """Remember that a token was right."""
        with self._lock:
            known = self._address(address).known
            known[_hash(secret)] = None
            known.move_to_end(_hash(secret))
            while len(known) > _MOST_KNOWN:
                known.popitem(last=False)

    def left_s(self, address: str) -> float:
        """Return how long new tokens from an address are still refused, in seconds."""
        with self._lock:
            return self._left_s(address)

    def _left_s(self, address: str) -> float:
        one = self._addresses.get(_network(address))
        return 0.0 if one is None else max(0.0, one.until - self._now())

    def _address(self, address: str) -> _Address:
        key = _network(address)
        one = self._addresses.setdefault(key, _Address())
        self._addresses.move_to_end(key)
        while len(self._addresses) > _MOST_ADDRESSES:
            self._addresses.popitem(last=False)
        return one


def _network(address: str) -> str:
    """Return what counts as one address: of IPv6, a network that one customer gets."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 4:
        return address
    return str(ipaddress.ip_network((found, 64), strict=False))


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
