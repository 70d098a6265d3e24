"""A stream refuses what it cannot do exactly, and says which field is wrong."""

import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from scfae.store import FeatureStream, MemoryView
from scfae.store.errors import ConfigError, StreamStateError


def view(num_samples: int = 10, *, scale: float = 1.0, digit: int = 0) -> MemoryView:
    rows = [np.full((1 + i % 3, 2), scale * i, dtype=np.float32) for i in range(num_samples)]
    ids = [f"s{i}" for i in range(num_samples)]
    labels = {"digit": [digit + i % 2 for i in range(num_samples)]}
    return MemoryView(ids, {"video": rows, "audio": rows[::-1]}, labels=labels, shard_size=3)


def stream(of: MemoryView | None = None, batch_size: int = 4, **settings: Any) -> FeatureStream:
    return FeatureStream(view() if of is None else of, batch_size, **settings)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 0),
        ("batch_size", 2.0),
        ("batch_size", None),
        ("seed", -1),
        ("seed", 2**63),
        ("epoch", -1),
        ("epoch", "1"),
        ("rank", -1),
        ("rank", 1),
        ("world_size", 0),
        ("prefetch", -1),
        ("window_shards", 0),
        ("masking", "bernoulli:2"),
        ("masking", "only:smell"),
    ],
)
def test_bad_arguments_are_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=f"^{field}: "):
        stream(**{field: value})


def test_integers_of_numpy_are_taken_and_do_not_stay_in_the_state() -> None:
    made = stream(batch_size=np.int64(4), seed=np.int32(3))  # type: ignore[arg-type]
    assert {type(value) for value in made.state_dict().values()} == {int, str}


@pytest.mark.parametrize(
    ("other", "what"),
    [
        ({"of": view(11)}, "the view"),
        ({"of": view(scale=2.0)}, "the view"),
        ({"of": view(digit=1)}, "the view"),
        ({"masking": "subsets"}, "masking"),
        ({"shuffle": False}, "shuffle or window_shards"),
        ({"window_shards": 1}, "shuffle or window_shards"),
        ({"masking": "subsets", "window_shards": 1}, "window_shards and masking"),
        ({"seed": 1}, "seed is 1, but this stream's is 0"),
        ({"batch_size": 5}, "batch_size is 5, but this stream's is 4"),
    ],
)
def test_the_state_of_another_stream_is_refused_and_the_difference_named(
    other: dict[str, Any], what: str
) -> None:
    state = stream(**other).state_dict()
    mine = stream()
    with pytest.raises(StreamStateError, match=what):
        mine.load_state_dict(state)
    assert (mine.epoch, mine.position) == (0, 0)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        ({"format": 2}, "format 2 is not 1"),
        ({"format": None}, "format None"),
        ({"position": 3}, "position 3 is not between batches"),
        ({"position": -4}, "position -4"),
        ({"position": 12}, "position 12"),
        ({"position": "4"}, "position '4'"),
        ({"epoch": -1}, "epoch -1"),
        ({"epoch": 1.5}, "epoch 1.5"),
        ({"plan": "x"}, "its plan"),
    ],
)
def test_a_damaged_state_is_refused(damage: dict[str, Any], what: str) -> None:
    with pytest.raises(StreamStateError, match=what):
        stream().load_state_dict(stream().state_dict() | damage)


@pytest.mark.parametrize("field", ["plan", "seed", "epoch", "position", "batch_size"])
def test_a_field_that_is_lacking_is_named(field: str) -> None:
    state = stream().state_dict()
    del state[field]
    with pytest.raises(StreamStateError, match=f"lacks {field}"):
        stream().load_state_dict(state)


def test_rank_world_size_and_prefetch_are_no_part_of_the_state() -> None:
    states = [
        stream(rank=rank, world_size=world, prefetch=ahead).state_dict()
        for rank, world, ahead in [(0, 1, 0), (1, 2, 2), (3, 4, 7)]
    ]
    assert states[0] == states[1] == states[2]


def test_the_place_cannot_be_changed_under_a_running_iteration() -> None:
    made = stream()
    iteration = iter(made)
    next(iteration)
    with pytest.raises(StreamStateError, match="set_epoch: an iteration"):
        made.set_epoch(1)
    with pytest.raises(StreamStateError, match="load_state_dict: an iteration"):
        made.load_state_dict(made.state_dict())
    del iteration
    made.set_epoch(1)
    assert (made.epoch, made.position) == (1, 0)


@pytest.mark.parametrize("epoch", [-1, 2**63])
def test_set_epoch_refuses_what_is_no_epoch(epoch: int) -> None:
    with pytest.raises(ConfigError, match=r"^epoch: "):
        stream().set_epoch(epoch)


def test_state_counts_batches_that_were_handed_over_not_those_read_ahead() -> None:
    made = stream(batch_size=2, prefetch=5)
    positions = []
    for _ in made:
        positions.append(made.position)
        assert made.state_dict()["position"] == made.position
    assert positions == [2, 4, 6, 8, 10]
    assert (made.epoch, made.position) == (1, 0)


def test_a_second_iteration_ends_the_first() -> None:
    made = stream(batch_size=3)
    first = iter(made)
    seen = [*next(first).ids]
    for batch in made:
        seen += batch.ids
    assert sorted(seen) == [f"s{i}" for i in range(10)]
    assert list(first) == []
    assert made.epoch == 1


class Failing(MemoryView):
    """Fails to read one sample until it is mended."""

    def __init__(self) -> None:
        rows = [np.ones((1, 2), dtype=np.float32)] * 9
        super().__init__([f"s{i}" for i in range(9)], {"video": rows})
        self.is_broken = True

    def rows(self, i: int, modality: str) -> npt.NDArray[Any]:
        if i == 4 and self.is_broken:
            raise OSError("the disk is gone")
        return super().rows(i, modality)


@pytest.mark.parametrize("prefetch", [0, 3])
def test_a_reading_error_reaches_the_loop_and_the_batch_is_tried_again(prefetch: int) -> None:
    failing = Failing()
    made = FeatureStream(failing, 3, shuffle=False, prefetch=prefetch)
    seen: list[str] = []

    def read_on() -> None:
        for batch in made:
            seen.extend(batch.ids)

    for _ in range(2):
        with pytest.raises(OSError, match="the disk is gone"):
            read_on()
        assert (made.epoch, made.position) == (0, 3)
    failing.is_broken = False
    read_on()
    assert seen == [f"s{i}" for i in range(9)]


def test_a_loop_that_is_left_leaves_no_thread() -> None:
    before = threading.active_count()
    made = stream(batch_size=1, prefetch=2)
    for _ in range(4):
        for _ in made:
            assert threading.active_count() == before + 1
            break
        assert threading.active_count() == before


def test_a_view_without_samples_has_empty_epochs() -> None:
    made = stream(view(0))
    assert len(made) == 0
    assert list(made) == []
    assert made.epoch == 1
