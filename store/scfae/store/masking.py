"""Which present modalities are hidden: a pure function of (seed, epoch, sample id).

| policy                          | a sample keeps                                                 |
|---------------------------------|----------------------------------------------------------------|
| `none`                          | everything                                                     |
| `bernoulli:P`                   | each modality with probability 1 - P, and always at least one  |
| `bernoulli:M1=P1,M2=P2`         | the same with a P of its own for each, 0 where not named       |
| `subsets`                       | a non-empty subset of what it has, all equally likely          |
| `subsets:M1=W1,M1+M2=W2`        | one of the named subsets by weight, as far as it has it        |
| `only:M1,M2` (or `fixed:`)      | the named modalities; nothing, where it has none of them       |
| `rate:R`                        | all but a share R over the data set, the same in every epoch   |
| `schedule:0:POLICY,5:POLICY`    | what the policy of the epoch says, each from its first epoch   |
| `table:PATH`                    | what a stored table says; see `mask_table`                     |

The mask of a sample is the same on every machine, in any batch and for any order of modalities.
Branches of one modality (`video`, `video:motion`) are hidden together; a policy names modalities.

Shapes: N samples, M modalities.
"""

import itertools
import math
import re
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .branches import BranchMasks, modalities_of
from .errors import ConfigError
from .hashing import id_keys
from .mask_table import MaskTable, read_mask_table
from .order import Booleans, check_seed
from .policies import (
    Bernoulli,
    Everything,
    MaskPolicy,
    Only,
    Rate,
    Schedule,
    Subsets,
    WeightedSubsets,
)

POLICIES: Final = (
    "none, bernoulli:P (P from 0 to 1), bernoulli:MODALITY=P,..., subsets, "
    "subsets:MODALITY+MODALITY=WEIGHT,..., only:MODALITY,..., rate:R, "
    "schedule:EPOCH:POLICY,... or table:PATH"
)
_MAX_SUBSET_MODALITIES: Final = 62


def parse_policy(policy: str, modalities: Sequence[str]) -> MaskPolicy:
    """Read a policy as users write it, such as `bernoulli:0.3` or `only:audio`.

    Raises:
        ConfigError: If it is none of the table, a number in it is out of range, it names an
            unknown modality or its file cannot be used. The message names the field `masking`.
    """
    known = tuple(modalities)
    if (whole := modalities_of(known)) != known:
        return BranchMasks(known, parse_policy(policy, whole))
    kind, colon, argument = policy.strip().partition(":")
    match kind:
        case "none" if not colon:
            return Everything(known)
        case "subsets":
            return _subsets(argument, known) if colon else _uniform_subsets(known)
        case "bernoulli":
            return _bernoulli(argument, known)
        case "only" | "fixed":
            return _only(kind, argument, known)
        case "rate" if colon:
            return Rate(known, _share("rate", "share", argument))
        case "schedule" if colon:
            return _schedule(argument, known)
        case "table" if colon:
            if not argument.strip():
                raise ConfigError("masking: table: names no file")
            return read_mask_table(argument.strip(), known)
        case _:
            raise ConfigError(f"masking: {policy!r} is not a policy; use {POLICIES}")


