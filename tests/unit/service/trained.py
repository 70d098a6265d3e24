"""Jobs of trainings that are done, trained in the test's own process."""

from pathlib import Path
from typing import Any

from scfae.service import JobRecord, Queue, Roots
from scfae.train.config import load_config
from scfae.train.evaluation import evaluate
from scfae.train.loop import train

from .services import training


def trained_job(
    queue: Queue, roots: Roots, *, evaluated: bool = True, **settings: Any
) -> JobRecord:
    """Return a finished training of the settings of `services`, or of others; evaluated."""
    job = queue.submit(training(**settings), actor="test", roots=roots)
    record = queue.claim("test", 0)
    assert record is not None
    assert record.id == job.id
    folder = queue.job(job.id)
    request: Any = folder.submitted().request.job
    run = train(load_config(None, {**request.config, "run": str(folder.run_path)}))
    if evaluated:
        evaluate(run.path, bootstrap=20, probes=False)
    process = {"pid": 1, "start": 1, "machine": "elsewhere"}
    queue.move(job.id, "running", actor="worker:test", details={"process": process})
    summary = {"summary": folder.progress()}
    return queue.move(job.id, "finished", actor="worker:test", details=summary)


def checkpoint(queue: Queue, job: str) -> Path:
    """Return the place of a job's selected checkpoint."""
    return queue.job(job).run_path / "checkpoints" / "best.pt"
