"""Routes of everything but jobs and stores: encoders, workers, schemas, and who asks."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from scfae.train.config import RunConfig

from .access import Actor
from .context import Admin, AService, Viewer
from .roster import WorkerRecord

router = APIRouter()


@router.get("/whoami", tags=["access"])
def whoami(actor: Viewer) -> Actor:
    """Return who asks, and what they may do."""
    return actor


@router.get("/schema/run", tags=["runs"])
def schema(actor: Viewer) -> dict[str, Any]:
    """Return the JSON schema of a training's config; `loop.run` is the service's own."""
    return RunConfig.model_json_schema()


@router.get("/encoders", tags=["data"])
def encoders(actor: Viewer) -> tuple[dict[str, Any], ...]:
    """Return every encoder, its licence, and whether its weights are on this machine."""
    from scfae.extract import list_encoders

    return tuple(asdict(encoder) for encoder in list_encoders())


@router.get("/workers", tags=["workers"])
def workers(service: AService, actor: Viewer) -> tuple[WorkerRecord, ...]:
    """Return the workers that live."""
    return tuple(service.roster.workers())


@router.post("/workers/{worker_id}/drain", tags=["workers"])
def drain(service: AService, actor: Admin, worker_id: str) -> WorkerRecord:
    """Have a worker take no more jobs and end with its last."""
    return service.roster.drain(worker_id)
