"""Where a run computes, and the generators it draws from."""

import importlib
import random

import numpy as np
import torch

from scfae.store.errors import ConfigError


def choose_device(wanted: str) -> str:
    """Return the device that `auto` means here, or the wanted one.

    Raises:
        ConfigError: This machine has no such device.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda"):
        index = int(wanted.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            raise ConfigError(
                f"device = {wanted!r}: this machine has {torch.cuda.device_count()} CUDA devices."
            )
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device = 'mps': this machine has no such device.")
    return wanted


def seed_everything(seed: int) -> None:
    """Seed every generator a model may draw from."""
    # Validation needs it, and its import draws from `random`: so first, in every process alike.
    importlib.import_module("sklearn.metrics")
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


def seed_rank(seed: int, rank: int) -> None:
    """Seed the generators of one of several processes apart; the first keeps its own."""
    if rank:
        seed_everything((seed + rank * 0x9E3779B1) % 2**32)
