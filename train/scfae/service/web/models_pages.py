"""The pages of models: what was promoted, and what a model says of a clip or a sample."""

import json

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from scfae.store.branches import modalities_of

from ..context import AService, Service, Viewer
from ..model_views import ModelVersion
from .site import render

router = APIRouter(prefix="/models", include_in_schema=False)


@router.get("")
def models(request: Request, service: AService, actor: Viewer) -> HTMLResponse:
    """Return the list."""
    found = service.models.models()
    return render(request, "models.html.j2", actor, here="models", models=found)


@router.get("/{name}")
def model(request: Request, service: AService, actor: Viewer, name: str) -> HTMLResponse:
    """Return a model: its versions, and the form that asks it."""
    detail = service.models.model(name)
    newest = detail.versions[0]
    return render(
        request,
        "model.html.j2",
        actor,
        here="models",
        detail=detail,
        newest=newest,
        modalities=modalities_of(list(newest.columns)),
        example=_example(service, newest),
        limit_bytes=service.max_upload_bytes,
    )


def _example(service: Service, version: ModelVersion) -> str:
    """Return the key of a sample to begin with: the first that the run's evaluation kept."""
    path = service.models.run_of(version) / "predictions.jsonl"
    if not path.is_file():
        return ""
    with open(path, encoding="utf-8") as file:
        return _first_id(file.readline())


def _first_id(line: str) -> str:
    """Return the `id` in a line of JSON, or nothing."""
    try:
        found = json.loads(line)
    except ValueError:
        return ""
    return str(found["id"]) if isinstance(found, dict) and "id" in found else ""
