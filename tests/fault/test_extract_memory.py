"""Memory of an extraction is bounded by its settings, not by how many files there are."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..unit.extract import media_kit as kit

FILES = 10
MOST_GROWTH = 1.1
PROGRAM = """
import json, resource, sys
from scfae.extract import extract
report = extract(sys.argv[1], sys.argv[2], ["efficientnet-lite0", "ge2e"], workers=1, batch_size=2,
                 shard_size=5)
peaks = [resource.getrusage(who).ru_maxrss for who in
         (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"files": report.files, "peaks": peaks}))
"""

pytestmark = [pytest.mark.fault, pytest.mark.slow]


def peaks_of(media: Path, store: Path, *, files: int) -> list[int]:
    """Return the most memory that the process and any of its decoders took, in kilobytes."""
    words = [sys.executable, "-c", PROGRAM, str(media), str(store)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    said = json.loads(done.stdout)
    assert said["files"] == files
    peaks: list[int] = said["peaks"]
    return peaks


@pytest.mark.timeout(600)
def test_ten_times_the_files_take_no_more_memory(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    few.mkdir()
    many.mkdir()
    kit.write_clip(few / "0.mp4", frames=10, sound_s=0.4)
    for i in range(1, FILES):
        shutil.copy(few / "0.mp4", few / f"{i}.mp4")
    for i in range(10 * FILES):
        shutil.copy(few / "0.mp4", many / f"{i}.mp4")
    small = peaks_of(few, tmp_path / "small", files=FILES)
    large = peaks_of(many, tmp_path / "large", files=10 * FILES)
    for once, ten_times in zip(small, large, strict=True):
        assert ten_times <= MOST_GROWTH * once
    print(f"peaks in kilobytes: {small} over {FILES} files, {large} over ten times as many")
