"""What the batches of an epoch are: units of the global order, cut, sorted by length, permuted.

A unit is a sample, or a group where groups stay together. All of it comes from the index (shards,
lengths, groups), so every rank makes the same plan without a word to the others, and nothing is
read. Work goes chunk by chunk, a chunk being the batches that begin in one shuffle window, so a
stream that resumes plans no more than the chunk it is in.

Shapes: U units, B units of a batch at most, C chunks.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from .bucketing import alike
from .cutting import cut, rows_of
from .hashing import Keys
from .lazy import lazy_property
from .order import Integers, Order
from .units import Units

PADDING: Final = -1
_PERMUTE, _ROTATE = 1, 2


@dataclass(frozen=True, slots=True)
class Rules:
    """How batches are made of an order.

    Attributes:
        batch_size: Units of a batch, over all ranks; B.
        shuffle: Whether the batches of a chunk that were sorted by length are permuted.
        bucketing: `none` or `length`.
        max_rows: A batch ends before its padded rows exceed this; None is no limit.
        last: What becomes of a last batch that is not full: `short`, `drop`, `wrap` or `pad`.
    """

    batch_size: int
    shuffle: bool = True
    bucketing: str = "none"
    max_rows: int | None = None
    last: str = "short"


class EpochPlan:
    """The batches of one epoch.

    Positions count units of the order that were consumed, over all ranks; what `wrap` and `pad`
    add at the end does not count.

    Args:
        order: The global order of the units.
        units: What is known of them.
        rules: How batches are made.
        seed: Non-negative.
        epoch: Non-negative.
    """

    def __init__(self, order: Order, units: Units, rules: Rules, *, seed: int, epoch: int) -> None:
        self._order = order
        self._units = units
        self._rules = rules
        self._seed, self._epoch = seed, epoch
        self._num_units = int(order.window_ends[-1]) if len(order.window_ends) else 0
        # Chunks end between batches of B, so that there are as few batches as without windows.
        batches = -(-order.window_ends // rules.batch_size)
        ends = np.unique(np.minimum(batches * rules.batch_size, self._num_units))
        self._edges: Integers = np.append(0, ends[ends > 0]).astype(np.int64)
        self._made: tuple[int, tuple[Integers, Integers]] | None = None

    @lazy_property
    def num_batches(self) -> int:
        """Batches of the epoch; with `max_rows` all of it is planned to find out."""
        rules = self._rules
        if rules.max_rows is None:
            whole, rest = divmod(self._num_units, rules.batch_size)
            return whole + (1 if rest and rules.last != "drop" else 0)
        cut_in = range(len(self._edges) - 1)
        total = sum(len(self._chunk(chunk)[1]) for chunk in cut_in)
        return total - (1 if rules.last == "drop" and self.end < self._num_units else 0)

    @lazy_property
    def end(self) -> int:
        """The position behind the last batch; less than U where `drop` leaves some out."""
        rules = self._rules
        if rules.last != "drop" or self._num_units == 0:
            return self._num_units
        if rules.max_rows is None:
            return self._num_units - self._num_units % rules.batch_size
        units, ends = self._chunk(len(self._edges) - 2)
        first = int(ends[-2]) if len(ends) > 1 else 0
        is_full = self._room(units[first:]) == 0
        return self._num_units if is_full else int(self._edges[-2]) + first

    def is_between_batches(self, position: int) -> bool:
        """Whether a batch begins at a position, or the epoch ends there."""
        if position == self.end:
            return True
        if not 0 <= position < self.end:
            return False
        chunk = self._chunk_of(position)
        start = int(self._edges[chunk])
        return position == start or position - start in self._chunk(chunk)[1]

    def batches(self, position: int = 0) -> Iterator[tuple[Integers, int]]:
        """Yield the units of each batch from a position on, and the position behind it.

        Padding units are `PADDING`.
        """
        if position >= self.end:
            return
        for chunk in range(self._chunk_of(position), len(self._edges) - 1):
            start = int(self._edges[chunk])
            units, ends = self._chunk(chunk)
            first = 0
            for end in ends.tolist():
                if start + first >= self.end:
                    return
                if start + first >= position:
                    batch = units[first:end]
                    is_last = start + end == self._num_units
                    yield (self._filled(batch) if is_last else batch), start + end
                first = end

    def _chunk_of(self, position: int) -> int:
        return int(np.searchsorted(self._edges, position, side="right")) - 1

    def _chunk(self, chunk: int) -> tuple[Integers, Integers]:
        """Return the units of a chunk in the order of its batches, and where those end."""
        made = self._made
        if made is not None and made[0] == chunk:
            return made[1]
        start, end = int(self._edges[chunk]), int(self._edges[chunk + 1])
        units = self._order.slice(start, end)
        is_last = end == self._num_units
        rules = self._rules
        rest = units[:0]
        if rules.bucketing == "length":
            if rules.max_rows is None:
                # Only the last chunk has a rest: random units, and so not always the longest.
                whole = len(units) - len(units) % rules.batch_size
                units, rest = units[:whole], units[whole:]
            units = units[alike(self._units.longest[units] * self._units.widths, self._leaf(units))]
            if is_last and rules.max_rows is not None and rules.shuffle:
                # For the same reason: the rest ends at a random length.
                units = np.roll(units, int(self._bits(_ROTATE, chunk, 1)[0] % len(units)))
        ends = cut(self._units, units, batch_size=rules.batch_size, max_rows=rules.max_rows)
        if rules.bucketing == "length" and rules.shuffle:
            # With a limit of rows the last batch may be short, and then has to stay the last.
            moved = len(ends) - (1 if is_last and rules.max_rows is not None else 0)
            units, ends = self._permuted(chunk, units, ends, moved)
        if len(rest):
            units, ends = np.append(units, rest), np.append(ends, len(units) + len(rest))
        # Another thread may make another chunk meanwhile: a tuple is replaced as a whole.
        self._made = (chunk, (units, ends))
        return units, ends

    def _leaf(self, units: Integers) -> int:
        """Return about how many of these units a batch will hold."""
        rules = self._rules
        if rules.max_rows is None or len(units) == 0:
            return rules.batch_size
        samples, _ = rows_of(self._units, units)
        rows = self._units.longest[units].sum(axis=1).mean() * samples / len(units)
        return max(1, min(rules.batch_size, int(rules.max_rows / max(1.0, rows))))

    def _permuted(
        self, chunk: int, units: Integers, ends: Integers, moved: int
    ) -> tuple[Integers, Integers]:
        if moved < 2:
            return units, ends
        batches = np.split(units, ends[:-1])
        order = np.argsort(self._bits(_PERMUTE, chunk, moved), kind="stable")
        chosen = [batches[i] for i in order] + batches[moved:]
        return np.concatenate(chosen), np.cumsum([len(batch) for batch in chosen])

    def _filled(self, batch: Integers) -> Integers:
        """Return the last batch, filled up where the rules want it."""
        room = self._room(batch)
        if room == 0:
            return batch
        if self._rules.last == "pad":
            return np.append(batch, np.full(room, PADDING))
        if self._rules.last != "wrap":
            return batch
        missing = self._rules.batch_size - len(batch)
        start = self._order.slice(0, min(missing, self._num_units))
        longer = np.append(batch, np.resize(start, missing))
        if self._rules.max_rows is None:
            return longer
        ends = cut(self._units, longer, batch_size=len(longer), max_rows=self._rules.max_rows)
        return longer[: max(len(batch), int(ends[0]))]

    def _room(self, batch: Integers) -> int:
        """Return how many units of one short sample each the batch could still take."""
        room = self._rules.batch_size - len(batch)
        if self._rules.max_rows is None:
            return room
        samples, longest = rows_of(self._units, batch)
        return max(0, min(room, self._rules.max_rows // max(1, longest) - samples))

    def _bits(self, purpose: int, chunk: int, count: int) -> Keys:
        sequence = np.random.SeedSequence([self._seed, self._epoch], spawn_key=(purpose, chunk))
        return np.asarray(np.random.Philox(sequence).random_raw(count), dtype=np.uint64)
