"""Who may do what: roles, and tokens of which only the hash is kept."""

import hashlib
import hmac
import re
import secrets
import time
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from scfae.store.atomic import write_atomic
from scfae.store.config import Frozen
from scfae.store.errors import AccessRefused, ConfigError, ServiceError

Role = Literal["viewer", "operator", "admin"]
"""viewer: reads; operator: submits, cancels, edits; admin: deletes, drains."""
ROLES: Final[tuple[Role, ...]] = ("viewer", "operator", "admin")
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Of requests that change nothing."""
_PREFIX = "scfae_"
_NAME = re.compile(r"^[\w.@-]{1,60}$")


class Actor(Frozen):
    """Who asks.

    Attributes:
        name: Of the token, or `local`.
        role: What it may do.
    """

    name: str
    role: Role

    def require(self, role: Role) -> None:
        """Check the role.

        Raises:
            AccessRefused: It is too low; names both.
        """
        if ROLES.index(self.role) < ROLES.index(role):
            raise AccessRefused(f"{self.name} is {self.role}; this takes {role}.")


LOCAL: Final = Actor(name="local", role="admin")
"""Whoever reaches a service that listens on the loopback address only."""


class Token(Frozen):
    """A token, without what it takes to use it.

    Attributes:
        name: Whose it is.
        role: What it may do.
        sha256: Of the token, which is 32 random bytes, so that it needs no salt.
        made_s: When, in seconds since 1970.
    """

    name: str
    role: Role
    sha256: str
    made_s: float


class TokenView(Frozen):
    """A token, without what it takes to use it.

    Attributes:
        name: Whose it is.
        role: What it may do.
        made_s: When it was made, in seconds since 1970.
    """

    name: str
    role: Role
    made_s: float


class TokenAsk(Frozen):
    """A token as it is asked for.

    Attributes:
        name: Whose it is.
        role: What it may do.
    """

    name: str = Field(min_length=1, max_length=60)
    role: Role = "viewer"


class NewToken(Frozen):
    """A token that was just made.

    Attributes:
        name: Whose it is.
        role: What it may do.
        token: Itself; it is shown this once and kept nowhere.
    """

    name: str
    role: Role
    token: str


class _TokenFile(Frozen):
    version: Literal[1] = 1
    tokens: tuple[Token, ...] = ()


class Tokens:
    """The tokens of a service.

    Args:
        folder: The service's folder; they are in its tokens.json.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "tokens.json"

    def tokens(self) -> tuple[Token, ...]:
        """Return every token.

        Raises:
            ServiceError: The file is damaged.
        """
        try:
            return _TokenFile.model_validate_json(self._path.read_bytes()).tokens
        except FileNotFoundError:
            return ()
        except ValidationError as error:
            raise ServiceError(f"{self._path} cannot be read: {error}") from None

    def add(self, name: str, role: Role) -> str:
        """Make a token; what is returned is shown once and kept nowhere.

        Raises:
            ConfigError: There is one of this name, or the name is none.
        """
        if not _NAME.match(name):
            raise ConfigError(f"name = {name!r}: letters, digits and . _ - @ only, 60 at most.")
        before = self.tokens()
        if any(one.name == name for one in before):
            raise ConfigError(f"there is a token {name} already: remove it, or take another name.")
        secret = _PREFIX + secrets.token_urlsafe(32)
        made = Token(name=name, role=role, sha256=_hash(secret), made_s=time.time())
        self._write((*before, made))
        return secret

    def remove(self, name: str) -> None:
        """Forget a token; it is refused from now on.

        Raises:
            ConfigError: There is none of this name.
        """
        before = self.tokens()
        kept = tuple(one for one in before if one.name != name)
        if len(kept) == len(before):
            raise ConfigError(f"there is no token {name}.")
        self._write(kept)

    def actor(self, secret: str) -> Actor:
        """Return whose a token is.

        Raises:
            AccessRefused: It is nobody's.
        """
        found = _hash(secret)
        for one in self.tokens():
            if hmac.compare_digest(one.sha256, found):
                return Actor(name=one.name, role=one.role)
        raise AccessRefused("the token is unknown: it was removed, or is another service's.")

    def _write(self, tokens: tuple[Token, ...]) -> None:
        write_atomic(self._path, _TokenFile(tokens=tokens).model_dump_json(indent=2).encode())
        self._path.chmod(0o600)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
