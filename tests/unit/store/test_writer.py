"""A column is written by one process at a time, a shard at a time, whole or not at all."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.store import ColumnInfo, ColumnWriter, FeatureStore, SampleRow, ShardSample, verify
from scfae.store import writer as writer_module
from scfae.store.container import write_shard
from scfae.store.errors import FingerprintMismatch, SchemaMismatch, StoreLocked
from scfae.store.receipt import receipt_file, shard_file, write_receipt
from scfae.store.testing import ragged_samples

DIM = 3
HALF = "float16"


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    return FeatureStore.create(
        tmp_path / "store", [SampleRow(f"s{i}") for i in range(6)], shard_size=2
    )


def describe(name: str = "ge2e", **fields: Any) -> ColumnInfo:
    return ColumnInfo.create(name, "audio", encoder="ge2e", dim=DIM, **fields)


def sample(value: float = 1.0, T: int = 2, **fields: Any) -> ShardSample:
    return ShardSample(rows=np.full((T, DIM), value), **fields)


def commit(store: FeatureStore, samples: list[ShardSample], shard: int = 0, **fields: Any) -> Path:
    with store.add_column(describe(**fields)) as writer:
        writer.commit(shard, samples)
    return writer.folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_column_begun_has_a_description_and_a_lock_and_no_shards(store: FeatureStore) -> None:
    with store.add_column(describe()) as writer:
        assert names(writer.folder) == [".lock", "column.json"]
        assert writer.missing_shards() == [0, 1, 2]
    assert names(writer.folder) == ["column.json"]
    assert store.column("ge2e").missing_shards == [0, 1, 2]


@given(st.data())
def test_what_was_committed_is_read_with_its_fate(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    samples = data.draw(ragged_samples(DIM))
    dtype = data.draw(st.sampled_from(["float32", "float16"]))
    ids = [SampleRow(f"s{i}") for i in range(len(samples))]
    store = FeatureStore.create(tmp_path_factory.mktemp("w") / "store", ids, shard_size=6)
    commit(store, samples, dtype=dtype)
    column = store.column("ge2e")
    for i, one in enumerate(samples):
        T = 0 if one.rows is None else len(one.rows)
        assert column.lengths[i] == T
        assert column.status[i] == one.status
        assert column.reasons.get(i) == one.reason
        assert column.rows(i).shape == (T, DIM)
        assert column.times(i).shape == (T, 2)
        if T and one.rows is not None and one.times is not None:
            assert column.rows(i).tobytes() == one.rows.astype(dtype).tobytes()
            assert (column.times(i) == one.times).all()
    receipt = column.receipt(0)
    assert receipt is not None
    assert receipt.media == [one.media_sha256 for one in samples]
    assert verify(store) == []


def test_the_receipt_is_written_last_and_withdrawn_first(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def shard(path: Path, *given: Any, **more: Any) -> Any:
        seen.append(names(path.parent))
        return write_shard(path, *given, **more)

    def receipt(folder: Path, *given: Any) -> None:
        seen.append(names(folder))
        write_receipt(folder, *given)

    monkeypatch.setattr(writer_module, "write_shard", shard)
    monkeypatch.setattr(writer_module, "write_receipt", receipt)
    begun = [".lock", "column.json"]
    for there in ([], [shard_file(0)]):
        commit(store, [sample(), sample()])
        assert seen == [[*begun, *there], [*begun, shard_file(0)]]
        seen.clear()
    assert names(store.path / "columns/ge2e") == ["column.json", receipt_file(0), shard_file(0)]


@pytest.mark.parametrize("failing", ["write_shard", "write_receipt"])
def test_a_commit_that_fails_leaves_the_shard_to_be_done_again(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*given: Any, **more: Any) -> None:
        raise OSError("no space left")

    commit(store, [sample(), sample()], shard=1)
    with monkeypatch.context() as patch:
        patch.setattr(writer_module, failing, fail)
        with pytest.raises(OSError, match="no space left"):
            commit(store, [sample(), sample()])
    assert verify(store) == []
    with store.add_column(describe()) as writer:
        assert writer.missing_shards() == [0, 2]


@pytest.mark.parametrize(
    ("samples", "what"),
    [
        ([sample()], "shard 0 has 2 samples, 1 given"),
        ([sample()] * 3, "shard 0 has 2 samples, 3 given"),
        ([sample(), ShardSample(np.ones((2, 4)))], r"rows are \[2, 4\], not \[T, 3\]"),
        ([sample(), ShardSample(np.ones(3))], r"rows are \[3\], not \[T, 3\]"),
        ([sample(), sample(times=np.zeros((3, 2)))], r"times are \[3, 2\], not \[2, 2\]"),
        ([sample(), sample(status="missing", reason="x")], "is missing but has rows"),
        ([sample(), ShardSample(status="failed")], "is failed without a reason"),
        ([sample(), ShardSample(status="missing", reason="")], "is missing without a reason"),
        ([sample(), sample(status="partial")], "is partial without a reason"),
        ([sample(), sample(status="lost", reason="x")], "is 'lost', not ok, partial, missing"),
    ],
)
def test_what_does_not_fit_is_refused_and_the_old_shard_stays(
    store: FeatureStore, samples: list[ShardSample], what: str
) -> None:
    folder = commit(store, [sample(5.0), sample(5.0)])
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    with pytest.raises(SchemaMismatch, match=what):
        commit(store, samples)
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before


def test_a_refusal_names_the_sample(store: FeatureStore) -> None:
    with pytest.raises(SchemaMismatch, match=f"column 'ge2e', sample '{store.samples.ids[1]}'"):
        commit(store, [sample(), ShardSample(np.ones((2, 4)))])


def test_a_shard_that_is_not_there_is_refused(store: FeatureStore) -> None:
    with pytest.raises(SchemaMismatch, match="there is no shard 3"):
        commit(store, [], shard=3)


@pytest.mark.parametrize(
    ("value", "dtype", "reason"),
    [
        (np.nan, "float32", "the encoder gave values that are not finite"),
        (np.inf, "float32", "the encoder gave values that are not finite"),
        (1e39, "float32", "values up to 1e+39 do not fit into float32"),
        (-70000.0, "float16", "values up to 7e+04 do not fit into float16"),
    ],
)
def test_rows_that_are_not_finite_make_their_sample_failed_and_no_other(
    store: FeatureStore, value: float, dtype: str, reason: str
) -> None:
    commit(store, [sample(value, media_sha256="m"), sample()], dtype=dtype)
    column = store.column("ge2e")
    assert column.status[:2].tolist() == ["failed", "ok"]
    assert column.lengths[:2].tolist() == [0, 2]
    assert column.reasons[0] == reason
    receipt = column.receipt(0)
    assert receipt is not None
    assert receipt.media == ["m", None]


def test_ok_without_rows_is_missing_with_a_reason(store: FeatureStore) -> None:
    commit(store, [ShardSample(), sample(T=0)])
    column = store.column("ge2e")
    assert column.status[:2].tolist() == ["missing", "missing"]
    assert column.reasons[1] == "the encoder gave no rows"


def test_times_that_are_unknown_are_nan(store: FeatureStore) -> None:
    commit(store, [sample(), sample()])
    assert np.isnan(store.column("ge2e").times(0)).all()


def test_commits_need_the_lock(store: FeatureStore) -> None:
    writer = store.add_column(describe())
    with pytest.raises(SchemaMismatch, match="only inside its `with` block"):
        writer.commit(0, [sample(), sample()])
    with writer:
        writer.commit(0, [sample(), sample()])
    with pytest.raises(SchemaMismatch, match="only inside its `with` block"):
        writer.commit(1, [sample(), sample()])


def test_missing_shards_are_those_for_other_media_or_without_a_whole_file(
    store: FeatureStore,
) -> None:
    media = [f"{i}" for i in range(6)]
    with store.add_column(describe()) as writer:
        for shard in range(3):
            here = store.samples.rows_of(shard)
            writer.commit(shard, [sample(media_sha256=media[i]) for i in here])
        assert writer.missing_shards() == writer.missing_shards(media) == []
        assert writer.missing_shards(["0", "1", "2", "new", "4", "5"]) == [1]
        with pytest.raises(SchemaMismatch, match="5 media digests for 6 samples"):
            writer.missing_shards(media[:5])
        os.truncate(writer.folder / shard_file(0), 10)
        (writer.folder / shard_file(1)).unlink()
        (writer.folder / receipt_file(2)).write_bytes(b"damaged")
        assert writer.missing_shards(media) == [0, 1, 2]
        for shard in range(3):
            writer.commit(shard, [sample()] * 2)
    assert verify(store) == []


def test_another_recipe_is_refused_and_what_differs_is_named(store: FeatureStore) -> None:
    commit(store, [sample(), sample()])
    other = describe(recipe={"rate_hz": 8000}, dtype=HALF)
    with pytest.raises(FingerprintMismatch, match=r"recipe: .*8000.*dtype: float16, not float32"):
        store.add_column(other)
    assert store.column("ge2e").missing_shards == [1, 2]


def test_going_on_keeps_the_description_of_the_first_writer(store: FeatureStore) -> None:
    commit(store, [sample(), sample()], compute={"device": "cpu"})
    with store.add_column(describe(compute={"device": "cuda"})) as writer:
        assert writer.info.compute == {"device": "cpu"}
        writer.commit(1, [sample(), sample()])
    assert store.column("ge2e").info.compute == {"device": "cpu"}
    assert store.column("ge2e").missing_shards == [2]


def test_a_replacement_killed_after_its_commit_keeps_nothing_of_the_old_column(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(store, [sample(), sample()])
    new = describe(dtype=HALF)
    with monkeypatch.context() as patch:
        patch.setattr(ColumnWriter, "_drop_all", lambda self: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit), store.add_column(new, replace=True):
            pass
    assert (store.path / "columns/ge2e" / receipt_file(0)).exists()
    assert verify(store) == []
    assert store.column("ge2e").missing_shards == [0, 1, 2]
    with store.add_column(new) as writer:
        assert writer.missing_shards() == [0, 1, 2]


def test_a_second_writer_is_refused_and_the_holder_named(store: FeatureStore) -> None:
    with (
        store.add_column(describe()),
        pytest.raises(
            StoreLocked, match=f"column 'ge2e' is being written: locked by process {os.getpid()}"
        ),
        store.add_column(describe()),
    ):
        pass
    with store.add_column(describe("other")), store.add_column(describe()):
        pass


HOLD = """
import sys, time
from scfae.store.lock import FolderLock
from pathlib import Path
with FolderLock(Path(sys.argv[1]), "column"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_of_a_killed_process_is_taken_over(store: FeatureStore) -> None:
    folder = commit(store, [sample(), sample()])
    words = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(StoreLocked, match=f"by process {holder.pid} on "),
            store.add_column(describe()),
        ):
            pass
        holder.kill()
        holder.wait()
    assert ".lock" in names(folder)
    commit(store, [sample(), sample()], shard=1)
    assert ".lock" not in names(folder)


def test_a_writer_removes_what_a_killed_one_left(store: FeatureStore) -> None:
    folder = commit(store, [sample(), sample()])
    (folder / ".tmp-0123").write_bytes(b"half")
    commit(store, [sample(), sample()], shard=1)
    assert ".tmp-0123" not in names(folder)
