"""Calls about the service itself: workers, trash, tokens, the audit log."""

from typing import Any

from ..access import Actor, NewToken, Role, TokenView
from ..audit import AuditPage
from ..roster import WorkerRecord
from ..system import System
from ..trash import Emptied, TrashView
from ..views import JobView
from .connection import Connection, part


class SystemCalls(Connection):
    """Of /system, /workers, /trash, /tokens, /audit and /whoami."""

    def whoami(self) -> Actor:
        """Return who this client is to the service."""
        return self._read(Actor, "GET", "/whoami")

    def system(self, *, fresh: bool = False) -> System:
        """Return queue, workers, disk and GPUs.

        Args:
            fresh: Measure the disk anew; its figures may be a minute old otherwise.
        """
        return self._read(System, "GET", "/system", params={"fresh": fresh})

    def workers(self) -> list[WorkerRecord]:
        """Return the workers that live."""
        return self._read_all(WorkerRecord, "/workers")

    def drain(self, worker: str) -> WorkerRecord:
        """Have a worker take no more jobs and end with its last."""
        return self._read(WorkerRecord, "POST", f"/workers/{part(worker)}/drain")

    def trash(self) -> TrashView:
        """Return the jobs that were deleted, and how much they take."""
        return self._read(TrashView, "GET", "/trash")

    def restore(self, entry: str) -> JobView:
        """Put a deleted job back.

        Args:
            entry: Its name in the trash.

        Raises:
            JobNotFound: There is none.
            JobStateError: There is a job of its id again.
        """
        return self._read(JobView, "POST", f"/trash/{part(entry)}/restore")

    def empty_trash(self, entry: str | None = None) -> Emptied:
        """Remove what is in the trash for good, or one entry of it.

        Raises:
            JobNotFound: There is no such entry.
        """
        if entry is None:
            return self._read(Emptied, "POST", "/trash/empty")
        return self._read(Emptied, "DELETE", f"/trash/{part(entry)}")

    def tokens(self) -> list[TokenView]:
        """Return whose tokens there are."""
        return self._read_all(TokenView, "/tokens")

    def add_token(self, name: str, role: Role = "viewer") -> NewToken:
        """Make a token; what is returned alone has it."""
        return self._read(NewToken, "POST", "/tokens", json={"name": name, "role": role})

    def remove_token(self, name: str) -> None:
        """Forget a token; it is refused from now on."""
        self._send("DELETE", f"/tokens/{part(name)}")

    def audit(self, *, q: str = "", cursor: str | None = None, limit: int = 100) -> AuditPage:
        """Return what was changed and refused, the newest first.

        Args:
            q: Words to be found in a line.
            cursor: Where to begin, from the page before.
            limit: Lines a page.
        """
        params: dict[str, Any] = {"q": q, "limit": limit}
        params |= {} if cursor is None else {"cursor": cursor}
        return self._read(AuditPage, "GET", "/audit", params=params)
