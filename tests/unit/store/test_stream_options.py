"""What a stream can be asked for: lengths, rows, groups, crops, layouts, and life with damage."""

import itertools
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scfae.store import (
    DamagedShardWarning,
    FeatureStore,
    FeatureStream,
    MemoryView,
    SampleRow,
    ShardSample,
    StoreView,
    write_mask_table,
)
from scfae.store.column import ColumnInfo
from scfae.store.errors import ConfigError, CorruptShard, StreamStateError
from scfae.store.testing import make_store


def view(num_samples: int = 60, *, dtype: str = "float16", **more: Any) -> MemoryView:
    rows = [np.full((1 + i * 7 % 20, 2), i, dtype=dtype) for i in range(num_samples)]
    labels = {"digit": [i % 2 for i in range(num_samples)]}
    ids = [f"s{i}" for i in range(num_samples)]
    return MemoryView(ids, {"video": rows, "audio": rows[::-1]}, labels=labels, **more)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bucketing", "size"),
        ("max_rows", 0),
        ("max_rows", 1.5),
        ("last", "keep"),
        ("layout", "ragged"),
        ("dtype", "float64"),
        ("on_damage", "skip"),
        ("crop", 0),
        ("crop", "3"),
        ("crop", {"smell": 3}),
        ("crop_at", "left"),
        ("stride", {"video": 0}),
        ("masking", "table:/nowhere"),
    ],
)
def test_bad_options_are_named(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"^{field}(\.video)?: "):
        FeatureStream(view(), **{field: value})


def test_drop_that_leaves_no_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match="last: drop leaves no batch of 6 samples"):
        FeatureStream(view(6), 8, last="drop")


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("last", ["short", "drop", "wrap", "pad"])
@pytest.mark.parametrize("extra", [{}, {"max_rows": 200, "bucketing": "length"}])
def test_every_rank_makes_the_same_number_of_steps(
    world_size: int, last: Any, extra: dict[str, Any]
) -> None:
    ranks = [
        FeatureStream(view(), 16, last=last, rank=r, world_size=world_size, **extra)
        for r in range(world_size)
    ]
    steps = [len(list(rank)) for rank in ranks]
    assert set(steps) == {len(FeatureStream(view(), 16, last=last, **extra))}
    if not extra:
        assert steps[0] == (3 if last == "drop" else 4)


def test_wrap_fills_the_last_batch_from_the_start_of_the_epoch() -> None:
    batches = list(FeatureStream(view(), 16, last="wrap"))
    assert len(batches[-1]) == 16
    assert batches[-1].ids[12:] == batches[0].ids[:4]
    assert not batches[-1].is_padding.any()


def test_pad_fills_the_last_batch_with_samples_that_weigh_nothing() -> None:
    *_, last = FeatureStream(view(), 16, last="pad")
    assert last.weights.tolist() == [1] * 12 + [0] * 4
    assert not last.present[12:].any()
    assert last.ids[12:] == [""] * 4
    assert all(not features[12:].any() for features in last.features.values())


def test_a_batch_ends_before_its_padded_rows_exceed_the_limit() -> None:
    stream = FeatureStream(view(), 16, bucketing="length", max_rows=150)
    sizes = []
    for batch in stream:
        rows = sum(f.shape[0] * f.shape[1] for f in batch.features.values())
        sizes.append(len(batch))
        assert rows <= 150
    assert sum(sizes) == 60
    assert len(set(sizes)) > 1


def test_lengths_that_masks_never_read_do_not_count() -> None:
    stream = FeatureStream(view(), 16, bucketing="length", max_rows=100, masking="only:audio")
    sizes = [batch.features["audio"].shape[:2].numel() for batch in stream]
    assert max(sizes) <= 100
    assert np.mean(sizes) > 60


GROUPS = [f"dialogue-{i % 9}" if i % 10 else None for i in range(60)]


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_groups_stay_together_in_the_order_of_their_ids(world_size: int) -> None:
    grouped = view(groups=GROUPS, shard_size=7)
    of = dict(zip(grouped.ids.tolist(), grouped.group_of.tolist(), strict=True))
    seen: list[str] = []
    for rank in range(world_size):
        made = FeatureStream(grouped, 4, group_batches=True, rank=rank, world_size=world_size)
        for batch in made:
            assert batch.groups is not None
            assert batch.groups.tolist() == [of[name] for name in batch.ids]
            runs = [list(run) for _, run in itertools.groupby(batch.ids, key=of.__getitem__)]
            assert len(runs) == len(set(batch.groups.tolist())) <= 4
            for run in runs:
                assert run == sorted(run, key=lambda name: int(name[1:]))
                assert len(run) == list(of.values()).count(of[run[0]])
            seen += batch.ids
    assert sorted(seen) == sorted(of)


