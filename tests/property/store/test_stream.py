"""The stream's promises: one global order for all ranks, exact resume, masks by sample alone."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scfae.store import Batch, FeatureStream, StoreView, masks_for
from scfae.store.testing import make_store

from .batches import assert_all_equal, assert_equal, ids, together
from .plans import MODALITIES, Plan, make_view, plans, plans_with_options


@given(plans, st.integers(0, 2))
def test_an_epoch_has_each_sample_exactly_once(plan: Plan, prefetch: int) -> None:
    stream = plan.stream(prefetch=prefetch)
    for _ in range(2):
        batches = list(stream)
        assert sorted(ids(batches)) == sorted(stream.view.ids.tolist())
        assert len(batches) == len(stream)
        assert all(len(batch) == plan.batch_size for batch in batches[:-1])


@given(plans)
def test_a_batch_holds_what_the_view_holds(plan: Plan) -> None:
    view = plan.view()
    place = {str(name): i for i, name in enumerate(view.ids)}
    for batch in plan.stream(view):
        for b, name in enumerate(batch.ids):
            i = place[name]
            for column, m in enumerate(MODALITIES):
                length = int(batch.lengths[m][b])
                kept = bool(batch.present[b, column])
                assert length == (len(view.rows(i, m)) if kept else 0)
                assert kept == (length > 0)
                rows = torch.from_numpy(view.rows(i, m).astype(np.float32))
                assert torch.equal(batch.features[m][b, :length], rows[:length])
                assert not batch.features[m][b, length:].any()
            assert int(batch.labels["digit"][b]) == view.label("digit").values[i]


@given(plans_with_options, st.sampled_from([2, 3, 4]), st.integers(0, 1))
def test_ranks_together_are_the_global_batch(plan: Plan, world_size: int, prefetch: int) -> None:
    view = plan.view()
    whole = list(plan.stream(view))
    ranks = [
        list(plan.stream(view, rank=rank, world_size=world_size, prefetch=prefetch))
        for rank in range(world_size)
    ]
    assert {len(batches) for batches in ranks} == {len(whole)}
    assert_all_equal([together(parts) for parts in zip(*ranks, strict=True)], whole)


@given(
    plans_with_options,
    st.data(),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([1, 2, 4]),
    st.booleans(),
)
def test_resume_at_any_batch_is_exact_at_any_world_size(
    plan: Plan, data: st.DataObject, before: int, after: int, is_prefetching: bool
) -> None:
    view = plan.view()
    whole = plan.stream(view)
    wanted = [*whole, *whole]
    done = data.draw(st.integers(0, len(wanted)), label="batches before the stop")
    rank = data.draw(st.integers(0, before - 1), label="rank whose state is kept")
    first = plan.stream(view, rank=rank, world_size=before, prefetch=2 * is_prefetching)
    for _ in itertools.islice(itertools.chain(first, first), done):
        pass
    state = json.loads(json.dumps(first.state_dict()))
    ranks = []
    for r in range(after):
        stream = plan.stream(plan.view(), rank=r, world_size=after, prefetch=3 * is_prefetching)
        stream.load_state_dict(state)
        rest = list(stream)
        while stream.epoch < 2:
            rest += list(stream)
        ranks.append(rest)
    assert_all_equal([together(parts) for parts in zip(*ranks, strict=True)], wanted[done:])


@given(plans_with_options, st.integers(0, 20))
def test_a_state_loads_back_to_itself(plan: Plan, done: int) -> None:
    stream = plan.stream()
    for _ in itertools.islice(stream, done):
        pass
    state = stream.state_dict()
    assert all(type(value) in (int, str) for value in state.values())
    again = plan.stream()
    again.load_state_dict(state)
    assert again.state_dict() == state


@given(plans_with_options, st.integers(0, 5), st.integers(0, 3))
def test_an_iteration_broken_off_goes_on_behind_its_last_batch(
    plan: Plan, done: int, prefetch: int
) -> None:
    view = plan.view()
    wanted = list(plan.stream(view))
    stream = plan.stream(view, prefetch=prefetch)
    got: list[Batch] = []
    for batch in stream:
        got.append(batch)
        if len(got) > done:
            break
    if stream.epoch == 0:
        got += list(stream)
    assert_all_equal(got, wanted)


@given(plans, st.integers(0, 1000))
def test_masks_do_not_depend_on_batches_ranks_order_or_company(plan: Plan, epoch: int) -> None:
    def masks(view: Any, **changes: Any) -> dict[str, list[bool]]:
        stream = plan.stream(view, epoch=epoch, **changes)
        return {
            name: row.tolist()
            for batch in stream
            for name, row in zip(batch.ids, batch.present, strict=True)
        }

    view = plan.view()
    wanted = masks(view)
    backwards = make_view(plan.num_samples, plan.shard_size, plan.seed % 5, order="reversed")
    assert masks(view, batch_size=plan.batch_size + 1) == wanted
    assert masks(view, shuffle=not plan.shuffle) == wanted
    assert masks(backwards) == wanted
    for rank in range(3):
        mine = masks(view, rank=rank, world_size=3)
        assert mine == {name: wanted[name] for name in mine}
    alone = masks_for(
        view.ids,
        view.available,
        policy=plan.masking,
        seed=plan.seed,
        epoch=epoch,
        modalities=MODALITIES,
    )
    assert dict(zip(view.ids.tolist(), alone.tolist(), strict=True)) == wanted


@given(plans)
def test_the_last_present_modality_stays(plan: Plan) -> None:
    view = plan.view()
    available = dict(zip(view.ids.tolist(), view.available, strict=True))
    for batch in plan.stream(view):
        for name, kept in zip(batch.ids, batch.present.numpy(), strict=True):
            had = available[name]
            assert not (kept & ~had).any()
            if plan.masking.startswith("only:"):
                named = np.array([m in plan.masking for m in MODALITIES])
                assert (kept == (had & named)).all()
            else:
                assert kept.any() == had.any()


@pytest.fixture(scope="module")
def store_view(tmp_path_factory: pytest.TempPathFactory) -> StoreView:
    store = make_store(tmp_path_factory.mktemp("stream") / "store", missing=0.3, shard_size=3)
    return store.view(video="video", audio="audio", labels=["digit"])


def test_a_subset_of_a_store_has_the_masks_of_the_whole(store_view: StoreView) -> None:
    def masks(view: StoreView) -> dict[str, list[bool]]:
        stream = FeatureStream(view, 7, seed=3, epoch=2, masking="bernoulli:0.5")
        return {n: p.tolist() for b in stream for n, p in zip(b.ids, b.present, strict=True)}

    whole = masks(store_view)
    part = masks(store_view.with_rows(np.arange(0, len(store_view), 3)))
    assert len(part) == 14
    assert part == {name: whole[name] for name in part}


@pytest.mark.parametrize("prefetch", [0, 2])
def test_every_batch_of_a_store_is_a_place_to_resume(store_view: StoreView, prefetch: int) -> None:
    def stream(**rank: Any) -> FeatureStream:
        return FeatureStream(
            store_view, 6, seed=4, masking="subsets", prefetch=prefetch, window_shards=3, **rank
        )

    wanted = list(stream())
    for done in range(len(wanted) + 1):
        first = stream(rank=1, world_size=2)
        for _ in itertools.islice(first, done):
            pass
        for world_size in (1, 4):
            parts = []
            for rank in range(world_size):
                again = stream(rank=rank, world_size=world_size)
                again.load_state_dict(first.state_dict())
                parts.append(list(again))
            got = [together(part) for part in zip(*parts, strict=True)]
            assert_all_equal(got, wanted[done:])


@pytest.mark.parametrize("masking", ["none", "subsets"])
def test_epochs_differ_and_repeat(store_view: StoreView, masking: str) -> None:
    def make(epoch: int = 0) -> FeatureStream:
        return FeatureStream(store_view, 8, seed=1, epoch=epoch, masking=masking)

    running = make()
    epochs = [list(running) for _ in range(4)]
    assert len({tuple(ids(batches)) for batches in epochs}) == 4
    assert running.epoch == 4
    for epoch, batches in enumerate(epochs):
        assert_all_equal(list(make(epoch)), batches)
    assert [len(batches) for batches in epochs] == [len(running)] * 4


def test_set_epoch_goes_to_its_start_and_keeps_the_place_in_the_current_one(
    store_view: StoreView,
) -> None:
    def make() -> FeatureStream:
        return FeatureStream(store_view, 8, seed=1)

    wanted = list(FeatureStream(store_view, 8, seed=1, epoch=5))
    stream = make()
    assert_equal(next(iter(stream)), next(iter(make())))
    stream.set_epoch(5)
    assert_equal(next(iter(stream)), wanted[0])
    stream.set_epoch(5)
    assert stream.position == 8
    assert_all_equal(list(stream), wanted[1:])
    stream.set_epoch(5)
    assert_all_equal(list(stream), wanted)


def test_the_resume_loop_of_the_docs_visits_every_epoch_once(store_view: StoreView) -> None:
    def run(stream: FeatureStream, visit: Callable[[Batch], None]) -> None:
        for epoch in range(stream.epoch, 3):
            stream.set_epoch(epoch)
            for batch in stream:
                visit(batch)

    wanted: list[Batch] = []
    run(FeatureStream(store_view, 16), wanted.append)
    stopped = FeatureStream(store_view, 16)
    for _ in itertools.islice(itertools.chain(stopped, stopped), 4):
        pass
    resumed = FeatureStream(store_view, 16)
    resumed.load_state_dict(stopped.state_dict())
    got: list[Batch] = []
    run(resumed, got.append)
    assert len(wanted) == 9
    assert_all_equal(got, wanted[4:])
