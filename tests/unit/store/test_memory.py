"""Arrays in memory stream as a store of the same data does."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scfae.store import FeatureStore, FeatureStream, MemoryView, SampleRow, ShardSample, StoreView
from scfae.store.column import ColumnInfo

DIMS = {"video": 3, "audio": 2}
DTYPES: dict[str, Any] = {"video": "float32", "audio": "float16"}
N, SHARD_SIZE = 13, 4


def make_store_view(folder: Path) -> StoreView:
    words = ["no", "yes", "maybe"]
    rows = [SampleRow(f"s{i}", labels={"n": i, "x": i / 4, "word": words[i % 3]}) for i in range(N)]
    store = FeatureStore.create(folder, rows, shard_size=SHARD_SIZE)
    for m, dim in DIMS.items():
        random = np.random.default_rng(dim)
        info = ColumnInfo.create(m, m, encoder="noise", dim=dim, dtype=DTYPES[m])
        with store.add_column(info) as writer:
            for shard in range(store.samples.num_shards):
                lengths = random.integers(0, 4, size=len(store.samples.rows_of(shard)))
                writer.commit(shard, [ShardSample(random.normal(size=(T, dim))) for T in lengths])
    return store.view(labels=["n", "x", "word"], video="video", audio="audio")


def in_memory(view: StoreView) -> MemoryView:
    def named(name: str) -> list[Any]:
        label = view.label(name)
        return [label.classes[v] if label.classes else v for v in label.values.tolist()]

    return MemoryView(
        view.ids.tolist(),
        {m: [view.rows(i, m) for i in range(len(view))] for m in DIMS},
        labels={name: named(name) for name in view.label_names},
        shard_size=SHARD_SIZE,
    )


@pytest.mark.parametrize("masking", ["none", "bernoulli:0.4", "subsets", "only:audio"])
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_those_of_a_store_of_the_same_data(
    tmp_path: Path, masking: str, shuffle: bool
) -> None:
    view = make_store_view(tmp_path / "store")
    settings: dict[str, Any] = {"masking": masking, "shuffle": shuffle, "window_shards": 2}
    stored = FeatureStream(view, 5, seed=2, **settings)
    kept = FeatureStream(in_memory(view), 5, seed=2, **settings)
    for one, other in zip([*stored, *stored], [*kept, *kept], strict=True):
        assert one.ids == other.ids
        assert torch.equal(one.present, other.present)
        for m in DIMS:
            assert torch.equal(one.features[m], other.features[m])
            assert torch.equal(one.lengths[m], other.lengths[m])
        for name in ("n", "x", "word"):
            assert one.labels[name].dtype == other.labels[name].dtype
            assert torch.equal(one.labels[name], other.labels[name])


def test_the_fingerprint_is_that_of_everything_in_the_view() -> None:
    def make(
        names: str = "ab", value: float = 1.0, T: int = 2, label: int = 0, **more: Any
    ) -> MemoryView:
        features = {"video": [np.full((T, 2), value, dtype=more.pop("dtype", "float32"))] * 2}
        return MemoryView(list(names), features, labels={"y": [0, label]}, **more)

    views = [
        make(),
        make("ba"),
        make(value=2.0),
        make(T=3),
        make(label=1),
        make(shard_size=1),
        make(value=0.0),
        make(value=0.0, dtype="float16"),
        make(value=0.0, dtype="float64"),
    ]
    assert make().fingerprint == make().fingerprint
    assert len({view.fingerprint for view in views}) == len(views)


def test_shapes_and_facts_are_those_given() -> None:
    view = MemoryView(
        ["a", "b", "c"],
        {"video": [np.ones((2, 3)), np.ones((0, 3)), np.ones((1, 3))]},
        labels={"y": ["q", "p", "q"]},
        shard_size=2,
    )
    assert len(view) == 3
    assert view.dims == {"video": 3}
    assert view.lengths("video").tolist() == [2, 0, 1]
    assert view.available.tolist() == [[True], [False], [True]]
    assert view.shard_of.tolist() == [0, 0, 1]
    assert view.label("y").classes == ("p", "q")
    assert view.label("y").values.tolist() == [1, 0, 1]
