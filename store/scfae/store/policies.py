"""The masking policies, each a class; `masking` reads them from text.

Every policy returns a part of what is available and is a pure function of (seed, epoch, id).
`none`, `bernoulli` with one probability, `subsets` without weights and `only` give the numbers
that every version so far gave.

Shapes: N samples, M modalities, S subsets.
"""

import bisect
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from .hashing import Keys, mix, uniform
from .order import Booleans


class MaskPolicy(Protocol):
    """Which of the modalities that a sample has remain; `str` gives its canonical spelling."""

    @property
    def is_random(self) -> bool:
        """Whether masks depend on the sample, so that keys are read."""

    @property
    def changes(self) -> bool:
        """Whether masks differ between epochs."""

    def may_keep(self, epoch: int) -> tuple[bool, ...]:
        """Return for each of the M modalities whether any sample may keep it."""

    def masks(self, keys: Keys, available: Booleans, *, seed: int, epoch: int) -> Booleans:
        """Return what remains `[N, M]`, a part of `available`.

        Args:
            keys: `id_keys` of the samples `[N]`; not read unless `is_random`.
            available: What the samples have `[N, M]`.
            seed: Non-negative.
            epoch: Non-negative.
        """


@dataclass(frozen=True, slots=True)
class Everything:
    """`none`: nothing is hidden."""

    modalities: tuple[str, ...]
    is_random = False
    changes = False

    def __str__(self) -> str:
        return "none"

    def may_keep(self, epoch: int) -> tuple[bool, ...]:
        """Return True for each."""
        return (True,) * len(self.modalities)

    def masks(self, keys: Keys, available: Booleans, *, seed: int, epoch: int) -> Booleans:
        """Return a copy of `available`."""
        return available.copy()


@dataclass(frozen=True, slots=True)
class Only:
    """`only:M1,M2`: the named modalities; nothing, where a sample has none of them.

    Attributes:
        modalities: All modalities, in the order of the masks' columns.
        kept: The named ones, in the same order.
    """

    modalities: tuple[str, ...]
    kept: tuple[str, ...]
    is_random = False
    changes = False

    def __str__(self) -> str:
        return f"only:{','.join(self.kept)}"

    def may_keep(self, epoch: int) -> tuple[bool, ...]:
        """Return True for the named ones."""
        return tuple(m in self.kept for m in self.modalities)

    def masks(self, keys: Keys, available: Booleans, *, seed: int, epoch: int) -> Booleans:
        """Return the named ones of those available."""
        return np.logical_and(available, self.may_keep(epoch))


@dataclass(frozen=True, slots=True)
class Bernoulli:
    """`bernoulli:P`, `bernoulli:M1=P1,M2=P2`: each is dropped by itself, but never the last.

    Attributes:
        modalities: All modalities, in the order of the masks' columns.
        probabilities: Of dropping each of them.
        is_named: Whether they were given by name.
    """

    modalities: tuple[str, ...]
    probabilities: tuple[float, ...]
    is_named: bool = False
    is_random = True
    changes = True

    def __str__(self) -> str:
        if not self.is_named:
            return f"bernoulli:{self.probabilities[0] if self.probabilities else 0.0!r}"
        pairs = sorted(zip(self.modalities, self.probabilities, strict=True))
        return "bernoulli:" + ",".join(f"{m}={p!r}" for m, p in pairs if p > 0)

    def may_keep(self, epoch: int) -> tuple[bool, ...]:
        """Return True for each."""
        return (True,) * len(self.modalities)

    def masks(self, keys: Keys, available: Booleans, *, seed: int, epoch: int) -> Booleans:
        """Return what was not dropped; one comes back where all were."""
        drawn = drawn_by_modality(keys, available, self.modalities, seed, epoch, "bernoulli")
        rates = np.array(self.probabilities)
        kept = available & (drawn >= rates)
        bare = available.any(axis=1) & ~kept.any(axis=1)
        # Given that all were dropped, draws by probability are exchangeable: the largest is fair.
        fair = drawn[bare] / np.where(rates > 0, rates, 1.0) if self.is_named else drawn[bare]
        last = np.where(available[bare], fair, -1.0).argmax(axis=1)
        kept[np.flatnonzero(bare), last] = True
        return kept


@dataclass(frozen=True, slots=True)
class Subsets:
    """`subsets`: a non-empty subset of a sample's modalities, all subsets equally likely."""

    modalities: tuple[str, ...]
    is_random = True
    changes = True

    def __str__(self) -> str:
        return "subsets"

    def may_keep(self, epoch: int) -> tuple[bool, ...]:
        """Return True for each."""
        return (True,) * len(self.modalities)

    def masks(self, keys: Keys, available: Booleans, *, seed: int, epoch: int) -> Booleans:
        """Return the chosen subset of each sample."""
        # Bit k of a number from 1 to 2^n - 1 is the k-th, by name, of a sample's n modalities.
        by_name = np.argsort(np.array(self.modalities), kind="stable")
        has = available[:, by_name]
        bit = np.maximum(np.cumsum(has, axis=1) - 1, 0).astype(np.uint64)
        num_subsets = (np.uint64(1) << has.sum(axis=1).astype(np.uint64)) - np.uint64(1)
        chosen = mix(keys, seed, epoch, "subsets") % np.maximum(num_subsets, np.uint64(1))
        kept = np.empty_like(available)
        kept[:, by_name] = has & ((((chosen + np.uint64(1))[:, None] >> bit) & np.uint64(1)) == 1)
        return kept


