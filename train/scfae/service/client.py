"""A typed client of the service: the same errors as the library's own, over HTTP."""

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from scfae.store.errors import ConfigError, ServiceError, ServiceUnreachable, named_error

from .access import Actor
from .compare_views import Comparison, Paired
from .jobs import JobRequest
from .model_views import ModelDetail, ModelVersion, ModelView, Prediction
from .roster import WorkerRecord
from .series import Curves
from .views import JobDetail, JobList, JobView, LogPart

DEFAULT_URL = "http://127.0.0.1:8712"
URL_VARIABLE, TOKEN_VARIABLE = "SCFAE_SERVICE", "SCFAE_TOKEN"
_PREFIX = "urn:scfae:"
_API = "/api/v1"
_PREDICT_S = 600.0

T = TypeVar("T", bound=BaseModel)


class Client:
    """A service at an address.

    Args:
        url: Where it is, a proxy's path included; $SCFAE_SERVICE or this machine if not given.
        token: An access token; $SCFAE_TOKEN if not given; none is due on the loopback address.
        timeout_s: Of one request.
    """

    def __init__(
        self, url: str | None = None, *, token: str | None = None, timeout_s: float = 60.0
    ) -> None:
        self.url = (url or os.environ.get(URL_VARIABLE) or DEFAULT_URL).rstrip("/")
        secret = token or os.environ.get(TOKEN_VARIABLE)
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

    def get(self, job: str) -> JobDetail:
        """Return a job with its request and its history.

        Raises:
            JobNotFound: There is none.
        """
        return self._read(JobDetail, "GET", f"/runs/{job}")

    def cancel(self, job: str, *, reason: str = "", now: bool = False) -> JobView:
        """Have a job save and stop; `now` stops it at once.

        Raises:
            JobStateError: It has ended.
        """
        body = {"reason": reason, "now": now}
        return self._read(JobView, "POST", f"/runs/{job}/cancel", json=body)

    def resume(self, job: str, *, reason: str = "") -> JobView:
        """Queue a failed or cancelled job again.

        Raises:
            JobStateError: It has not ended, or is finished.
        """
        return self._read(JobView, "POST", f"/runs/{job}/resume", json={"reason": reason})

    def clone(
        self, job: str, *, name: str | None = None, config: Mapping[str, Any] | None = None
    ) -> JobView:
        """Submit a job like another, with some settings changed."""
        body = {"name": name, "config": dict(config or {})}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self._read(JobView, "POST", f"/runs/{job}/clone", json=body, headers=headers)

    def edit(self, job: str, **changes: Any) -> JobView:
        """Change name, tags, notes or priority."""
        return self._read(JobView, "PATCH", f"/runs/{job}", json=changes)

    def delete(self, job: str) -> None:
        """Move a job that has ended into the trash."""
        self._send("DELETE", f"/runs/{job}")

    def log(self, job: str, *, offset: int = 0) -> LogPart:
        """Return a part of a job's log; a negative offset counts from its end."""
        return self._read(LogPart, "GET", f"/runs/{job}/log", params={"offset": offset})

    def metrics(self, job: str, *keys: str, max_points: int = 1000) -> Curves:
        """Return the curves of a run, all if no key is named."""
        params = {"keys": ",".join(keys), "max_points": max_points}
        return self._read(Curves, "GET", f"/runs/{job}/metrics", params=params)

    def events(self, job: str, *, offset: int = 0) -> Iterator[dict[str, Any]]:
        """Yield the events of a run until the job has ended; lost connections are taken up again.

        Args:
            job: Its id.
            offset: Where to begin, in bytes of events.jsonl.
        """
        while True:
            try:
                headers = {"Last-Event-ID": str(offset)}
                url = f"{_API}/runs/{job}/events"
                with self._http.stream("GET", url, headers=headers) as answer:
                    if answer.is_error:
                        answer.read()
                        _check(answer)
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
                self._send("GET", f"/runs/{job}")  # says what is wrong if that stays so

    def download(self, job: str, path: str, to: Path) -> None:
        """Write a file of a job to a place of ours."""
        with self._http.stream("GET", f"{_API}/runs/{job}/artifacts/{path}") as answer:
            if answer.is_error:
                answer.read()
                _check(answer)
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

    def models(self) -> list[ModelView]:
        """Return every model with its newest version."""
        return [ModelView.model_validate(one) for one in self._send("GET", "/models").json()]

    def model(self, name: str) -> ModelDetail:
        """Return a model with its versions.

        Raises:
            ModelNotFound: There is none.
        """
        return self._read(ModelDetail, "GET", f"/models/{name}")

    def promote(
        self, run: str, name: str, *, member: str | None = None, note: str = ""
    ) -> ModelVersion:
        """Make a run the next version of a model.

        Args:
            run: The job that trained it.
            name: Of the model.
            member: Of a sweep: the run's folder.
            note: Why.
        """
        body = {"run": run, "member": member, "note": note}
        return self._read(ModelVersion, "POST", f"/models/{name}/promote", json=body)

    def delete_version(self, name: str, version: int) -> None:
        """Take a version of a model back; its run stays."""
        self._send("DELETE", f"/models/{name}/versions/{version}")

    def predict(
        self,
        name: str,
        *,
        sample: str | None = None,
        files: Mapping[str, Path] | None = None,
        text: str | None = None,
        only: Sequence[str] = (),
        version: int | None = None,
    ) -> Prediction:
        """Return what a model says of a stored sample or of media.

        Args:
            name: Of the model.
            sample: Key of a sample in the run's store.
            files: By kind: `video`, `audio`, `image`, `text`, or `file` to go by the extension.
            text: Words.
            only: Modalities to use; all that there are if empty.
            version: The newest if not given.

        Raises:
            DecodeError: Nothing could be read of the media.
            PredictionFailed: The process that predicts died.
            ServiceBusy: Others wait already.
        """
        given: dict[str, Any] = {"params": {} if version is None else {"version": version}}
        path = f"/models/{name}/predict"
        if sample is not None:
            given["json"] = {"sample": sample, "only": list(only)}
            return self._read(Prediction, "POST", path, timeout=_PREDICT_S, **given)
        with ExitStack() as stack:
            parts: list[tuple[str, Any]] = [
                (kind, (place.name, stack.enter_context(open(place, "rb"))))
                for kind, place in (files or {}).items()
            ]
            # Words go as a part without a file name, so that the form is one in any case.
            words = {"only": ",".join(only)} | ({} if text is None else {"text": text})
            parts += [(key, (None, value)) for key, value in words.items()]
            return self._read(Prediction, "POST", path, timeout=_PREDICT_S, files=parts, **given)

    def workers(self) -> list[WorkerRecord]:
        """Return the workers that live."""
        answers = self._send("GET", "/workers").json()
        return [WorkerRecord.model_validate(one) for one in answers]

    def drain(self, worker: str) -> WorkerRecord:
        """Have a worker take no more jobs and end with its last."""
        return self._read(WorkerRecord, "POST", f"/workers/{worker}/drain")

    def whoami(self) -> Actor:
        """Return who this client is to the service."""
        return self._read(Actor, "GET", "/whoami")

    def _read(self, kind: type[T], method: str, path: str, **others: Any) -> T:
        answer = self._send(method, path, **others)
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError:
            raise ServiceUnreachable(
                f"what answers at {self.url} is not this service, or one of another version."
            ) from None

    def _send(self, method: str, path: str, **others: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, f"{_API}{path}", **others)
        except (httpx.TransportError, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ServiceUnreachable(
                f"no service answers at {self.url} ({error}): start one by scfae serve, or name "
                f"another by --url or ${URL_VARIABLE}."
            ) from None
        _check(answer)
        return answer


def _check(answer: httpx.Response) -> None:
    """Raise the error that a service answers with, as the class that it was there."""
    if not answer.is_error:
        return
    try:
        problem = answer.json()
        name, detail = str(problem["type"]).removeprefix(_PREFIX), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        raise ServiceError(f"{answer.request.url}: HTTP status {answer.status_code}") from None
    raise named_error(name, detail)
