"""Whatever fits or breaks the OpenAPI document: the service answers, and never with a 5xx."""

import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error, response_schema_conformance
from schemathesis.core.result import Ok

from scfae.service import ENDED, Queue, Roots
from scfae.service.app import make_app
from scfae.service.context import Service

from .services import Served, make_service_store, start_server, training
from .trained import trained_job

FEW, MANY = 3, 30
"""Requests of each kind to each route."""
MODEL, KEPT = "digits", "kept"
"""A model that is asked for, and another of the same run, so that the run cannot be deleted."""


def _document() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        document: dict[str, Any] = make_app(Service(Queue(folder), Roots())).openapi()
    return document


SCHEMA = schemathesis.openapi.from_dict(_document())
OPERATIONS = {
    found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)
}

_BREAKS = (GenerationMode.NEGATIVE,)
_OF_JOBS: dict[str, dict[str, Callable[[list[str]], str]]] = {
    "GET /api/v1/compare": {"ids": lambda jobs: ",".join(jobs[:2])},
    "GET /api/v1/compare/paired": {"first": lambda jobs: jobs[0], "second": lambda jobs: jobs[1]},
}
"""Questions of jobs, which are about some that there are where a job was drawn."""
_OF_MODELS = "/api/v1/models/{name}"
_QUESTIONS = st.fixed_dictionaries(
    {"sample": st.sampled_from(["sample-00001", "sample-00150", "nobody"])},
    optional={"only": st.lists(st.sampled_from(["video", "audio", "smell"]), max_size=3)},
)
"""Bodies about samples, of which most are there."""


def _is_path_alone(operation: Any) -> bool:
    return not (list(operation.query) or list(operation.headers) or list(operation.body))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("stores")
    roots = make_service_store(root)
    words = ["--no-worker", "--store-root", str(root), "--media-root", str(root)]
    with start_server(tmp_path_factory.mktemp("service"), *words) as served:
        for _ in range(8):
            job = served.queue.submit(training(), actor="ann", roots=roots)
            served.queue.wish(job.id, "kill", actor="ann")  # so that streams of events end
        trained = trained_job(served.queue, roots, epochs=1, evaluated=False).id
        for model in (MODEL, KEPT):
            promote(served, model, trained)
        yield served


def promote(served: Served, model: str, job: str) -> None:
    url = f"/api/v1/models/{model}/promote"
    assert served.client.post(url, json={"run": job}).status_code == 201


def newest_version(served: Served) -> int:
    """Return a version of the model that is there: deletions take some back."""
    there = served.client.get(f"/api/v1/models/{MODEL}")
    if there.status_code == 404:
        kept = served.client.get(f"/api/v1/models/{KEPT}").json()
        promote(served, MODEL, kept["versions"][0]["job"])
        return newest_version(served)
    newest: int = there.json()["versions"][0]["version"]
    return newest


CASES = [
    pytest.param(
        label,
        mode,
        most,
        id=f"{label}-{mode.value}-{most}",
        # To break a path that may be any text takes long and finds next to nothing.
        marks=[pytest.mark.slow] * (most == MANY or (mode in _BREAKS and _is_path_alone(found))),
    )
    for label, found in OPERATIONS.items()
    for mode in GenerationMode
    for most in (FEW, MANY)
]


@pytest.mark.parametrize(("label", "mode", "most"), CASES)
def test_no_request_breaks_the_service(
    served: Served, label: str, mode: GenerationMode, most: int
) -> None:
    operation = OPERATIONS[label]
    jobs = [path.name for path in served.queue.runs.iterdir()]
    is_of_model = label.partition(" ")[2].startswith(_OF_MODELS)
    seen: set[int] = set()

    @settings(max_examples=most, suppress_health_check=list(HealthCheck), deadline=None)
    @given(
        case=operation.as_strategy(generation_mode=mode),
        job=st.sampled_from([*jobs, None]),
        question=_QUESTIONS | st.none(),
    )
    def send(case: Any, job: str | None, question: dict[str, Any] | None) -> None:
        if job is not None and "job_id" in (case.path_parameters or {}):
            if label.endswith("/events") and served.queue.get(job).state not in ENDED:
                return  # its stream goes on for ever
            case.path_parameters["job_id"] = job
        if job is not None and mode is GenerationMode.POSITIVE and label in _OF_JOBS:
            named = {name: ids(jobs) for name, ids in _OF_JOBS[label].items()}
            case.query = {**(case.query or {}), **named}
        if job is not None and is_of_model:
            newest = newest_version(served)
            case.path_parameters["name"] = MODEL
            if "version" in case.path_parameters and mode is GenerationMode.POSITIVE:
                case.path_parameters["version"] = newest
            if label.endswith("/predict") and mode is GenerationMode.POSITIVE:
                case.query = dict.fromkeys(case.query or {}, newest)
                if question is not None and case.media_type == "application/json":
                    case.body = question
        answer = case.call(base_url=f"http://127.0.0.1:{served.port}", timeout=60)
        case.validate_response(answer, checks=[not_a_server_error, response_schema_conformance])
        if answer.status_code >= 400:
            assert "application/problem+json" in answer.headers["content-type"][0]
            assert json.loads(answer.text)["status"] == answer.status_code
        seen.add(answer.status_code)

    try:
        send()
    except Unsatisfiable:  # a route whose only part is any text: nothing that fits it not
        assert mode is GenerationMode.NEGATIVE
    if label.endswith("/predict") and mode is GenerationMode.POSITIVE:
        assert 200 in seen  # the model was there, and answered


def test_nothing_was_left_outside(served: Served, tmp_path: Path) -> None:
    """After the requests above: the index is as the folders are, and the server answers."""
    before = {job.id: job for job in served.queue.page(limit=500).jobs}
    served.queue.reindex()
    assert {job.id: job for job in served.queue.page(limit=500).jobs} == before
    assert served.client.get("/readyz").status_code == 200
