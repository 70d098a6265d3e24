"""Table 13's memory: how far each row's first run raises the peak, and how high that is.

On a GPU PyTorch's allocator tells. On a CPU the kernel does: a child process imports what all rows
need and forks one process a row, whose peak resident size is set back before the run; what a row
leaves allocated is then no other row's. `python -m scfae.train.reproduce.memory` is that child; it
prints one JSON line a row. The first run counts, so a training step has its gradients and AdamW's
two moments in it.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from scfae.store.errors import RunStateError

from .workload import NAMES, Workload

MB = 2.0**20
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True, slots=True)
class Memory:
    """Peak memory of one row.

    Attributes:
        added: What the run takes on top of models and inputs, in MB.
        total: In all, in MB; on a CPU with Python and PyTorch themselves.
    """

    added: float
    total: float


def measure_memory(device: str) -> Mapping[str, Memory]:
    """Return the peak memory of each row; of none where the system does not tell.

    Raises:
        RunStateError: The child that measures has failed.
    """
    if device.startswith("cuda"):
        return {name: _on_gpu(name, device) for name in NAMES}
    if not _RESET.exists():
        return {}
    done = subprocess.run(
        [sys.executable, "-m", __name__],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if done.returncode:
        raise RunStateError(f"table13: memory could not be measured: {done.stderr.strip()[-500:]}")
    found = {}
    for line in done.stdout.splitlines():
        record = json.loads(line)
        found[record["name"]] = Memory(record["added"], record["total"])
    return found


def _on_gpu(name: str, device: str) -> Memory:
    torch.cuda.empty_cache()
    component = Workload(device).component(name)
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    component.go()
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device)
    return Memory((peak - before) / MB, peak / MB)


def _on_cpu(name: str) -> Memory:
    """Return what a row takes in this process, which has run nothing else."""
    _warm_up()
    component = Workload("cpu").component(name)
    before = _resident("VmRSS")
    _RESET.write_text("5")  # sets the peak back to what is resident now; see proc(5)
    component.go()
    peak = _resident("VmHWM")
    return Memory((peak - before) / MB, peak / MB)


def _warm_up() -> None:
    """Have the libraries' own buffers and threads there before anything is measured."""
    small = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 4))
    small(torch.randn(2, 1, 8, 8)).sum().backward()
    torch.optim.AdamW(small.parameters()).step()


def _resident(field: str) -> float:
    found = re.search(rf"^{field}:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
    assert found is not None
    return float(found[1]) * 1024


def _main() -> int:
    for name in NAMES:
        pid = os.fork()  # nothing was computed yet, so no library has begun to use its threads
        if pid == 0:
            found = _on_cpu(name)
            record = {"name": name, "added": found.added, "total": found.total}
            print(json.dumps(record), flush=True)
            return 0
        _, status = os.waitpid(pid, 0)
        if status:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
