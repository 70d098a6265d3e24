"""A derived column: what its rows are, that it resumes, and that it knows when it is stale."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.store import (
    Chain,
    ColumnInfo,
    FeatureStore,
    SampleRow,
    ShardSample,
    derive,
    pin_run,
    verify,
)
from scfae.store.column import BASIS_FILE, read_column, write_column
from scfae.store.derivation import dependents, projection_of, why_stale
from scfae.store.errors import (
    ColumnPinned,
    ConfigError,
    CorruptShard,
    FingerprintMismatch,
    SchemaMismatch,
    UnknownColumn,
)
from scfae.store.receipt import receipt_file
from scfae.store.report import info, info_text
from scfae.store.testing import make_store


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    dims = {"video": 6, "audio": 4}
    return make_store(tmp_path / "store", num_samples=30, shard_size=7, missing=0.3, dims=dims)


def shards(store: FeatureStore, column: str) -> dict[str, bytes]:
    return {
        p.name: p.read_bytes() for p in sorted((store.path / "columns" / column).glob("shard*"))
    }


def rewrite(store: FeatureStore, column: str, shard: int, scale: float, **fields: Any) -> None:
    """Write a shard again with other rows, and the column anew if a field changes."""
    there = store.column(column)
    new = ColumnInfo.create(**(there.info.model_dump(exclude={"fingerprint"}) | fields))
    samples = [
        ShardSample(there.rows(i) * scale, there.times(i))
        if there.lengths[i]
        else ShardSample(status="missing", reason="x")
        for i in store.samples.rows_of(shard)
    ]
    with store.add_column(new, replace=True) as writer:
        writer.commit(shard, samples)


def test_a_pooled_column_is_the_mean_and_everything_else_is_the_parents(
    store: FeatureStore,
) -> None:
    report = derive(store, "video", "pooled", Chain(pool="mean", dtype="float16"))
    assert (report.dim, report.shards, report.shards_done) == (6, 5, 5)
    parent, child = store.column("video"), store.column("pooled")
    assert child.info.encoder == "derived:pool=mean,dtype=float16"
    assert (child.info.modality, child.info.is_random) == ("video", True)
    assert child.status.tolist() == parent.status.tolist()
    assert child.reasons == parent.reasons
    for i in range(30):
        if parent.lengths[i]:
            wanted = parent.rows(i).astype(np.float64).mean(axis=0).astype(np.float16)
            assert np.array_equal(child.rows(i), wanted[None])
            assert child.times(i).tolist() == [[0.0, float(parent.lengths[i])]]
        else:
            assert child.lengths[i] == 0
    assert verify(store) == []


def test_fates_reasons_and_media_are_carried(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "store", [SampleRow(f"s{i}") for i in range(4)])
    fates = [
        ShardSample(np.ones((2, 3)), media_sha256="a"),
        ShardSample(np.ones((1, 3)), status="partial", reason="cut", media_sha256="b"),
        ShardSample(status="missing", reason="silent", media_sha256="c"),
        ShardSample(status="failed", reason="no film"),
    ]
    with store.add_column(ColumnInfo.create("c", "audio", encoder="e", dim=3)) as writer:
        before = writer.commit(0, fates)
    derive(store, "c", "d", Chain(project=2))
    after = store.column("d").receipt(0)
    assert after is not None
    for key in ("lengths", "status", "reasons", "media", "ids_sha256"):
        assert getattr(after, key) == getattr(before, key)
    assert store.column("d").times(0).shape == (2, 2)
    with pytest.raises(SchemaMismatch, match="column 'c' does not know the times of its rows"):
        derive(store, "c", "e", Chain(resample="d"))


def test_components_are_fitted_on_the_train_split_only(store: FeatureStore) -> None:
    derive(store, "video", "small", Chain(pca=3))
    before = store.column("small")
    places = np.flatnonzero(store.samples.split == "train").tolist()
    train = [before.rows(i) for i in places]
    np.testing.assert_allclose(np.concatenate(train).mean(axis=0), 0, atol=1e-5)
    covariance = np.cov(np.concatenate(train).T)
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-4
    assert set(before.info.compute) == {"fitted_rows", "explained_variance", "basis_sha256"}
    assert before.info.compute["fitted_rows"] == sum(map(len, train))
    whole = derive(store, "video", "other", Chain(pca=3, fit_split="test"))
    assert whole.facts["basis_sha256"] != before.info.compute["basis_sha256"]
    with pytest.raises(UnknownColumn, match="--fit-split: the store has no split 'dev'"):
        derive(store, "video", "x", Chain(pca=3, fit_split="dev"))


def test_rows_take_the_clock_of_another_column(store: FeatureStore) -> None:
    derive(store, "audio", "clocked", Chain(resample="video"))
    audio, video, clocked = (store.column(name) for name in ("audio", "video", "clocked"))
    both = (audio.lengths > 0) & (video.lengths > 0)
    assert clocked.lengths.tolist() == np.where(both, video.lengths, 0).tolist()
    for i in np.flatnonzero(both).tolist():
        assert np.array_equal(clocked.times(i), video.times(i))
        T = min(len(audio.rows(i)), len(video.rows(i)))
        assert np.array_equal(clocked.rows(i)[:T], audio.rows(i)[:T])
        assert (clocked.rows(i)[T:] == audio.rows(i)[-1]).all()
    alone = int(np.flatnonzero((audio.lengths > 0) & (video.lengths == 0))[0])
    assert clocked.status[alone] == "missing"
    assert clocked.reasons[alone] == "column 'video', whose clock it takes, has no rows"


@pytest.mark.parametrize("chain", [Chain(pca=3), Chain(pool="max"), Chain(project=4, seed=9)])
def test_a_derivation_goes_on_where_it_stopped_to_the_same_bytes(
    store: FeatureStore, chain: Chain
) -> None:
    class Stop(Exception):
        pass

    def stop(done: int, total: int, text: str) -> None:
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        derive(store, "video", "d", chain, progress=stop)
    assert store.column("d").missing_shards == [2, 3, 4]
    assert derive(store, "video", "d", chain).shards_done == 3
    assert derive(store, "video", "d", chain).shards_done == 0
    there = shards(store, "d")
    store.drop_column("d")
    derive(store, "video", "d", chain)
    assert shards(store, "d") == there


def test_a_basis_from_elsewhere_is_not_mixed_with(store: FeatureStore) -> None:
    derive(store, "video", "d", Chain(pca=3))
    folder = store.path / "columns/d"
    write_column(folder, read_column(folder).model_copy(update={"compute": {"basis_sha256": "x"}}))
    (folder / receipt_file(1)).unlink()
    with pytest.raises(FingerprintMismatch, match="begun elsewhere with a basis that differs"):
        derive(store, "video", "d", Chain(pca=3))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("rows", "the rows of its parent 'video' have changed"),
        ("encoder", "its parent 'video' was made anew in another way"),
        ("gone", "its parent 'video' is gone"),
        ("split", "the split 'train' that it was fitted on has changed"),
    ],
)
def test_a_change_of_a_parent_makes_it_stale_and_deriving_again_mends_it(
    store: FeatureStore, change: str, why: str
) -> None:
    derive(store, "video", "d", Chain(pca=3))
    assert info(store)["columns"]["d"]["stale"] == []
    assert "stale" not in info(store)["columns"]["video"]
    if change == "rows":
        rewrite(store, "video", 1, 2.0)
    elif change == "encoder":
        for shard in range(5):
            rewrite(store, "audio", shard, 1.0)  # a column that is no parent
        assert why_stale(store, store.columns["d"]) == []
        there = store.column("video")
        rows = {i: (there.rows(i), there.times(i)) for i in range(30) if there.lengths[i]}
        new = there.info.model_copy(update={"encoder": "new"}).model_dump(exclude={"fingerprint"})
        with store.add_column(ColumnInfo.create(**new), replace=True) as writer:
            for shard in range(5):
                here = store.samples.rows_of(shard)
                writer.commit(shard, [ShardSample(*rows.get(i, (None, None))) for i in here])
    elif change == "gone":
        assert dependents(store, "video") == ["d"]
        store.drop_column("video")
    else:
        name = next(
            one for one, s in zip(store.samples.ids, store.samples.split, strict=True) if s == "val"
        )
        store.update_labels([SampleRow(str(name), split="train")])
    assert info(store)["columns"]["d"]["stale"] == [why]
    assert f"d is stale: {why}" in info_text(store)
    if change == "gone":
        return
    with pytest.raises(FingerprintMismatch, match="Use --replace"):
        derive(store, "video", "d", Chain(pca=3))
    derive(store, "video", "d", Chain(pca=3), replace=True)
    assert info(store)["columns"]["d"]["stale"] == []
    assert verify(store) == []


def test_a_renamed_parent_is_found_again(store: FeatureStore) -> None:
    derive(store, "video", "d", Chain(pool="max"))
    store.rename_column("video", "film")
    facts = info(store)["columns"]["d"]
    assert (facts["parents"], facts["stale"]) == (["film"], [])
    assert dependents(store, "film") == ["d"]
    assert "derived:pool=max of film" in info_text(store)


def test_what_cannot_be_derived_is_one_clear_error(store: FeatureStore, tmp_path: Path) -> None:
    with pytest.raises(UnknownColumn, match="no column 'vide'"):
        derive(store, "vide", "d", Chain(pool="mean"))
    with pytest.raises(ConfigError, match="--as: 'audio' is what it is derived from"):
        derive(store, "video", "audio", Chain(resample="audio"))
    with pytest.raises(FingerprintMismatch, match="column 'audio' is there already"):
        derive(store, "video", "audio", Chain(pool="mean"))
    run = tmp_path / "run"
    run.mkdir()
    pin_run(store.path, run, {"audio": store.columns["audio"].fingerprint})
    with pytest.raises(ColumnPinned, match=f"column 'audio' is pinned by .*{run}"):
        derive(store, "video", "audio", Chain(pool="mean"), replace=True)
    (store.path / "columns/video" / receipt_file(2)).unlink()
    with pytest.raises(SchemaMismatch, match="column 'video' is not complete: 1 of 5 shards"):
        derive(store, "video", "d", Chain(pool="mean"))
    assert list(store.columns) == ["audio", "video"]


def test_the_basis_is_kept_read_back_and_fitted_again_where_it_is_not(
    store: FeatureStore,
) -> None:
    derive(store, "video", "small", Chain.create(pca=2))
    column = store.column("small")
    path = column.folder / BASIS_FILE
    kept = projection_of(store, column.info)
    assert kept is not None
    parent = store.column("video")
    some = int(np.flatnonzero(parent.lengths)[0])
    np.testing.assert_array_equal(
        kept(parent.rows(some).astype(np.float64)).astype(np.float32), column.rows(some)
    )
    assert not verify(store)
    path.unlink()
    again = projection_of(store, column.info)
    assert again is not None
    assert again.sha256 == kept.sha256
    pooled = column.info.model_copy(update={"recipe": {"steps": {"pool": "mean"}}})
    assert projection_of(store, pooled) is None


def test_a_changed_basis_is_found_and_a_replaced_one_goes(store: FeatureStore) -> None:
    derive(store, "video", "small", Chain.create(pca=2))
    column = store.column("small")
    path = column.folder / BASIS_FILE
    values = np.load(path)
    values[0, 1] += 1e-9
    np.save(path, values)
    with pytest.raises(CorruptShard, match="holds other numbers than the column was made with"):
        projection_of(store, column.info)
    assert [one.file for one in verify(store)] == ["columns/small/basis.npy"]
    path.write_bytes(b"nothing")
    with pytest.raises(CorruptShard, match="is damaged"):
        projection_of(store, column.info)
    derive(store, "video", "small", Chain.create(pool="mean"), replace=True)
    assert not path.exists()
    assert not verify(store)
