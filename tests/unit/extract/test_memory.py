"""Memory does not grow with the number of files, nor with the length of one."""

import json
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from . import media_kit as kit

# Rows of one shard are held, so encoders of few rows a second are taken for hours of media.
ENCODERS = ["efficientnet-lite0:fps=0.5", "resnetse34l@random:0:stride_s=20"]
HOURS_S = 7_200
VIDEO_FPS = 2
SOUND_HZ = 8_000
GROWTH = 1.1

# Prints the peak of the process and of its largest decoding child, in kilobytes. A child's own
# peak is asked for while it lives: what the system reports at its end counts its parent's too.
CODE = """
import json, sys, threading
from pathlib import Path
from scfae.extract import extract

def peak(process):
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)

def watch():
    while not is_done.wait(0.1):
        for task in Path("/proc/self/task").iterdir():
            try:
                for child in (task / "children").read_text().split():
                    # Before it becomes the decoder it is a copy of us.
                    if b"decoder_child" in Path(f"/proc/{child}/cmdline").read_bytes():
                        largest.append(peak(child))
                    largest[:] = [max(largest)]
            except OSError:
                continue

if __name__ == "__main__":
    largest, is_done = [0], threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    media, store, *encoders = sys.argv[1:]
    report = extract(media, store, encoders, workers=2, batch_size=4, shard_size=5, timeout_s=900)
    is_done.set()
    watcher.join()
    columns = report.columns
    print(json.dumps({"peak_kb": [peak("self"), *largest], "counts": [c.counts for c in columns],
                      "rows": [c.rows for c in columns], "seconds": round(report.seconds, 1)}))
"""


def measured(media: Path, store: Path) -> dict[str, Any]:
    """Extract in a process of its own; return its peak in kilobytes and what it did."""
    command = [sys.executable, "-c", CODE, str(media), str(store), *ENCODERS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{media.name}: {found}")
    return found


def many(folder: Path, clip: Path, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        shutil.copy(clip, folder / f"{number:04}.mp4")
    return folder


def write_hours(path: Path) -> Path:
    """Write two hours of tiny pictures and of a tone."""
    with av.open(str(path), "w") as output:
        video: Any = output.add_stream("mpeg4", rate=VIDEO_FPS)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound: Any = output.add_stream("pcm_u8", rate=SOUND_HZ, layout="mono")
        second = (kit.tone(1.0, SOUND_HZ) * 127 + 128).astype(np.uint8)
        for time_s in range(HOURS_S):
            for k in range(VIDEO_FPS):
                number = time_s * VIDEO_FPS + k
                frame = av.VideoFrame.from_ndarray(kit.picture(number), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, VIDEO_FPS)
                output.mux(video.encode(frame))
            heard = av.AudioFrame.from_ndarray(second, format="u8", layout="mono")
            heard.sample_rate, heard.pts = SOUND_HZ, time_s * SOUND_HZ
            heard.time_base = Fraction(1, SOUND_HZ)
            output.mux(sound.encode(heard))
        output.mux(video.encode(None))
        output.mux(sound.encode(None))
    return path


def once(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return a clip and what ten of it take."""
    clip = kit.write_clip(folder / "clip.mp4", frames=50, sound_s=2.0)
    found = measured(many(folder / "once", clip, 10), folder / "a")
    assert [one["ok"] for one in found["counts"]] == [10, 10]
    return clip, found


def assert_no_more(found: dict[str, Any], before: dict[str, Any]) -> None:
    for peak, was in zip(found["peak_kb"], before["peak_kb"], strict=True):
        assert peak <= GROWTH * was, (found["peak_kb"], before["peak_kb"])


@pytest.mark.slow
@pytest.mark.timeout(3_000)
def test_memory_does_not_grow_with_the_number_of_files(tmp_path: Path) -> None:
    clip, before = once(tmp_path)
    found = measured(many(tmp_path / "tenfold", clip, 100), tmp_path / "b")
    assert [one["ok"] for one in found["counts"]] == [100, 100]
    assert_no_more(found, before)


@pytest.mark.slow
@pytest.mark.timeout(3_000)
def test_memory_does_not_grow_with_the_length_of_a_file(tmp_path: Path) -> None:
    _, before = once(tmp_path)
    long = tmp_path / "long"
    long.mkdir()
    write_hours(long / "talk.mkv")
    found = measured(long, tmp_path / "c")
    assert [one["ok"] for one in found["counts"]] == [1, 1]
    assert found["rows"][0] == HOURS_S // 2
    assert_no_more(found, before)
