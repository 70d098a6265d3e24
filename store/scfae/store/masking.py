"""Which present modalities are hidden in training: a pure function of (seed, epoch, sample id).

| policy        | a sample keeps                                                            |
|---------------|---------------------------------------------------------------------------|
| `none`        | everything                                                                |
| `bernoulli:P` | each present modality with probability 1 - P, and always at least one     |
| `subsets`     | a non-empty subset of its present modalities, all subsets equally likely  |
| `only:M1,M2`  | the named modalities; nothing, where it has none of them                  |

Nothing is drawn from a generator with a state. The 64-bit BLAKE2 hash of the id is mixed with one
of (seed, epoch, modality) by splitmix64 (Steele, Lea, Flood, OOPSLA 2014), so the mask of a sample
is the same on every machine, in any batch and for any order of the modalities.

Shapes: N samples, M modalities.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from .errors import ConfigError
from .order import Booleans, check_seed

Keys = npt.NDArray[np.uint64]
Kind = Literal["none", "bernoulli", "subsets", "only"]

POLICIES: Final = "none, bernoulli:P (P from 0 to 1), subsets or only:MODALITY,..."


@dataclass(frozen=True, slots=True)
class MaskPolicy:
    """A masking policy for the modalities of one view, made by `parse_policy`.

    Attributes:
        kind: Which of the four policies.
        modalities: All modalities, in the order of the masks' columns.
        probability: Of dropping, for `bernoulli`.
        only: The modalities to keep, for `only`, in the order of `modalities`.
    """

    kind: Kind
    modalities: tuple[str, ...]
    probability: float = 0.0
    only: tuple[str, ...] = ()

    def __str__(self) -> str:
        match self.kind:
            case "bernoulli":
                return f"bernoulli:{self.probability!r}"
            case "only":
                return f"only:{','.join(self.only)}"
            case kind:
                return kind

    @property
    def is_random(self) -> bool:
        """Whether masks depend on the sample, so that `id_keys` are needed."""
        return self.kind in ("bernoulli", "subsets")

    def masks(self, keys: Keys, available: Booleans, *, seed: int, epoch: int) -> Booleans:
        """Return what remains `[N, M]`, a part of `available`.

        Args:
            keys: `id_keys` of the samples `[N]`; not read unless `is_random`.
            available: What the samples have `[N, M]`.
            seed: Non-negative.
            epoch: Non-negative; masks change with it.
        """
        match self.kind:
            case "none":
                return available.copy()
            case "only":
                chosen: Booleans = np.array([m in self.only for m in self.modalities], dtype=bool)
                return np.logical_and(available, chosen)
            case "bernoulli":
                return self._bernoulli(keys, available, seed, epoch)
            case "subsets":
                return self._subsets(keys, available, seed, epoch)

    def _bernoulli(self, keys: Keys, available: Booleans, seed: int, epoch: int) -> Booleans:
        drawn = np.empty(available.shape, dtype=np.float64)
        for column, modality in enumerate(self.modalities):
            drawn[:, column] = _uniform(_mix(keys, seed, epoch, "bernoulli", modality))
        kept = available & (drawn >= self.probability)
        bare = available.any(axis=1) & ~kept.any(axis=1)
        # Given that all were dropped, the draws are still exchangeable: the largest is fair.
        last = np.where(available[bare], drawn[bare], -1.0).argmax(axis=1)
        kept[np.flatnonzero(bare), last] = True
        return kept

    def _subsets(self, keys: Keys, available: Booleans, seed: int, epoch: int) -> Booleans:
        # Bit k of a number from 1 to 2^n - 1 is the k-th, by name, of a sample's n modalities.
        by_name = np.argsort(np.array(self.modalities), kind="stable")
        has = available[:, by_name]
        bit = np.maximum(np.cumsum(has, axis=1) - 1, 0).astype(np.uint64)
        num_subsets = (np.uint64(1) << has.sum(axis=1).astype(np.uint64)) - np.uint64(1)
        chosen = _mix(keys, seed, epoch, "subsets", "") % np.maximum(num_subsets, np.uint64(1))
        kept = np.empty_like(available)
        kept[:, by_name] = has & ((((chosen + np.uint64(1))[:, None] >> bit) & np.uint64(1)) == 1)
        return kept


def parse_policy(policy: str, modalities: Sequence[str]) -> MaskPolicy:
    """Read a policy as users write it, such as `bernoulli:0.3` or `only:audio`.

    Raises:
        ConfigError: If it is none of the four, its probability is not from 0 to 1, or it names an
            unknown modality. The message names the field `masking`.
    """
    known = tuple(modalities)
    kind, colon, argument = policy.strip().partition(":")
    if kind == "none" and not colon:
        return MaskPolicy("none", known)
    if kind == "subsets" and not colon:
        if len(known) > 62:
            raise ConfigError(f"masking: subsets takes at most 62 modalities, not {len(known)}")
        return MaskPolicy("subsets", known)
    if kind == "bernoulli":
        return MaskPolicy("bernoulli", known, probability=_probability(argument))
    if kind == "only":
        named = {name.strip() for name in argument.split(",")} - {""}
        if unknown := sorted(named - set(known)):
            raise ConfigError(
                f"masking: only: names {', '.join(unknown)}; this view has {', '.join(known)}"
            )
        if not named:
            raise ConfigError(f"masking: only: names no modality; this view has {', '.join(known)}")
        return MaskPolicy("only", known, only=tuple(m for m in known if m in named))
    raise ConfigError(f"masking: {policy!r} is not a policy; use {POLICIES}")


def masks_for(
    ids: Sequence[str] | npt.NDArray[Any],
    available: Booleans,
    *,
    policy: str,
    seed: int,
    epoch: int,
    modalities: Sequence[str],
) -> Booleans:
    """Return which modalities remain `[N, M]` of those available, by the table of this module.

    A modality that is present is never the last to go, except under `only`. A sample with nothing
    available keeps nothing.

    Args:
        ids: Sample ids `[N]`.
        available: What the samples have `[N, M]`.
        policy: `none`, `bernoulli:P`, `subsets` or `only:M1,M2`.
        seed: Non-negative.
        epoch: Non-negative.
        modalities: Names of the M columns.

    Raises:
        ConfigError: If the policy, the seed or the epoch cannot be used.
    """
    check_seed(seed, epoch=epoch)
    parsed = parse_policy(policy, modalities)
    keys = id_keys(ids) if parsed.is_random else np.zeros(len(ids), dtype=np.uint64)
    return parsed.masks(keys, np.asarray(available, dtype=bool), seed=seed, epoch=epoch)


def id_keys(ids: Sequence[str] | npt.NDArray[Any]) -> Keys:
    """Return a 64-bit hash of each id `[N]`: BLAKE2b, about a microsecond each, worth caching."""
    hashes = b"".join(hashlib.blake2b(str(i).encode(), digest_size=8).digest() for i in ids)
    return np.frombuffer(hashes, dtype="<u8").astype(np.uint64)


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"masking: bernoulli: takes a probability from 0 to 1, not {text!r}")
    return value


def _mix(keys: Keys, seed: int, epoch: int, purpose: str, modality: str) -> Keys:
    text = f"scfae.masking/1\0{seed}\0{epoch}\0{purpose}\0{modality}".encode()
    salt = np.frombuffer(hashlib.blake2b(text, digest_size=8).digest(), dtype="<u8")
    return _splitmix64(_splitmix64(keys ^ salt) + salt)


def _splitmix64(x: Keys) -> Keys:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _uniform(keys: Keys) -> npt.NDArray[np.float64]:
    return (keys >> np.uint64(11)).astype(np.float64) * 2.0**-53
