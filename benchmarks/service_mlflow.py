"""The list of runs and the history of a figure: this service against `mlflow server`, one run.

Both hold the same runs with the same figures, MLflow in SQLite as it does by default; rows are
written into its tables at once, for its own client takes an hour. Questions go in turns to the one
and the other from one client, and the ratio of the medians is printed.

    pip install aiohttp  # MLflow's server needs it, and mlflow-skinny does not bring it
    python -m benchmarks.service_mlflow [--runs 2000] [--folder DIR]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import sqlalchemy
from benchmarks.service_runs import epoch, fill, names
from mlflow.store.tracking.dbmodels.models import SqlLatestMetric, SqlMetric, SqlRun
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from tests.unit.service.services import start_server, wait_for

from scfae.service import Queue

EPOCHS = 50
TIMES = 40
PORT = 5711


def write_mlflow(folder: Path, count: int) -> None:
    """Write the same runs into MLflow's tables."""
    url = f"sqlite:///{folder / 'mlflow.db'}"
    # It makes the tables and the first experiment.
    SqlAlchemyStore(url, str(folder / "artifacts"))  # type: ignore[no-untyped-call]
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        found: Any = connection.execute(sqlalchemy.select(SqlRun.run_uuid).limit(1)).first()
        for number in range(0 if found is None else count, count):
            run = f"{number:032x}"
            begun_ms = 1_790_000_000_000 + 60_000 * number
            row: dict[str, Any] = {"run_uuid": run, "name": f"run {number}", "status": "FINISHED"}
            row |= {"start_time": begun_ms, "end_time": begun_ms + 50_000, "user_id": "ann"}
            row |= {"lifecycle_stage": "active", "experiment_id": 0, "source_type": "LOCAL"}
            row |= {"artifact_uri": str(folder / "artifacts" / run)}
            connection.execute(sqlalchemy.insert(SqlRun), row)
            rows = [
                {"key": f"{group}.{name}", "value": value, "timestamp": begun_ms + one}
                | {"step": 100 * one, "is_nan": False, "run_uuid": run}
                for one in range(1, EPOCHS + 1)
                for group, figures in epoch(one, number).items()
                if isinstance(figures, dict)
                for name, value in figures.items()
            ]
            connection.execute(sqlalchemy.insert(SqlMetric), rows)
            connection.execute(sqlalchemy.insert(SqlLatestMetric), rows[-len(names()) :])
    engine.dispose()


def took_ms(ask: Any) -> float:
    begun_s = time.perf_counter()
    answer = ask()
    took_s = time.perf_counter() - begun_s
    assert answer.status_code == 200, answer.text
    return 1000 * took_s


def compare(ours: httpx.Client, theirs: httpx.Client, ids: list[str]) -> dict[str, Any]:
    """Return the medians of both for each question, and their ratio."""
    last = len(ids) - 1
    key = "val.figure_00"
    search = {"experiment_ids": ["0"], "max_results": 50, "order_by": ["start_time DESC"]}
    api = "/api/2.0/mlflow"

    def history(number: int) -> Any:
        params = {"run_id": f"{number:032x}", "metric_key": key}
        return theirs.get(f"{api}/metrics/get-history", params=params)

    questions: dict[str, tuple[Any, Any]] = {
        "list of 50 runs": (
            lambda i: ours.get("/api/v1/runs?limit=50"),
            lambda i: theirs.post(f"{api}/runs/search", json=search),
        ),
        "runs by name": (
            lambda i: ours.get("/api/v1/runs?limit=50&q=run%20123"),
            lambda i: theirs.post(
                f"{api}/runs/search",
                json=search | {"filter": "attributes.run_name LIKE '%run 123%'"},
            ),
        ),
        "history of a figure": (
            lambda i: ours.get(
                f"/api/v1/runs/{ids[(last - 13 * i) % len(ids)]}/metrics?keys={key}"
            ),
            lambda i: history((last - 13 * i) % len(ids)),
        ),
    }
    found = {}
    for name, (mine, other) in questions.items():
        times: tuple[list[float], list[float]] = ([], [])
        for i in range(TIMES):
            for side, ask in enumerate((mine, other)):
                took = took_ms(lambda ask=ask, i=i: ask(i))
                if i >= 3:  # the first warm up
                    times[side].append(took)
        ours_ms, theirs_ms = (statistics.median(one) for one in times)
        found[name] = {
            "ours_ms": round(ours_ms, 1),
            "mlflow_ms": round(theirs_ms, 1),
            "ratio": round(theirs_ms / ours_ms, 1),
        }
    curve = ours.get(f"/api/v1/runs/{ids[5]}/metrics?keys={key}").json()["curves"][key]["value"]
    values = [one["value"] for one in history(5).json()["metrics"]]
    assert curve == values, "both tell the same figures"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="of both; kept and used again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        ids = fill(Queue(folder / "service"), arguments.runs, EPOCHS)
        write_mlflow(folder, arguments.runs)
        words = ["server", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
        words += ["--port", str(PORT), "--workers", "1"]
        with open(folder / "mlflow.log", "wb") as log:
            # Its queue of jobs needs a package more, and has no part in what is asked here.
            environment = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
            command = [sys.executable, "-m", "mlflow", *words]
            server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            with (
                start_server(folder / "service", "--no-worker") as served,
                httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as theirs,
            ):
                wait_for(lambda: answers(theirs), seconds=180)
                print(json.dumps(compare(served.client, theirs, ids), indent=1))
        finally:
            server.terminate()
            server.wait()


def answers(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