def test_steps_with_groups_count_groups() -> None:
    stream = FeatureStream(view(groups=GROUPS), 4, group_batches=True)
    assert len(stream) == len(list(stream)) == -(-(9 + 6) // 4)


def test_a_store_groups_its_samples(tmp_path: Path) -> None:
    rows = [SampleRow(f"s{i}", group=f"g{i % 3}" if i % 4 else None) for i in range(12)]
    store = FeatureStore.create(tmp_path / "store", rows, shard_size=4)
    info = ColumnInfo.create("v", "video", encoder="noise", dim=2)
    with store.add_column(info) as writer:
        for shard in range(store.samples.num_shards):
            writer.commit(shard, [ShardSample(np.ones((1, 2)))] * 4)
    stream = FeatureStream(store.view(video="v"), 1, group_batches=True)
    groups = sorted(sorted(batch.ids) for batch in stream)
    wanted = [["s1", "s10", "s7"], ["s11", "s2", "s5"], ["s3", "s6", "s9"], ["s0"], ["s4"], ["s8"]]
    assert groups == sorted(wanted)


def test_a_random_crop_is_of_the_sample_and_the_epoch() -> None:
    rows = [np.arange(20, dtype=np.float32)[:, None] for _ in range(40)]
    long = MemoryView([f"s{i}" for i in range(40)], {"a": rows, "b": rows})

    def crops(epoch: int, **settings: Any) -> dict[str, tuple[Any, ...]]:
        stream = FeatureStream(long, 8, epoch=epoch, crop=5, **settings)
        return {
            name: (tuple(a.flatten().tolist()), tuple(b.flatten().tolist()))
            for batch in stream
            for name, a, b in zip(batch.ids, *batch.features.values(), strict=True)
        }

    first = crops(0)
    assert crops(0, bucketing="length", shuffle=False, layout="padded") == first
    assert crops(1) != first
    starts = {a[0] for a, _ in first.values()}
    assert starts <= set(range(16))
    assert len(starts) > 8
    for a, b in first.values():
        assert a == b  # the same place in both, so what was aligned stays so
        assert np.diff(a).tolist() == [1.0] * 4
    assert {a[0] for a, _ in crops(3, crop_at="center").values()} == {7.0}


@pytest.mark.parametrize("layout", ["padded", "packed", "pooled"])
@pytest.mark.parametrize("dtype", ["float32", "stored"])
def test_layouts_and_dtypes_hold_the_same_samples(layout: Any, dtype: Any) -> None:
    settings: dict[str, Any] = {"masking": "subsets", "seed": 2, "max_rows": 150}
    plain = FeatureStream(view(), 8, **settings)
    other = FeatureStream(view(), 8, layout=layout, dtype=dtype, **settings)
    for one, two in zip(plain, other, strict=True):
        assert one.ids == two.ids
        assert torch.equal(one.present, two.present)
        assert two.layout == layout
        assert two.features["video"].dtype == (torch.float16 if dtype == "stored" else torch.float)
        if layout == "packed":
            assert torch.equal(one.packed("video")[0].half(), two.features["video"].half())
    other.load_state_dict(FeatureStream(view(), 8, **settings).state_dict())


def test_a_stored_table_masks_a_stream(tmp_path: Path) -> None:
    samples = view()
    kept = np.random.default_rng(0).random((60, 2)) < 0.5
    write_mask_table(tmp_path / "t", samples.ids, kept, samples.modalities)
    masking = f"table:{tmp_path / 't'}"
    for batch in FeatureStream(samples, 8, masking=masking, epoch=4):
        assert batch.present.tolist() == [kept[int(name[1:])].tolist() for name in batch.ids]
    write_mask_table(tmp_path / "t", samples.ids[1:], kept[1:], samples.modalities)
    with pytest.raises(ConfigError, match="such as 's0'"):
        FeatureStream(samples, 8, masking=masking)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"bucketing": "length"}, r"differs in bucketing \(length there, not set here\)"),
        ({"max_rows": 90}, r"differs in max_rows \(90 there"),
        ({"last": "pad", "crop": 3}, r"crop \(.*\) and crop_at \(.*\) and last \(pad there"),
        ({"balance": "digit"}, r"balance \(digit there"),
        ({"group_batches": True}, r"group_batches \(groups "),
        ({"stride": 2}, r"stride \(\[2, 2\] there"),
    ],
)
def test_the_state_of_other_options_is_refused_and_the_difference_named(
    options: dict[str, Any], what: str
) -> None:
    grouped = view(groups=GROUPS)
    mine, other = FeatureStream(grouped, 8), FeatureStream(grouped, 8, **options)
    state = json.loads(json.dumps(other.state_dict()))
    with pytest.raises(StreamStateError, match=what):
        mine.load_state_dict(state)
    other.load_state_dict(state)
    with pytest.raises(StreamStateError, match=r"there, .* here"):
        other.load_state_dict(mine.state_dict())


