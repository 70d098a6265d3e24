"""Questions to a service and its answers: as models, or as the errors that they were there."""

import os
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from scfae.store.errors import ConfigError, ServiceError, ServiceUnreachable, named_error

DEFAULT_URL = "http://127.0.0.1:8712"
URL_VARIABLE, TOKEN_VARIABLE = "SCFAE_SERVICE", "SCFAE_TOKEN"
_PREFIX = "urn:scfae:"
_API = "/api/v1"

T = TypeVar("T", bound=BaseModel)
A = TypeVar("A")


class Connection:
    """What all calls of a client share; see `Client`."""

    def __init__(
        self, url: str | None = None, *, token: str | None = None, timeout_s: float = 60.0
    ) -> None:
        self.url = (url or os.environ.get(URL_VARIABLE) or DEFAULT_URL).rstrip("/")
        if not self.url.lower().startswith(("http://", "https://")):
            raise ConfigError(
                f"--url or ${URL_VARIABLE} = {self.url!r}: it must begin with http:// or https://."
            )
        secret = token or os.environ.get(TOKEN_VARIABLE)
        if secret and not (secret.isascii() and secret.isprintable()):
            raise ConfigError(
                f"${TOKEN_VARIABLE}: a token has letters, digits, - and _ only; this has others."
            )
        headers = {"Authorization": f"Bearer {secret}"} if secret else {}
        try:
            self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s)
        except httpx.InvalidURL as error:
            raise ConfigError(f"--url {self.url}: {error}.") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def _stream(
        self, path: str, headers: dict[str, str] | None = None
    ) -> AbstractContextManager[httpx.Response]:
        """Return an answer that is read as it comes."""
        return self._http.stream("GET", f"{_API}{path}", headers=headers)

    def _read(self, kind: type[T], method: str, path: str, **others: Any) -> T:
        """Return what a service answers."""
        return self._as(TypeAdapter(kind), self._send(method, path, **others))

    def _read_all(self, kind: type[T], path: str) -> list[T]:
        """Return the list that a service answers with."""
        kinds: TypeAdapter[list[T]] = TypeAdapter(list[kind])  # type: ignore[valid-type]
        return self._as(kinds, self._send("GET", path))

    def _as(self, kind: TypeAdapter[A], answer: httpx.Response) -> A:
        try:
            return kind.validate_json(answer.content)
        except ValidationError:
            raise ServiceUnreachable(
                f"what answers at {self.url} is not this service, or one of another version."
            ) from None

    def _send(self, method: str, path: str, **others: Any) -> httpx.Response:
        """Ask, and return the answer if it is no error."""
        try:
            answer = self._http.request(method, f"{_API}{path}", **others)
        except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ServiceUnreachable(
                f"no service answers at {self.url} ({error}): start one by scfae serve, or name "
                f"another by --url or ${URL_VARIABLE}."
            ) from None
        check(answer)
        return answer


def check(answer: httpx.Response) -> None:
    """Raise the error that a service answers with, as the class that it was there."""
    if not answer.is_error:
        return
    try:
        problem = answer.json()
        name, detail = str(problem["type"]).removeprefix(_PREFIX), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        raise ServiceError(f"{answer.request.url}: HTTP status {answer.status_code}") from None
    raise named_error(name, detail)


def part(name: str) -> str:
    """Return a name as a part of a path; what it has in it leads nowhere else.

    Raises:
        ConfigError: It cannot be a part.
    """
    if name in ("", ".", "..") or "/" in name:
        raise ConfigError(f"{name!r} is no name of anything here.")
    return quote(name, safe="")