@dataclass(frozen=True, slots=True)
class WeightedSubsets:
    """`subsets:M1=1,M1+M2=3`: one of the named subsets, as often as its weight says.

    A sample draws among those of which it has a part, and keeps that part; one that has no part of
    any keeps what it has.

    Attributes:
        modalities: All modalities, in the order of the masks' columns.
        weights: Weight of each subset of names, sorted by the names.
    """

    modalities: tuple[str, ...]
    weights: tuple[tuple[tuple[str, ...], float], ...]
    is_random = True
    changes = True

    def __str__(self) -> str:
        return "subsets:" + ",".join(f"{'+'.join(names)}={w!r}" for names, w in self.weights)

    def may_keep(self, epoch: int) -> tuple[bool, ...]:
        """Return True for each: a sample without a part of any subset keeps what it has."""
        return (True,) * len(self.modalities)

    def masks(self, keys: Keys, available: Booleans, *, seed: int, epoch: int) -> Booleans:
        """Return the chosen subset of each sample."""
        members = np.array(
            [[m in names for m in self.modalities] for names, _ in self.weights], dtype=bool
        )
        # [N, S]: whether a sample has a part of a subset. As floats, since bools multiply slowly.
        eligible = available.astype(np.float32) @ members.T.astype(np.float32) > 0
        ends = np.cumsum(eligible * np.array([weight for _, weight in self.weights]), axis=1)
        total = ends[:, -1:]
        drawn = uniform(mix(keys, seed, epoch, "weighted subsets"))[:, None] * total
        chosen = np.minimum((drawn >= ends).sum(axis=1), len(members) - 1)
        return np.where(total > 0, available & members[chosen], available)


@dataclass(frozen=True, slots=True)
class Rate:
    """`rate:R`: a share R of what is there is missing, in every epoch the same, never the last.

    As the missing rates of published protocols (GCNet, TPAMI 2023): one modality at random is
    kept and the others so often that the rate comes out; where the rate asks for less than one of
    them, exactly one remains. R is the expectation; `exact_rate_masks` meets it to the sample.

    Attributes:
        modalities: All modalities, in the order of the masks' columns.
        rate: The share.
    """

    modalities: tuple[str, ...]
    rate: float
    is_random = True
    changes = False

    def __str__(self) -> str:
        return f"rate:{self.rate!r}"

    def may_keep(self, epoch: int) -> tuple[bool, ...]:
        """Return True for each."""
        return (True,) * len(self.modalities)

    def masks(self, keys: Keys, available: Booleans, *, seed: int, epoch: int) -> Booleans:
        """Return the one that is kept and those that come with it."""
        first = drawn_by_modality(
            keys, available, self.modalities, seed, 0, "rate: the one that stays"
        )
        rest = drawn_by_modality(keys, available, self.modalities, seed, 0, "rate: the others")
        count = available.sum(axis=1, keepdims=True)
        # One of n stays for sure, each of the others with q, so that (1 + (n - 1) q) / n = 1 - R.
        q = (count * (1 - self.rate) - 1) / np.maximum(count - 1, 1)
        kept: Booleans = np.logical_and(available, rest < q)
        stays = np.where(available, first, -1.0).argmax(axis=1)
        some = np.flatnonzero(count[:, 0])
        kept[some, stays[some]] = True
        return kept


@dataclass(frozen=True, slots=True)
class Schedule:
    """`schedule:0:none,5:bernoulli:0.3`: another policy from an epoch on.

    Attributes:
        starts: First epoch of each, rising from 0.
        policies: One for each start.
    """

    starts: tuple[int, ...]
    policies: tuple[MaskPolicy, ...]
    changes = True

    def __str__(self) -> str:
        parts = zip(self.starts, self.policies, strict=True)
        return "schedule:" + ",".join(f"{start}:{policy}" for start, policy in parts)

    @property
    def is_random(self) -> bool:
        """Whether any of them depends on the sample."""
        return any(policy.is_random for policy in self.policies)

    def at(self, epoch: int) -> MaskPolicy:
        """Return the policy of an epoch."""
        return self.policies[bisect.bisect_right(self.starts, epoch) - 1]

    def may_keep(self, epoch: int) -> tuple[bool, ...]:
        """Return what the policy of the epoch may keep."""
        return self.at(epoch).may_keep(epoch)

    def masks(self, keys: Keys, available: Booleans, *, seed: int, epoch: int) -> Booleans:
        """Return the masks of the policy of the epoch."""
        return self.at(epoch).masks(keys, available, seed=seed, epoch=epoch)


def drawn_by_modality(
    keys: Keys,
    available: Booleans,
    modalities: tuple[str, ...],
    seed: int,
    epoch: int,
    purpose: str,
) -> npt.NDArray[np.float64]:
    """Return a number from 0 to 1 for each sample and modality `[N, M]`."""
    drawn = np.empty(available.shape, dtype=np.float64)
    for column, modality in enumerate(modalities):
        drawn[:, column] = uniform(mix(keys, seed, epoch, purpose, modality))
    return drawn
