"""A stream, stopped and resumed in every way there is, gives what it gives in one piece."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scfae.store import Batch, FeatureStream
from scfae.store.errors import StreamStateError

from .batches import assert_equal, together
from .plans import Plan, make_view, plans_with_options

EPOCHS = 3
WORLD_SIZES = st.integers(1, 4)


class StoppedStreams(RuleBasedStateMachine):
    """All ranks of one stream, beside the batches that it gives when nothing stops it."""

    @initialize(plan=plans_with_options, world_size=WORLD_SIZES, prefetch=st.integers(0, 2))
    def start(self, plan: Plan, world_size: int, prefetch: int) -> None:
        self.plan, self.prefetch = plan, prefetch
        self.view = plan.view()
        whole = plan.stream(self.view)
        self.wanted = [list(whole) for _ in range(EPOCHS)]
        self.lengths = []
        for epoch in range(EPOCHS):
            whole.set_epoch(epoch)
            self.lengths.append(len(whole))
        self.epoch, self.done = 0, 0
        self.make(world_size)

    def make(self, world_size: int) -> None:
        self.streams = [
            self.plan.stream(self.view, rank=rank, world_size=world_size, prefetch=self.prefetch)
            for rank in range(world_size)
        ]
        self.iterations: list[Iterator[Batch]] = []

    @precondition(lambda self: self.epoch < EPOCHS)
    @rule(steps=st.integers(1, 4))
    def read_on(self, steps: int) -> None:
        for _ in range(steps):
            if not self.iterations:
                self.iterations = [iter(stream) for stream in self.streams]
            parts = [next(iteration, None) for iteration in self.iterations]
            if self.done == len(self.wanted[self.epoch]):
                assert parts == [None] * len(self.streams)
                self.iterations = []
                self.epoch, self.done = self.epoch + 1, 0
                return
            read = [part for part in parts if part is not None]
            assert len(read) == len(self.streams)
            assert_equal(together(read), self.wanted[self.epoch][self.done])
            self.done += 1

    @rule()
    def break_off(self) -> None:
        self.iterations = []

    @rule(world_size=WORLD_SIZES, data=st.data())
    def resume(self, world_size: int, data: st.DataObject) -> None:
        rank = data.draw(st.integers(0, len(self.streams) - 1))
        state = json.loads(json.dumps(self.streams[rank].state_dict()))
        self.make(world_size)
        for stream in self.streams:
            stream.load_state_dict(state)

    @precondition(lambda self: self.done > 0 and self.epoch < EPOCHS)
    @rule(world_size=WORLD_SIZES)
    def resume_behind_the_batch_itself(self, world_size: int) -> None:
        batch = self.wanted[self.epoch][self.done - 1]
        state = self.streams[0].state_dict(batch)
        self.make(world_size)
        for stream in self.streams:
            stream.load_state_dict(state)

    @rule(epoch=st.integers(0, EPOCHS - 1))
    def set_epoch(self, epoch: int) -> None:
        self.iterations = []
        for stream in self.streams:
            stream.set_epoch(epoch)
        if epoch != self.epoch:
            self.epoch, self.done = epoch, 0

    @precondition(lambda self: self.plan.options["balance"] == "none")
    @rule(change=st.sampled_from(["seed", "batch_size", "masking", "shuffle", "max_rows", "view"]))
    def a_state_of_another_stream_is_refused(self, change: str) -> None:
        other = self.another(change)
        before = self.streams[0].state_dict()
        self.iterations = []
        with pytest.raises(StreamStateError, match="the view" if change == "view" else change):
            self.streams[0].load_state_dict(other.state_dict())
        assert self.streams[0].state_dict() == before

    def another(self, change: str) -> FeatureStream:
        plan = self.plan
        changes: dict[str, Any] = {
            "seed": {"seed": (plan.seed + 1) % 2**63},
            "batch_size": {"batch_size": plan.batch_size + 1, "last": "short"},
            "masking": {"masking": "bernoulli:0.123"},
            "shuffle": {"shuffle": not plan.shuffle},
            "max_rows": {"max_rows": 61},
            "view": {},
        }
        if change == "view":
            return plan.stream(make_view(plan.num_samples + 1, plan.shard_size, 0))
        return plan.stream(self.view, **changes[change])

    @invariant()
    def all_ranks_know_the_place(self) -> None:
        states = [stream.state_dict() for stream in self.streams]
        assert all(state == states[0] for state in states)
        stream = self.streams[0]
        assert stream.epoch == self.epoch
        if self.epoch < EPOCHS:
            batches = self.wanted[self.epoch]
            assert stream.position == (batches[self.done - 1].position if self.done else 0)
            assert len(stream) == len(batches) == self.lengths[self.epoch]

    def teardown(self) -> None:
        self.iterations = []


TestStoppedStreams = StoppedStreams.TestCase
TestStoppedStreams.settings = settings(stateful_step_count=20)
