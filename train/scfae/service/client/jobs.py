"""Calls about jobs: submit, watch, cancel, resume, compare."""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from ..artifacts import Artifact
from ..compare_views import Comparison, Paired
from ..jobs import JobRequest
from ..series import Curves
from ..views import Checked, JobDetail, JobList, JobView, LogPart
from .connection import Connection, check, part


class JobCalls(Connection):
    """Of /runs and /compare."""

    def submit(self, request: JobRequest, *, key: str | None = None) -> JobView:
        """Submit a job; trying again after a lost answer makes no second one.

        Args:
            request: What is to be done.
            key: The same request under the same key is the same job; a new one if not given.

        Raises:
            ConfigError: A setting cannot be used.
            AccessRefused: Of too low a role.
            ServiceUnreachable: No answer.
        """
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        body = request.model_dump(mode="json")
        return self._read(JobView, "POST", "/runs", json=body, headers=headers)

    def page(
        self,
        *,
        state: str | None = None,
        q: str = "",
        where: str = "",
        cursor: str | None = None,
        limit: int = 50,
    ) -> JobList:
        """Return a page of jobs, the newest first.

        Args:
            state: Only jobs in this state.
            q: Only jobs that have all of these words.
            where: Only jobs of which this is true, e.g. `lr<1e-3 metric>0.8`.
            cursor: Where to begin, from the page before.
            limit: Jobs a page.

        Raises:
            FilterError: The filter cannot be read; says where.
        """
        given = {"state": state, "q": q or None, "filter": where or None}
        given |= {"cursor": cursor, "limit": str(limit)}
        params = {name: value for name, value in given.items() if value is not None}
        return self._read(JobList, "GET", "/runs", params=params)

    def check(self, request: JobRequest, *, measure: bool = False) -> Checked:
        """Return what a request would be and take, and what is wrong with it; submit nothing.

        Args:
            request: What would be done.
            measure: Have a few steps of it timed on the server's machine.
        """
        body, params = request.model_dump(mode="json"), {"measure": "true"} if measure else {}
        return self._read(Checked, "POST", "/runs/check", json=body, params=params)

    def get(self, job: str) -> JobDetail:
        """Return a job with its request and its history.

        Raises:
            JobNotFound: There is none.
        """
        return self._read(JobDetail, "GET", f"/runs/{part(job)}")

    def cancel(self, job: str, *, reason: str = "", now: bool = False) -> JobView:
        """Have a job save and stop; `now` stops it at once.

        Raises:
            JobStateError: It has ended.
        """
        body = {"reason": reason, "now": now}
        return self._read(JobView, "POST", f"/runs/{part(job)}/cancel", json=body)

    def resume(self, job: str, *, reason: str = "") -> JobView:
        """Queue a failed or cancelled job again.

        Raises:
            JobStateError: It has not ended, or is finished.
        """
        return self._read(JobView, "POST", f"/runs/{part(job)}/resume", json={"reason": reason})

    def clone(
        self, job: str, *, name: str | None = None, config: Mapping[str, Any] | None = None
    ) -> JobView:
        """Submit a job like another, with some settings changed."""
        body = {"name": name, "config": dict(config or {})}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self._read(JobView, "POST", f"/runs/{part(job)}/clone", json=body, headers=headers)

    def edit(self, job: str, **changes: Any) -> JobView:
        """Change name, tags, notes or priority."""
        return self._read(JobView, "PATCH", f"/runs/{part(job)}", json=changes)

    def delete(self, job: str) -> None:
        """Move a job that has ended into the trash."""
        self._send("DELETE", f"/runs/{part(job)}")

    def log(self, job: str, *, offset: int = 0) -> LogPart:
        """Return a part of a job's log; a negative offset counts from its end."""
        return self._read(LogPart, "GET", f"/runs/{part(job)}/log", params={"offset": offset})

    def metrics(self, job: str, *keys: str, max_points: int = 1000) -> Curves:
        """Return the curves of a run, all if no key is named."""
        params = {"keys": ",".join(keys), "max_points": max_points}
        return self._read(Curves, "GET", f"/runs/{part(job)}/metrics", params=params)

    def events(self, job: str, *, offset: int = 0) -> Iterator[dict[str, Any]]:
        """Yield the events of a run until the job has ended; lost connections are taken up again.

        Args:
            job: Its id.
            offset: Where to begin, in bytes of events.jsonl.
        """
        while True:
            try:
                headers = {"Last-Event-ID": str(offset)}
                with self._stream(f"/runs/{part(job)}/events", headers) as answer:
                    if answer.is_error:
                        answer.read()
                        check(answer)
                    kind = data = ""
                    for line in answer.iter_lines():
                        name, _, value = line.partition(": ")
                        if name == "event":
                            kind = value
                        elif name == "data":
                            data = value
                        elif name == "id":
                            offset = int(value)
                        elif not line and data:
                            if kind == "end":
                                return
                            yield json.loads(data)
                            data = ""
            except httpx.TransportError:
                self._send("GET", f"/runs/{part(job)}")  # says what is wrong if that stays so

    def artifacts(self, job: str) -> list[Artifact]:
        """Return the files of a job."""
        return self._read_all(Artifact, f"/runs/{part(job)}/artifacts")

    def download(self, job: str, path: str, to: Path) -> None:
        """Write a file of a job to a place of ours."""
        with self._stream(f"/runs/{part(job)}/artifacts/{quote(path)}") as answer:
            if answer.is_error:
                answer.read()
                check(answer)
            with open(to, "wb") as file:
                for block in answer.iter_bytes():
                    file.write(block)

    def compare(self, *jobs: str, keys: Sequence[str] = (), points: int = 500) -> Comparison:
        """Return trainings and sweeps side by side.

        Args:
            jobs: Two at least.
            keys: Curves to give too, e.g. `val.accuracy`.
            points: Most points of a curve.
        """
        params = {"ids": ",".join(jobs), "keys": ",".join(keys), "points": points}
        return self._read(Comparison, "GET", "/compare", params=params)

    def paired(self, first: str, second: str, *, resamples: int = 1000) -> Paired:
        """Return whether two evaluated runs differ beyond chance."""
        params = {"first": first, "second": second, "resamples": resamples}
        return self._read(Paired, "GET", "/compare/paired", params=params)
