"""The command line as a stranger types it: a subprocess, its status, its two streams."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

SCFAE = Path(sys.executable).parent / "scfae"
Scfae = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def scfae() -> Scfae:
    """Return a function that runs `scfae WORDS…` and returns what came of it."""

    def run(*words: object, timeout_s: float = 200) -> "subprocess.CompletedProcess[str]":
        environment = os.environ | {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "100"}
        # No hub and no cache: what a package ships is all there is.
        environment |= {"HF_HUB_OFFLINE": "1"}
        return subprocess.run(
            [str(SCFAE), *map(str, words)],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            env=environment,
        )

    return run
