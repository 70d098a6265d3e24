"""MLflow: a run in the experiment `scfae` of the store that MLFLOW_TRACKING_URI names.

MLflow keeps every point it is sent, also one of a step that it has. So a resumed run is found by
its id, and is sent only the steps after its last.
"""

import fcntl
import logging
import os
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ..runs import RunFolder
from ..settings import PLACES
from . import plain_name
from .identity import identity

EXPERIMENT = "scfae"
TAG = "scfae.id"
LONGEST_PARAM = 500
STATUS = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}


class MlflowTracker:
    """A run of MLflow.

    Args:
        run: The folder.
    """

    def __init__(self, run: RunFolder) -> None:
        # What MLflow says of what it is built upon, nobody here can mend.
        warnings.filterwarnings("ignore", module=r"(mlflow|sqlalchemy|alembic)(\.|$)")
        for chatty in ("mlflow", "alembic"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        mine = identity(run)["id"]
        with _one_at_a_time():
            self._client = MlflowClient()
            experiment = self._experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT))
        found = self._client.search_runs([experiment], f"tags.`{TAG}` = '{mine}'")
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
        else:
            tags = {TAG: mine, "scfae.run": str(run.path)}
            new = self._client.create_run(experiment, run_name=run.path.name, tags=tags)
            self._id = new.info.run_id
        self._last_step = self._step()
        settings = {name: str(value) for name, value in run.config.flat().items()}
        params = [
            Param(name, value[:LONGEST_PARAM])
            for name, value in settings.items()
            if name not in PLACES  # a parameter can be sent twice, but not be changed
        ]
        self._client.log_batch(self._id, params=params)

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        """Add a point to every curve, unless MLflow has that step."""
        if step <= self._last_step:
            return
        from mlflow.entities import Metric

        now_ms = int(time.time() * 1000)
        points = [Metric(plain_name(name), value, now_ms, step) for name, value in figures.items()]
        self._client.log_batch(self._id, metrics=points)
        self._last_step = step

    def end(self, state: str) -> None:
        """Set the run's status."""
        self._client.set_terminated(self._id, STATUS.get(state, "KILLED"))

    def _experiment(self, name: str) -> str:
        from mlflow.exceptions import MlflowException

        known = self._client.get_experiment_by_name(name)
        if known is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:  # a run beside this one has just made it
                known = self._client.get_experiment_by_name(name)
                if known is None:
                    raise
        return str(known.experiment_id)

    def _step(self) -> int:
        """Return the last step that MLflow has of this run."""
        names = self._client.get_run(self._id).data.metrics
        steps = [
            point.step
            for name in names
            for point in self._client.get_metric_history(self._id, name)
        ]
        return max(steps, default=0)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Wait for other runs on this machine that begin: two that make one database break it."""
    path = Path(tempfile.gettempdir()) / f"scfae-mlflow-{os.getuid()}.lock"
    with open(path, "a", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
