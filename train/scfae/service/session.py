"""Sessions of the pages: a token, exchanged once for a cookie that scripts cannot read.

A cookie says whose token it was made with and until when it holds, and is signed with a key of the
service and the token's hash. So nothing is kept of it: it survives a restart of the server, and
ends with its token.
"""

import hashlib
import hmac
import os
import secrets
import time
from pathlib import Path
from typing import Final

from scfae.store.errors import AccessRefused, ServiceError

from .access import Actor, Tokens

COOKIE: Final = "scfae_session"
CSRF_HEADER: Final = "X-CSRF-Token"
LASTS_S: Final = 7 * 24 * 3600
_KEY_BYTES = 32


class Sessions:
    """The sessions of a service.

    Args:
        folder: The service's folder; the key is in its session.key.
        tokens: Its tokens.
    """

    def __init__(self, folder: Path, tokens: Tokens) -> None:
        self._path = folder / "session.key"
        self._tokens = tokens

    def begin(self, secret: str) -> str:
        """Return a cookie for the owner of a token.

        Raises:
            AccessRefused: The token is nobody's.
        """
        name = self._tokens.actor(secret).name
        until = str(int(time.time()) + LASTS_S)
        return f"{name}|{until}|{self._signature(name, until)}"

    def actor(self, cookie: str) -> Actor:
        """Return whose a cookie is.

        Raises:
            AccessRefused: It was not made here, has run out, or its token was removed.
        """
        name, _, rest = cookie.partition("|")
        until, _, signature = rest.partition("|")
        token = next((one for one in self._tokens.tokens() if one.name == name), None)
        is_ours = token is not None and _are_same(self._signature(name, until), signature)
        if token is None or not is_ours or not until.isdigit() or int(until) < time.time():
            raise AccessRefused("the session has ended: sign in again.")
        return Actor(name=token.name, role=token.role)

    def csrf(self, cookie: str) -> str:
        """Return the word that a page of a session gives back with whatever changes something."""
        return hmac.new(self._key(), f"csrf|{cookie}".encode(), hashlib.sha256).hexdigest()

    def check_csrf(self, cookie: str, given: str) -> None:
        """Check that word.

        Raises:
            AccessRefused: Another page asks in the name of this one.
        """
        if not _are_same(self.csrf(cookie), given):
            raise AccessRefused(
                f"the session takes a {CSRF_HEADER} header with its own word: reload the page."
            )

    def _signature(self, name: str, until: str) -> str:
        hashes = [one.sha256 for one in self._tokens.tokens() if one.name == name]
        text = "|".join(["session", name, until, *hashes])
        return hmac.new(self._key(), text.encode(), hashlib.sha256).hexdigest()

    def _key(self) -> bytes:
        if not self._path.exists():
            # Of two servers that begin at once the first one's key holds.
            made = self._path.with_name(f".{self._path.name}-{secrets.token_hex(4)}")
            made.touch(mode=0o600)
            made.write_bytes(secrets.token_bytes(_KEY_BYTES))
            try:
                os.link(made, self._path)
            except FileExistsError:
                pass
            finally:
                made.unlink()
        key = self._path.read_bytes()
        if len(key) != _KEY_BYTES:
            raise ServiceError(f"{self._path} is damaged: remove it; everybody then signs in anew.")
        return key


def _are_same(ours: str, given: str) -> bool:
    """Compare in constant time; what was given may have any characters."""
    return hmac.compare_digest(ours.encode(), given.encode())
