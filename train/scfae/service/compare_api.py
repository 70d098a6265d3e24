"""Routes of comparisons: /api/v1/compare."""

import json
import subprocess
import sys
import threading
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from scfae.store.errors import ConfigError, RunStateError, ServiceBusy

from .compare import compare, sources
from .compare_export import as_csv, as_latex
from .compare_views import Comparison, Paired
from .context import AService, Operator, Viewer

router = APIRouter(prefix="/compare", tags=["compare"])

Ids = Annotated[str, Query(max_length=2000, description="2 to 50 jobs, with commas")]
FEWEST, MOST = 2, 50
_PAIRED_S = 120.0
_one_at_a_time = threading.Lock()


@router.get("", response_model=Comparison)
def compared(
    service: AService,
    actor: Viewer,
    ids: Ids,
    keys: Annotated[str, Query(max_length=4000, description="curves, with commas")] = "",
    points: Annotated[int, Query(ge=4, le=10_000)] = 500,
    metric: Annotated[str | None, Query(max_length=200)] = None,
    format: Annotated[Literal["csv", "latex", "json"] | None, Query()] = None,  # noqa: A002
) -> Comparison | Response:
    """Return trainings side by side: settings that differ first, figures, seeds together.

    With `format` the answer is a file: what differs and `metric` by modalities present.
    """
    jobs = [service.queue.job(one) for one in read_ids(ids)]
    found = compare(jobs, _words(keys), points)
    if format == "csv":
        return _file(PlainTextResponse(as_csv(found, metric), media_type="text/csv"), "csv")
    if format == "latex":
        return _file(PlainTextResponse(as_latex(found, metric)), "tex")
    if format == "json":
        return _file(JSONResponse(found.model_dump(mode="json")), "json")
    return found


@router.get("/paired")
def paired(
    service: AService,
    actor: Operator,
    first: Annotated[str, Query(max_length=600)],
    second: Annotated[str, Query(max_length=600)],
    resamples: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Paired:
    """Return whether two evaluated runs differ beyond chance, on the same resamples of samples.

    A run is a job's id, or that and the run's folder in a sweep with `/` between. It is computed in
    a process of its own, one at a time.
    """
    places = []
    for one in (first, second):
        job, _, _ = one.partition("/")
        runs = {run.id: run.path for run in sources([service.queue.job(job)])}
        if one not in runs:
            raise ConfigError(f"{one}: no such run; there are {', '.join(list(runs)[:20])}.")
        places.append(str(runs[one]))
    if not _one_at_a_time.acquire(timeout=1):
        raise ServiceBusy("another comparison is being computed: try again in a while.")
    try:
        found = _compared_by_command(places, resamples)
    finally:
        _one_at_a_time.release()
    return Paired(first=first, second=second, resamples=resamples, conditions=found)


def read_ids(text: str) -> list[str]:
    """Return the jobs that a query names, each once.

    Raises:
        ConfigError: They are too few or too many.
    """
    ids = list(dict.fromkeys(_words(text)))
    if not FEWEST <= len(ids) <= MOST:
        raise ConfigError(f"ids: {FEWEST} to {MOST} jobs with commas between, not {len(ids)}.")
    return ids


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _file(response: Response, suffix: str) -> Response:
    response.headers["Content-Disposition"] = f'attachment; filename="comparison.{suffix}"'
    return response


def _compared_by_command(places: list[str], resamples: int) -> Any:
    """Run `scfae compare`: the server itself loads no torch and waits for no bootstrap."""
    words = ["compare", *places, "--bootstrap", str(resamples), "--json"]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "scfae.cli", *words],
            capture_output=True,
            text=True,
            timeout=_PAIRED_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise RunStateError(
            f"the comparison took longer than {_PAIRED_S:g} s: ask for fewer resamples."
        ) from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
        raise RunStateError(said[-1].removeprefix("scfae: "))
    return json.loads(done.stdout)["differences"][places[1]]