def test_a_state_that_the_first_version_saved_still_resumes() -> None:
    rows = [np.full((1 + i % 3, 2), i, dtype=np.float32) for i in range(10)]
    samples = MemoryView([f"s{i}" for i in range(10)], {"video": rows}, shard_size=3)
    state: dict[str, Any] = {
        "format": 1,
        "plan": "914d98115ee28eae7551b70cbba68a346a5e871eeb3ba3a0ae993a9dcb5af553",
        "seed": 3,
        "epoch": 0,
        "position": 4,
        "batch_size": 4,
    }
    stream = FeatureStream(samples, 4, seed=3, masking="bernoulli:0.3")
    stream.load_state_dict(state)
    assert stream.state_dict() == state
    assert next(iter(stream)).ids == ["s1", "s2", "s7", "s5"]


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return make_store(tmp_path / "store", num_samples=24, shard_size=4, splits=())


def view_of(store: FeatureStore) -> StoreView:
    return FeatureStore.open(store.path).view(video="video", audio="audio", labels=["digit"])


def damage(store: FeatureStore, shard: int) -> str:
    file = next(store.path.glob(f"columns/audio/shard-{shard:05d}.zarr.zip"))
    file.write_bytes(file.read_bytes()[:-40])
    return file.name


@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("layout", ["padded", "packed", "pooled"])
def test_a_damaged_shard_masks_its_modality_and_nothing_else_changes(
    store: FeatureStore, prefetch: int, layout: Any
) -> None:
    def make(**settings: Any) -> FeatureStream:
        return FeatureStream(view_of(store), 5, prefetch=prefetch, layout=layout, **settings)

    whole = list(make())
    name = damage(store, 2)
    shard_of = dict(zip(view_of(store).ids.tolist(), view_of(store).shard_of, strict=True))
    stream = make(on_damage="mask")
    with pytest.warns(DamagedShardWarning) as caught:
        batches = list(stream)
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "column 'audio', shard 2" in message
    assert name in message
    assert stream.damaged == {("audio", 2): 4}
    for mine, other in zip(batches, whole, strict=True):
        assert mine.ids == other.ids
        is_hit = torch.tensor([shard_of[name] == 2 for name in mine.ids])
        assert torch.equal(mine.present[:, 1], other.present[:, 1] & ~is_hit)
        assert torch.equal(mine.features["video"], other.features["video"])
        assert not mine.lengths["audio"][is_hit].any()
        assert torch.equal(mine.lengths["audio"][~is_hit], other.lengths["audio"][~is_hit])
        if layout == "packed":
            assert len(mine.features["audio"]) == int(mine.lengths["audio"].sum())
        else:
            assert not mine.features["audio"][is_hit].any()
            T = mine.features["audio"].shape[1]
            expected = other.features["audio"][~is_hit, :T]
            assert torch.equal(mine.features["audio"][~is_hit], expected)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(stream)  # one warning a shard, not one an epoch
    assert stream.damaged == {("audio", 2): 8}


def test_a_damaged_shard_stops_a_stream_that_was_not_asked_to_go_on(store: FeatureStore) -> None:
    name = damage(store, 2)
    with pytest.raises(CorruptShard, match=f"column 'audio', shard 2: .*{name}"):
        list(FeatureStream(view_of(store), 5))


def test_a_shard_that_is_gone_is_damage_too(store: FeatureStore) -> None:
    opened = view_of(store)
    assert opened.available.all()
    for file in store.path.glob("columns/*/shard-00001.zarr.zip"):
        file.unlink()
    stream = FeatureStream(opened, 5, on_damage="mask", masking="bernoulli:0")
    with pytest.warns(DamagedShardWarning, match="is gone"):
        batches = list(stream)
    assert stream.damaged == {("video", 1): 4, ("audio", 1): 4}
    assert sum(int((~batch.present.any(dim=1)).sum()) for batch in batches) == 4
