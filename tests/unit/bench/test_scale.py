"""The benchmark of a large store runs on a small one; it checks every row that it reads."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCALE = Path(__file__).resolve().parents[3] / "benchmarks" / "scale.py"


@pytest.mark.slow
def test_twenty_thousand_samples_are_read_right() -> None:
    words = [sys.executable, str(SCALE), "--samples", "20000", "--json"]
    result = subprocess.run(words, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    figures = {one["what"]: one for one in json.loads(result.stdout)}
    assert figures["memory growth over 20 epochs"]["value"] < 50
    assert figures["memory of planning an epoch"]["value"] < 500
    assert {one["outcome"] for one in figures.values()} <= {"", "reached", "missed"}