def named_modalities(policy: str) -> tuple[str, ...] | None:
    """Return the modalities that a policy names, to check its spelling without a view.

    None if what it names is not in its text: a table has its modalities in its file.
    """
    kind, _, argument = policy.strip().partition(":")
    if kind == "table":
        return None
    if kind == "schedule":
        each = [named_modalities(part.partition(":")[2]) for part in _schedule_parts(argument)]
        return None if None in each else tuple(name for names in each for name in names or ())
    names = re.split(r"[,+]", re.sub(r"=[^,]*", "", argument))
    return tuple(dict.fromkeys(name.strip() for name in names))


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

    A modality that is present is never the last to go, except under `only` and `table`. A sample
    with nothing available keeps nothing.

    Args:
        ids: Sample ids `[N]`.
        available: What the samples have `[N, M]`.
        policy: See this module, e.g. `bernoulli:0.3`.
        seed: Non-negative.
        epoch: Non-negative.
        modalities: Names of the M columns, or branches.

    Raises:
        ConfigError: If the policy, the seed or the epoch cannot be used.
    """
    check_seed(seed, epoch=epoch)
    parsed = parse_policy(policy, modalities)
    keys = id_keys(ids) if parsed.is_random else np.zeros(len(ids), dtype=np.uint64)
    check_tables(parsed, np.asarray(ids))
    return parsed.masks(keys, np.asarray(available, dtype=bool), seed=seed, epoch=epoch)


def check_tables(policy: MaskPolicy, ids: npt.NDArray[Any]) -> None:
    """Check that every table of a policy has a row for each sample.

    Raises:
        ConfigError: If one lacks a sample.
    """
    whole = policy.policy if isinstance(policy, BranchMasks) else policy
    policies = whole.policies if isinstance(whole, Schedule) else (whole,)
    for each in policies:
        if isinstance(each, MaskTable):
            each.check(ids, id_keys(ids))


def _uniform_subsets(known: tuple[str, ...]) -> Subsets:
    if len(known) > _MAX_SUBSET_MODALITIES:
        raise ConfigError(
            f"masking: subsets takes at most {_MAX_SUBSET_MODALITIES} modalities, not {len(known)}"
        )
    return Subsets(known)


def _subsets(argument: str, known: tuple[str, ...]) -> WeightedSubsets:
    weights: dict[tuple[str, ...], float] = {}
    for name, value in _pairs("subsets", argument):
        names = tuple(sorted({part.strip() for part in name.split("+")} - {""}))
        _check_known("subsets", names, known)
        if names in weights:
            raise ConfigError(f"masking: subsets: names {'+'.join(names)} twice")
        weights[names] = _number(value)
        if not 0 < weights[names] < math.inf:
            raise ConfigError(f"masking: subsets: takes weights above 0, not {value!r}")
    return WeightedSubsets(known, tuple(sorted(weights.items())))


def _bernoulli(argument: str, known: tuple[str, ...]) -> Bernoulli:
    if "=" not in argument:
        return Bernoulli(known, (_share("bernoulli", "probability", argument),) * len(known))
    named: dict[str, float] = {}
    for name, value in _pairs("bernoulli", argument):
        _check_known("bernoulli", (name,), known)
        if name in named:
            raise ConfigError(f"masking: bernoulli: names {name} twice")
        named[name] = _share("bernoulli", "probability", value)
    return Bernoulli(known, tuple(named.get(m, 0.0) for m in known), is_named=True)


def _only(kind: str, argument: str, known: tuple[str, ...]) -> Only:
    named = {name.strip() for name in argument.split(",")} - {""}
    _check_known(kind, tuple(sorted(named)), known)
    return Only(known, tuple(m for m in known if m in named))


def _schedule(argument: str, known: tuple[str, ...]) -> Schedule:
    starts, policies = [], []
    for part in _schedule_parts(argument):
        start, _, policy = part.partition(":")
        if not start.strip().isdecimal():
            raise ConfigError(f"masking: schedule: {part!r} is not EPOCH:POLICY")
        if policy.strip().startswith("schedule"):
            raise ConfigError("masking: schedule: holds a schedule; write its epochs here")
        starts.append(int(start))
        policies.append(parse_policy(policy, known))
    if starts[0] != 0 or any(a >= b for a, b in itertools.pairwise(starts)):
        raise ConfigError(f"masking: schedule: epochs must rise from 0, not {starts}")
    return Schedule(tuple(starts), tuple(policies))


def _schedule_parts(argument: str) -> list[str]:
    # A comma may also stand inside a policy; one that ends it is followed by an epoch.
    return re.split(r",(?=\s*\d+\s*:)", argument)


def _pairs(kind: str, argument: str) -> list[tuple[str, str]]:
    pairs = [part.partition("=") for part in argument.split(",")]
    if any(not name.strip() or not equals for name, equals, _ in pairs):
        raise ConfigError(f"masking: {kind}: takes NAME=NUMBER,..., not {argument!r}")
    return [(name.strip(), value) for name, _, value in pairs]


def _check_known(kind: str, named: tuple[str, ...], known: tuple[str, ...]) -> None:
    if unknown := [name for name in named if name not in known]:
        raise ConfigError(
            f"masking: {kind}: names {', '.join(unknown)}; this view has {', '.join(known)}"
        )
    if not named:
        raise ConfigError(f"masking: {kind}: names no modality; this view has {', '.join(known)}")


def _share(kind: str, what: str, text: str) -> float:
    value = _number(text)
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"masking: {kind}: takes a {what} from 0 to 1, not {text!r}")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
