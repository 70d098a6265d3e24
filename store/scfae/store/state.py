"""Where a stream is, as a few integers and strings, and whether a state belongs to a stream.

A state knows no ranks: it says how far the global order was consumed. What decides that order is
in it as digests, one for each part, so that a mismatch can say which part it is.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from .errors import StreamStateError

State = dict[str, int | str]

STATE_FORMAT: Final = 1
_FIELDS: Final = ("plan", "seed", "epoch", "position", "batch_size")
_ORDER: Final = "shuffle or window_shards"
_PARTS: Final = (
    "the view (its samples, columns or labels)",
    _ORDER,
    "masking",
    "seed or batch_size",
)
_PART_DIGITS: Final = 16


def plan_digest(
    *,
    fingerprint: str,
    shuffle: bool,
    window_shards: int,
    masking: str,
    seed: int,
    batch_size: int,
    options: str,
) -> str:
    """Return what decides the batches of all epochs, digested part by part.

    Args:
        fingerprint: Of the view.
        shuffle: As the stream has it.
        window_shards: As the stream has it.
        masking: The policy, in its canonical spelling.
        seed: As the stream has it.
        batch_size: As the stream has it.
        options: `BatchOptions.text`; empty where all have their defaults.
    """
    order: tuple[object, ...] = (shuffle, window_shards)
    parts = (
        (fingerprint,),
        (*order, options) if options else order,
        (masking,),
        (seed, batch_size),
    )
    return "".join(_short_digest(*part) for part in parts)


def make_state(
    plan: str, *, seed: int, epoch: int, position: int, batch_size: int, options: str
) -> State:
    """Return the state of a stream; what it holds is in `plan_digest` and `FeatureStream`."""
    state: State = {
        "format": STATE_FORMAT,
        "plan": plan,
        "seed": seed,
        "epoch": epoch,
        "position": position,
        "batch_size": batch_size,
    }
    return state | {"options": options} if options else state


def check_state(state: Mapping[str, int | str], mine: State) -> tuple[int, int]:
    """Check that a state is one of the stream whose own state is `mine`.

    Returns:
        Its epoch and position; whether a batch begins there is not checked.

    Raises:
        StreamStateError: If it was taken from a stream of other samples, columns, order, masking,
            seed, batch size or other options, or is damaged. The message says which.
    """
    if state.get("format") != STATE_FORMAT:
        raise StreamStateError(
            f"stream state: format {state.get('format')!r} is not {STATE_FORMAT}; "
            "it was saved by another version of scfae"
        )
    if lacking := [field for field in _FIELDS if field not in state]:
        raise StreamStateError(f"stream state: lacks {', '.join(lacking)}")
    for field in ("seed", "batch_size"):
        if state[field] != mine[field]:
            raise StreamStateError(
                f"stream state: {field} is {state[field]}, but this stream's is {mine[field]}"
            )
    if differing := _differences(state, mine):
        raise StreamStateError(
            f"stream state: was taken from a stream that differs in {' and '.join(differing)}; "
            "make the stream as it was then"
        )
    epoch, position = state["epoch"], state["position"]
    if not isinstance(epoch, int) or epoch < 0:
        raise StreamStateError(f"stream state: epoch {epoch!r} is not a number of an epoch")
    if not isinstance(position, int):
        raise StreamStateError(f"stream state: position {position!r} is not between batches")
    return epoch, position


def _short_digest(*values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:_PART_DIGITS]


def _differences(state: Mapping[str, int | str], mine: State) -> list[str]:
    theirs, ours = str(state["plan"]), str(mine["plan"])
    if theirs == ours:
        return []
    if len(theirs) != len(ours):
        return ["its plan"]
    starts = range(0, len(ours), _PART_DIGITS)
    parts = zip(_PARTS, starts, strict=True)
    found = [
        name for name, i in parts if theirs[i : i + _PART_DIGITS] != ours[i : i + _PART_DIGITS]
    ]
    there, here = (_read_options(each.get("options", "")) for each in (state, mine))
    options = [
        f"{field} ({there.get(field, 'not set')} there, {here.get(field, 'not set')} here)"
        for field in sorted(there.keys() | here.keys())
        if there.get(field) != here.get(field)
    ]
    # Options are digested with the order, which then need not differ in anything else.
    return [name for name in found if name != _ORDER or not options] + options


def _read_options(text: int | str) -> dict[str, object]:
    try:
        return dict(json.loads(str(text) or "{}"))
    except (TypeError, ValueError):
        raise StreamStateError(f"stream state: options {text!r} cannot be read") from None
