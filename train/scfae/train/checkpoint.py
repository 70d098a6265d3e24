"""Checkpoints: whole or not there, free of pickled code, and checked before they are used."""

import io
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scfae.store.atomic import write_atomic
from scfae.store.errors import CheckpointError

FORMAT = 2
RESUMABLE_FORMAT = 2
"""What a run can go on from; weights are read from older ones too."""


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically: after a kill there is the old one or the new one.

    Args:
        path: The file; its folder must exist.
        state: Tensors and plain values only, so that `weights_only=True` can read it back.
    """
    buffer = io.BytesIO()
    torch.save({"format": FORMAT, **state}, buffer)
    write_atomic(Path(path), buffer.getvalue())


def load_checkpoint(path: str | Path, *, device: str = "cpu") -> dict[str, Any]:
    """Return a checkpoint's state after checking every record's checksum.

    Raises:
        CheckpointError: Missing, incomplete, damaged, or written by a newer scfae.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(
            f"there is no checkpoint {path}; a run begins to write it after its first epoch"
            f"{_what_to_do(path)}"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise CheckpointError(
            f"{path} is not a whole checkpoint ({error}){_what_to_do(path)}"
        ) from None
    if damaged is not None:
        raise CheckpointError(
            f"{path} is damaged (the checksum of {damaged} differs){_what_to_do(path)}"
        )
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from None
    except Exception as error:
        # torch raises pickle.UnpicklingError for what weights_only refuses.
        if type(error).__name__ != "UnpicklingError":
            raise
        raise CheckpointError(f"{path} holds more than tensors and plain values.") from None
    if not isinstance(state, dict) or not isinstance(state.get("format"), int):
        raise CheckpointError(f"{path} is a torch file, but not a checkpoint of scfae.")
    if state["format"] > FORMAT:
        raise CheckpointError(
            f"{path} has checkpoint format {state['format']}, this scfae reads up to {FORMAT}: "
            "upgrade scfae."
        )
    return state


def _what_to_do(path: Path) -> str:
    """Return the end of a sentence about a checkpoint that cannot be used."""
    run = path.parent.parent
    if not (run / "config.yaml").is_file():
        return "."
    return f". If it was lost, train again: `scfae train {run / 'config.yaml'} --run OTHER`."


def rng_state() -> dict[str, Any]:
    """Return the state of every generator a model may draw from, as tensors and plain values."""
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    version, words, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [str(name), [int(key) for key in keys], position, has_gauss, cached],
        "python": [version, list(words), gauss],
    }


def restore_rng(state: dict[str, Any]) -> None:
    """Put every generator back to where `rng_state` found it."""
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all([one.cpu() for one in state["cuda"]])
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
