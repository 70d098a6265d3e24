"""What a server of objects refuses, in one sentence."""

from typing import Any

from ..errors import ConfigError, StoreError, StoreForbidden

_FORBIDDEN = ("PermissionDeniedError", "UnauthenticatedError", "PermissionError")


class Failures:
    """Turns what a server refuses into one sentence; lets FileNotFoundError through.

    Args:
        url: Where the objects are.
        key: Of the object that is asked for.

    Raises:
        StoreForbidden: The credentials do not suffice.
        StoreError: Anything else.
    """

    def __init__(self, url: str, key: str) -> None:
        self._where = f"{url}/{key}"

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, FileNotFoundError | NotImplementedError):
            return
        if type(error).__name__ in _FORBIDDEN:
            raise StoreForbidden(
                f"{self._where} may not be written or read with these credentials "
                f"({first_line(error)})."
            ) from error
        if isinstance(error, Exception):
            raise StoreError(
                f"{self._where} cannot be read or written ({first_line(error)}). Check the "
                "address, the credentials and the network."
            ) from error


def lacks_extra(url: str) -> ConfigError:
    """Return what to raise where a package that reads such URLs is not installed."""
    return ConfigError(f"store: {url} needs the extra: pip install 'scfae[remote]'.")


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name."""
    return (str(error).splitlines() or [type(error).__name__])[0]
