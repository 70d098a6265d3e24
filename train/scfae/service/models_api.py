"""Routes of models: /api/v1/models."""

import time
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import JsonValue, ValidationError

from scfae.store.errors import ConfigError

from .context import Admin, AService, Operator, Viewer
from .faults import faults
from .model_views import (
    ModelDetail,
    ModelName,
    ModelVersion,
    ModelView,
    Prediction,
    Promotion,
    SampleQuestion,
)
from .uploads import FIELDS, uploaded

router = APIRouter(prefix="/models", tags=["models"])

Model = Annotated[str, Path(max_length=200)]
Number = Annotated[int, Path(ge=1, le=10**9)]


@router.get("")
def models(service: AService, actor: Viewer) -> tuple[ModelView, ...]:
    """Return every model with its newest version."""
    return tuple(service.models.models())


@router.get("/{name}")
def model(service: AService, actor: Viewer, name: Model) -> ModelDetail:
    """Return a model with its versions, the newest first."""
    return service.models.model(name)


@router.post("/{name}/promote", status_code=201)
def promote(service: AService, actor: Operator, name: ModelName, body: Promotion) -> ModelVersion:
    """Make a run the next version of a model; its job cannot be deleted from then on."""
    job = service.queue.job(body.run)
    with service.queue.database.writing():  # so that the job is not deleted meanwhile
        return service.models.promote(
            name, job, member=body.member, actor=actor.name, note=body.note
        )


@router.delete("/{name}/versions/{version}", status_code=204)
def delete(service: AService, actor: Admin, name: Model, version: Number) -> None:
    """Take a version back; its run stays."""
    with service.queue.database.writing():
        service.models.delete(name, version, actor=actor.name)


_FILE = {"type": "string", "format": "binary"}
_BODY = {
    "required": True,
    "content": {
        "application/json": {"schema": SampleQuestion.model_json_schema()},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": dict.fromkeys(FIELDS, _FILE) | {"only": {"type": "string"}},
            }
        },
    },
}


@router.post("/{name}/predict", openapi_extra={"requestBody": _BODY})
async def predict(
    request: Request,
    service: AService,
    actor: Operator,
    name: Model,
    version: Annotated[int | None, Query(ge=1, le=10**9)] = None,
) -> Prediction:
    """Return what a model says of a stored sample, or of media in the request.

    The body is JSON, `{"sample": key, "only": [modality]}`, or a form with `file` (or `video`,
    `audio`, `image`, `text`) and `only`, as `curl -F file=@clip.mp4 -F only=audio` sends it.
    """
    begun_s = time.monotonic()
    chosen = await run_in_threadpool(service.models.version, name, version)
    run = service.models.run_of(chosen)

    async def ask(question: dict[str, Any]) -> dict[str, Any]:
        return await run_in_threadpool(
            service.predictors.ask, run, chosen.checkpoint_sha256, question
        )

    # The body is read here, not before: who may not ask has nothing stored.
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with uploaded(request, service.queue.folder / "uploads") as question:
            said = await ask(question)
    else:
        said = await ask(_asked(await request.body()))
    return _prediction(chosen, said, time.monotonic() - begun_s)


def _asked(body: bytes) -> dict[str, Any]:
    try:
        return SampleQuestion.model_validate_json(body).model_dump(mode="json")
    except ValidationError as error:
        [(_, said), *_] = faults(error.errors())
        raise ConfigError(
            f"{said}; send JSON with a sample's key, or a form with a file."
        ) from None


def _prediction(version: ModelVersion, said: dict[str, Any], seconds: float) -> Prediction:
    about = ("present", "absent", "temperature", "subsets", "id", "split", "labels")
    sample: dict[str, JsonValue] = {k: said[k] for k in about[-3:] if k in said}
    return Prediction(
        model=version.name,
        version=version.version,
        answer={name: value for name, value in said.items() if name not in about},
        subsets=said["subsets"],
        present=said["present"],
        absent=said["absent"],
        temperature=said.get("temperature"),
        sample=sample or None,
        seconds=round(seconds, 3),
    )
