"""Processes beside each other: threads that wait do not spin, unless the user says so."""

import subprocess
import sys

import pytest

from scfae.train.processors import sharing_environment


def test_threads_that_wait_leave_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("OMP_DISPLAY_ENV", "true")
    shown = subprocess.run(
        [sys.executable, "-c", "import torch"],
        env=sharing_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in shown.stderr


def test_the_users_own_word_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    assert sharing_environment()["OMP_WAIT_POLICY"] == "active"
