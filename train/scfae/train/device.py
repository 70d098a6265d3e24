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
    try:
        device = torch.device(wanted)
        if device.type == "cuda":
            count = torch.cuda.device_count()
            if (device.index or 0) >= count:
                raise ConfigError(f"device = {wanted!r}: this machine has {count} CUDA devices.")
        else:
            torch.empty(0, device=device)
    except (RuntimeError, NotImplementedError, AssertionError):  # as the build of PyTorch has it
        raise ConfigError(
            f"device = {wanted!r}: this machine has no such device; cpu, cuda, cuda:N and auto "
            "are names of devices."
        ) from None
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
