"""The generators that a run draws from."""

import importlib
import random

import numpy as np
import torch


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
