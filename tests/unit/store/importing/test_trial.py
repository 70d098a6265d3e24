"""HDF5 files are read by a child first: what hangs or crashes it never reaches this process."""

import subprocess
import sys
from pathlib import Path

import pytest

from scfae.store.errors import ImportRefused
from scfae.store.importing import open_source
from scfae.store.importing.trial import try_reading

from .kit import samples, write_source

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "import"


def test_a_file_that_hdf5_never_finishes_is_stopped() -> None:
    # Four bytes of its heap of text are altered; HDF5 2.0 loops in it without end.
    with pytest.raises(
        ImportRefused, match=r"endless\.h5: (reading it did not end|cannot be read)"
    ):
        try_reading(GOLDEN / "endless.h5", max_bytes=None, limit_s=3)


def test_a_file_that_takes_too_long_is_refused(tmp_path: Path) -> None:
    source = write_source("hdf5", tmp_path, samples())
    with pytest.raises(ImportRefused, match=r"source\.h5: reading it did not end in 0 s"):
        try_reading(source, max_bytes=None, limit_s=0.01)


@pytest.mark.parametrize(
    ("script", "what"),
    [("kill -SEGV $$", r"crashed HDF5 \(SIGSEGV\)"), ("echo broken >&2; exit 1", "broken")],
)
def test_a_file_that_crashes_the_child_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, what: str
) -> None:
    source = write_source("csd", tmp_path, samples())
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(ImportRefused, match=what):
        open_source(source, modality="audio")


def test_a_limit_on_memory_that_is_there_is_kept(tmp_path: Path) -> None:
    source = write_source("hdf5", tmp_path, samples())
    script = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30));"
        "from pathlib import Path; from scfae.store.importing.trial import try_reading;"
        "try_reading(Path(sys.argv[1]), max_bytes=None)"
    )
    done = subprocess.run([sys.executable, "-c", script, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
