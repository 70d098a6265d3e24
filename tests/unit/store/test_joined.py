"""Columns side by side: the rows of each, together, or a sentence why not."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from scfae.store import Chain, FeatureStore, FeatureStream, derive
from scfae.store.container import Format
from scfae.store.errors import SchemaMismatch, UnknownColumn
from scfae.store.joined import JoinedColumn, is_joined, parts_of
from scfae.store.testing import make_store


@pytest.fixture(params=["zarr", "webdataset", "hdf5"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FeatureStore:
    """Pictures in 12 features, and 4 of their components in half precision, at the same times."""
    form: Format = request.param
    store = make_store(tmp_path / "store", num_samples=40, missing=0.2, form=form)
    derive(store, "video", "motion", Chain.create(pca=4, dtype="float16"))
    derive(store, "video", "mean", Chain.create(pool="mean"))
    return FeatureStore.open(store.path)


def test_rows_stand_side_by_side(store: FeatureStore) -> None:
    view = store.view(video="video+motion", audio="audio")
    first, second = store.view(video="video"), store.view(video="motion")
    assert view.dims == {"video": 16, "audio": 7}
    assert view.columns["video"] == "video+motion"
    for i in range(len(view)):
        wanted = [one[i].features["video"] for one in (first, second)]
        np.testing.assert_array_equal(view[i].features["video"], np.concatenate(wanted, axis=1))
        np.testing.assert_array_equal(view[i].times["video"], first[i].times["video"])


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_batches_hold_the_rows_of_both(store: FeatureStore, layout: str) -> None:
    views = [store.view(video=name) for name in ("video+motion", "video", "motion")]
    streams = [FeatureStream(v, batch_size=7, seed=3, layout=layout) for v in views]  # type: ignore[arg-type]
    for batch, first, second in zip(*streams, strict=True):
        assert batch.ids == first.ids == second.ids
        rows, seen, moving = (one.features["video"] for one in (batch, first, second))
        np.testing.assert_array_equal(rows[..., :12].numpy(), seen.float().numpy())
        np.testing.assert_array_equal(rows[..., 12:].numpy(), moving.float().numpy())


def test_a_sample_that_lacks_one_has_no_rows(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", dims={"video": 3, "motion": 2}, max_rows=1, missing=0.4)
    alone = store.view(video="video", motion="motion").available.astype(int).min(axis=1)
    assert 0 < alone.sum() < len(alone)
    parts = [store.column("video"), store.column("motion")]
    parts[1].info = parts[1].info.model_copy(update={"modality": "video"})
    joined = JoinedColumn(parts)
    np.testing.assert_array_equal(joined.lengths, alone)
    assert [joined.rows(i).shape for i in range(len(joined))] == [(n, 5) for n in alone.tolist()]
    assert [len(joined.times(i)) for i in range(len(joined))] == alone.tolist()


def test_what_cannot_stand_side_by_side_is_refused(store: FeatureStore) -> None:
    with pytest.raises(SchemaMismatch, match=r"other numbers of rows of \d+ samples.*--resample"):
        _ = store.view(video="video+mean").available
    with pytest.raises(
        SchemaMismatch, match="columns of video and audio; only those of one medium"
    ):
        store.view(video="video+audio")
    with pytest.raises(SchemaMismatch, match="a column stands beside itself"):
        store.view(video="video+video")
    with pytest.raises(UnknownColumn, match="Did you mean motion"):
        store.view(video="video+motoin")


def test_a_column_of_that_name_is_that_column(store: FeatureStore) -> None:
    derive(store, "video", "video+motion", Chain.create(pca=2))
    view = FeatureStore.open(store.path).view(video="video+motion")
    assert view.dims == {"video": 2}


def test_its_description_is_of_its_parts(store: FeatureStore) -> None:
    info = store.branch("video+motion").info
    assert is_joined(info)
    assert [part.name for part in parts_of(info)] == ["video", "motion"]
    assert parts_of(store.columns["video"]) == [store.columns["video"]]
    assert (info.dim, info.dtype, info.modality) == (16, "float32", "video")
    turned = store.branch("motion+video").info
    assert turned.fingerprint != info.fingerprint


def test_it_goes_to_another_process(store: FeatureStore) -> None:
    view = store.view(video="video+motion")
    again = pickle.loads(pickle.dumps(view))
    np.testing.assert_array_equal(again[3].features["video"], view[3].features["video"])
