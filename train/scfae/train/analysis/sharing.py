"""How much two parts have in common: linear CKA, and a CLUB estimate of mutual information.

CKA is 1 for parts that differ by a rotation and a scale, and near 0 for unrelated ones where there
are many more samples than features; with few samples it is far above 0, so the mean of permuted
pairs stands beside it.

CLUB's bound is measured on the half of the samples that its estimator did not learn from, over
seeds; beside it the same of permuted pairs, which have nothing in common. Both parts are brought to
their leading principal components and to deviation 1, as measured on the learning half. So it is of
what these components share, in nats, and no bound of the whole; and being a bound it may be far
above what they share (7.1 for four pairs of Gaussians that correlate at 0.8 and share 2.0).

Shapes: K samples, W and V features.
"""

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import torch

from scfae.fusion.losses import CLUB
from scfae.store.similarity import linear_cka

from .parts import Array, Part, both

COMPONENTS: Final = 8
"""Principal components of each part that CLUB's estimator sees."""
STEPS: Final = 150
LEARNING_RATE: Final = 1e-2
WEIGHT_DECAY: Final = 1e-2
SEEDS: Final = 3
PERMUTATIONS: Final = 5
LEAST_SAMPLES: Final = 20
"""Fewer say nothing of a held-out half."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """CLUB's estimate, in nats, over seeds.

    Attributes:
        mean: Over seeds.
        sd: Over seeds.
        permuted: The same of permuted pairs, mean over seeds.
        permuted_sd: Its deviation.
        seeds: How many.
    """

    mean: float
    sd: float
    permuted: float
    permuted_sd: float
    seeds: int


@dataclass(frozen=True, slots=True)
class Sharing:
    """What two parts have in common.

    Attributes:
        first: Name of one part.
        second: Of the other.
        n: Samples that have both.
        cka: Linear CKA; None where a part is constant.
        cka_permuted: Mean of permuted pairs.
        club: None with too few samples.
    """

    first: str
    second: str
    n: int
    cka: float | None
    cka_permuted: float | None
    club: Estimate | None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        return asdict(self)


def sharing_of(
    parts: Sequence[Part], *, seeds: int = SEEDS, most: int = 2000
) -> tuple[Sharing, ...]:
    """Return what each modality's two parts share, and the parts of one kind of each pair.

    Args:
        parts: By `parts_of`.
        seeds: Of CLUB's estimator, 0, 1, …
        most: Samples looked at, evenly spread.
    """
    found = []
    for first, second in itertools.combinations(parts, 2):
        if first.kind != second.kind and first.modality != second.modality:
            continue
        x, y = both(first, second)
        rows = np.linspace(0, len(x) - 1, min(most, len(x))).astype(np.int64)
        x, y = x[rows], y[rows]
        generator = np.random.default_rng(0)
        drawn = [linear_cka(x, y[generator.permutation(len(y))]) for _ in range(PERMUTATIONS)]
        known = [one for one in drawn if one is not None]
        found.append(
            Sharing(
                first.name,
                second.name,
                len(x),
                linear_cka(x, y),
                statistics.fmean(known) if known else None,
                club_estimate(x, y, seeds=seeds) if len(x) >= LEAST_SAMPLES else None,
            )
        )
    return tuple(found)


def club_estimate(
    x: Array, y: Array, *, seeds: int = SEEDS, components: int = COMPONENTS, steps: int = STEPS
) -> Estimate:
    """Return CLUB's estimate of what x `[K, W]` and y `[K, V]` share, on the held-out half.

    Args:
        x: One part of K samples.
        y: Another of the same samples.
        seeds: Halves, permutations and estimators that it is taken over.
        components: Principal components that each is brought to.
        steps: Of learning.
    """
    real, permuted = [], []
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(x))
        halves = order[: len(x) // 2], order[len(x) // 2 :]
        shuffled = y[generator.permutation(len(y))]
        real.append(_bound(x, y, halves, seed, components, steps))
        permuted.append(_bound(x, shuffled, halves, seed, components, steps))
    return Estimate(
        statistics.fmean(real),
        statistics.pstdev(real),
        statistics.fmean(permuted),
        statistics.pstdev(permuted),
        seeds,
    )


def _bound(
    x: Array, y: Array, halves: tuple[Array, Array], seed: int, components: int, steps: int
) -> float:
    """Return the bound on the second half, of an estimator that learned from the first."""
    (x_learn, x_held), (y_learn, y_held) = (_whitened(one, *halves, components) for one in (x, y))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        club = CLUB(x_learn.shape[1], y_learn.shape[1])
        optimizer = torch.optim.AdamW(
            club.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True
        )
        for _ in range(steps):
            optimizer.zero_grad()
            club.learning_loss(x_learn, y_learn).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        return float(club.bound(x_held, y_held))


def _whitened(
    rows: Array, learn: Array, held: Array, components: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both halves on the first half's principal components, each of deviation 1."""
    mean = rows[learn].mean(axis=0)
    centred = rows[learn] - mean
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    count = max(1, min(components, int((sizes > 1e-9 * max(sizes[0], 1e-30)).sum())))
    scale = sizes[:count] / np.sqrt(len(learn))
    scale[scale == 0] = 1.0
    first, second = (
        torch.from_numpy((rows[half] - mean) @ axes[:count].T / scale).float()
        for half in (learn, held)
    )
    return first, second
