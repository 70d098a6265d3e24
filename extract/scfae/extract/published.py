"""Where published weights lie on this machine. Nothing heavy is imported, so listing is quick."""

import importlib.util
import os
from pathlib import Path

TORCH_HUB_HINT = "Put it into TORCH_HOME/hub/checkpoints (TORCH_HOME is ~/.cache/torch if not set)."


def find_in_hub(file_name: str) -> Path | None:
    """Return a published file from torch's hub cache (`TORCH_HOME`), None if it is not there."""
    home = os.environ.get("TORCH_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or "~/.cache", "torch"
    )
    path = Path(home).expanduser() / "hub" / "checkpoints" / file_name
    return path if path.is_file() else None


def find_in_package(package: str, relative: str) -> Path | None:
    """Return a file that an installed package ships, None if it is not there.

    The package itself is not imported: some need a compiler or a sound card for that.

    Args:
        package: Its import name.
        relative: The file inside it.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = Path(folder) / relative
        if path.is_file():
            return path
    return None
