"""What a run ran on: versions, commit, machine, threads. No figure can be judged without it."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("scfae", "torch", "numpy", "pyarrow", "zarr", "pydantic", "scikit-learn")


def environment(device: str) -> dict[str, Any]:
    """Return versions, commit, machine and threads as plain JSON values.

    Args:
        device: The device that the run uses.
    """
    return {
        "versions": {"python": platform.python_version()} | _versions(),
        "commit": _commit(Path(__file__).parent),
        "command": sys.argv,
        "machine": {
            "system": platform.platform(),
            "processor": platform.machine(),
            "cpus": os.cpu_count(),
            "device": device,
            "gpu": torch.cuda.get_device_name(device) if device.startswith("cuda") else None,
            "cuda": torch.version.cuda,
        },
        "threads": torch.get_num_threads(),
    }


def changes(before: dict[str, Any], now: dict[str, Any]) -> dict[str, list[Any]]:
    """Return what differs between two environments and may move a figure: {what: [was, is]}."""
    pairs = {
        f"versions.{name}": (before["versions"].get(name), value)
        for name, value in now["versions"].items()
    }
    pairs |= {
        f"machine.{name}": (before["machine"].get(name), value)
        for name, value in now["machine"].items()
    }
    pairs["commit"] = (before["commit"], now["commit"])
    pairs["threads"] = (before["threads"], now["threads"])
    return {name: [was, is_now] for name, (was, is_now) in pairs.items() if was != is_now}


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _commit(folder: Path) -> str | None:
    """Return the commit of the checkout this runs from, or None outside of one."""
    try:
        result = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"],  # noqa: S607 - whichever git there is
            capture_output=True,
            text=True,
            timeout=5,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None
