"""Routes of everything but jobs: stores, encoders, workers, schemas, and who asks."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from pydantic import Field

from scfae.store import FeatureStore
from scfae.store.config import Frozen
from scfae.store.errors import ScfaeError
from scfae.train.config import RunConfig

from .access import Actor
from .context import Admin, AService, Viewer
from .roots import Roots
from .roster import WorkerRecord

router = APIRouter()
_DEPTH = 2


class StoreView(Frozen):
    """A feature store.

    Attributes:
        path: As a config names it.
        num_samples: In it.
        labels: Its label columns.
        columns: Each column's modality, dim and rows per second.
        error: Why it cannot be read, or None.
    """

    path: str
    num_samples: int = 0
    labels: tuple[str, ...] = ()
    columns: dict[str, dict[str, Any]] = Field(default_factory=dict)
    error: str | None = None


@router.get("/whoami", tags=["access"])
def whoami(actor: Viewer) -> Actor:
    """Return who asks, and what they may do."""
    return actor


@router.get("/schema/run", tags=["runs"])
def schema(actor: Viewer) -> dict[str, Any]:
    """Return the JSON schema of a training's config; `loop.run` is the service's own."""
    return RunConfig.model_json_schema()


@router.get("/stores", tags=["data"])
def stores(service: AService, actor: Viewer) -> tuple[StoreView, ...]:
    """Return the stores under the service's folders."""
    return tuple(_view(path) for path in find_stores(service.roots))


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


def find_stores(roots: Roots) -> list[Path]:
    """Return the folders of stores under the roots, to a depth of two."""
    found = []
    for root in map(Path, roots.stores):
        patterns = ["/".join(["*"] * depth) for depth in range(_DEPTH + 1)]
        for pattern in patterns:
            paths = [root] if not pattern else root.glob(pattern)
            found += [path for path in paths if (path / "store.json").is_file()]
    return sorted(set(found))


def _view(path: Path) -> StoreView:
    try:
        store = FeatureStore.open(path)
        columns = {
            name: {
                "modality": info.modality,
                "dim": info.dim,
                "rows_per_second": info.rows_per_second,
                "encoder": info.encoder,
            }
            for name, info in store.columns.items()
        }
        return StoreView(
            path=str(path),
            num_samples=len(store.samples),
            labels=tuple(store.samples.label_names),
            columns=columns,
        )
    except (ScfaeError, OSError) as error:
        return StoreView(path=str(path), error=str(error))
