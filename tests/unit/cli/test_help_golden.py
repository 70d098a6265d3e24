"""The help of every command, kept as files: a flag changes only on purpose.

Write them again with: `SCFAE_UPDATE_GOLDEN=1 .venv/bin/python -m pytest tests/unit/cli`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCFAE = Path(sys.executable).parent / "scfae"
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "help"
COMMANDS = {
    "scfae": [],
    "demo": ["demo"],
    "encoders": ["encoders"],
    "fusions": ["fusions"],
    "data": ["data"],
    "data-fakeavceleb": ["data", "fakeavceleb"],
    "data-mosei": ["data", "mosei"],
    "data-activitynet": ["data", "activitynet"],
    "data-folder": ["data", "folder"],
    "extract": ["extract"],
    "store": ["store"],
    "store-info": ["store", "info"],
    "store-status": ["store", "status"],
    "store-verify": ["store", "verify"],
    "store-diff": ["store", "diff"],
    "store-derive": ["store", "derive"],
    "store-rename": ["store", "rename"],
    "store-drop": ["store", "drop"],
    "store-migrate": ["store", "migrate"],
    "store-gc": ["store", "gc"],
    "store-export": ["store", "export"],
    "store-import": ["store", "import"],
    "train": ["train"],
    "sweep": ["sweep"],
    "evaluate": ["evaluate"],
    "compare": ["compare"],
    "analyse": ["analyse"],
    "probe": ["probe"],
    "reproduce": ["reproduce"],
    "study": ["study"],
    "predict": ["predict"],
    "export": ["export"],
    "bench": ["bench"],
    "bench-loader": ["bench", "loader"],
    "bench-fusion": ["bench", "fusion"],
    "bench-train": ["bench", "train"],
    "report": ["report"],
    "serve": ["serve"],
    "submit": ["submit"],
    "runs": ["runs"],
    "logs": ["logs"],
    "cancel": ["cancel"],
    "resume": ["resume"],
    "promote": ["promote"],
    "models": ["models"],
    "service-token": ["service", "token"],
    "worker": ["worker"],
    "worker-drain": ["worker", "drain"],
    "service": ["service"],
    "service-reindex": ["service", "reindex"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_as_it_was(name: str) -> None:
    environment = os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}
    result = subprocess.run(
        [SCFAE, *COMMANDS[name], "--help"], capture_output=True, text=True, env=environment
    )
    assert result.returncode == 0, result.stderr
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("SCFAE_UPDATE_GOLDEN"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(result.stdout)
    assert result.stdout == path.read_text()
