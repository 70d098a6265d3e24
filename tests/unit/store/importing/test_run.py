"""An import meets a store: ids are matched, nothing is dropped, and a refusal changes nothing."""

from pathlib import Path

import numpy as np
import pytest

from scfae.store import FeatureStore, SampleRow, verify
from scfae.store.errors import ConfigError, FingerprintMismatch, ImportRefused, SchemaMismatch
from scfae.store.importing import import_features
from scfae.store.importing import run as run_module

from .kit import fates_by_id, imported, rows_by_id, samples, write_source


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_source("npy", tmp_path / "made", samples())


def everything(store: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in store.rglob("*") if p.is_file()}


def test_samples_without_a_file_are_missing_with_a_reason(source: Path, tmp_path: Path) -> None:
    ids = [*samples(), "other"]
    FeatureStore.create(tmp_path / "store", [SampleRow(name) for name in ids], shard_size=2)
    store, report = imported(source, tmp_path / "store")
    assert fates_by_id(store)["other"] == ("missing", "not in the source features")
    assert report.counts == {"ok": 5, "partial": 0, "missing": 1, "failed": 0}
    assert (report.samples, report.samples_added) == (6, 0)
    assert any("has shards of 2 samples" in notice for notice in report.notices)


def test_ids_that_the_store_does_not_know_are_refused_and_counted(
    source: Path, tmp_path: Path
) -> None:
    FeatureStore.create(tmp_path / "store", [SampleRow("s0"), SampleRow("other")])
    before = everything(tmp_path / "store")
    with pytest.raises(SchemaMismatch, match=r"4 of 5 samples .* 's1', 's2', 's3'; .*--add-sampl"):
        imported(source, tmp_path / "store")
    assert everything(tmp_path / "store") == before
    store, report = imported(source, tmp_path / "store", add_samples=True)
    assert report.samples_added == 4
    assert set(rows_by_id(store)) == {*samples(), "other"}
    assert verify(store) == []


@pytest.mark.parametrize("kind", ["npy", "pt", "npz", "mat", "hdf5", "csd", "mmsa"])
def test_the_same_source_again_does_nothing(kind: str, tmp_path: Path) -> None:
    source = write_source(kind, tmp_path, samples())
    imported(source, tmp_path / "store", shard_size=2)
    before = everything(tmp_path / "store")
    _, report = imported(source, tmp_path / "store", shard_size=2)
    assert (report.shards_done, report.shards_kept) == (0, 3)
    assert everything(tmp_path / "store") == before


def test_a_changed_source_is_refused_unless_the_column_is_replaced(
    source: Path, tmp_path: Path
) -> None:
    imported(source, tmp_path / "store")
    np.save(source / "s0.npy", np.full((1, 3), 9, "f4"))
    with pytest.raises(FingerprintMismatch, match="source_sha256"):
        imported(source, tmp_path / "store")
    store, _ = imported(source, tmp_path / "store", replace_column=True)
    assert (rows_by_id(store)["s0"] == 9).all()


def test_an_import_that_was_cut_off_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = run_module._taken
    done: list[str] = []

    def stop(opened: object, name: str, nonfinite: object) -> object:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(name)
        return taken(opened, name, nonfinite)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(run_module, "_taken", stop)
        with pytest.raises(KeyboardInterrupt):
            imported(source, tmp_path / "store", shard_size=2)
    _, report = imported(source, tmp_path / "store", shard_size=2)
    assert (report.shards_done, report.shards_kept) == (2, 1)
    whole, _ = imported(source, tmp_path / "whole", shard_size=2)
    got = {Path(name).name: data for name, data in everything(tmp_path / "store").items()}
    assert got == {Path(name).name: data for name, data in everything(whole.path).items()}


def test_samples_appended_later_are_imported_then(source: Path, tmp_path: Path) -> None:
    store, _ = imported(source, tmp_path / "store", shard_size=2)
    store.append_samples([SampleRow("late")])
    store, report = imported(source, tmp_path / "store", shard_size=2)
    assert (report.shards_done, report.counts["missing"]) == (1, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_fail_their_sample_or_become_zero(
    source: Path, tmp_path: Path, value: float
) -> None:
    rows = np.ones((2, 3), "f4")
    rows[1, 2] = value
    np.save(source / "bad.npy", rows)
    store, report = imported(source, tmp_path / "failed")
    why = f"1 of 6 values are not finite, the first is {value} at row 1, feature 2"
    assert fates_by_id(store)["bad"] == ("failed", why)
    assert "1 failed" in report.text()
    store, _ = imported(source, tmp_path / "zero", nonfinite="zero")
    why = "1 of 6 values were not finite and are set to 0"
    assert fates_by_id(store)["bad"] == ("partial", why)
    assert rows_by_id(store)["bad"].tolist() == [[1, 1, 1], [1, 1, 0]]
    with pytest.raises(FingerprintMismatch, match="nonfinite"):
        imported(source, tmp_path / "zero")


def test_values_too_large_for_the_column_fail_their_sample(source: Path, tmp_path: Path) -> None:
    np.save(source / "large.npy", np.full((1, 3), 1e6, "f4"))
    store, _ = imported(source, tmp_path / "store", dtype="float16")
    assert fates_by_id(store)["large"][0] == "failed"
    assert "float16" in str(fates_by_id(store)["large"][1])


def test_the_column_says_where_it_comes_from(source: Path, tmp_path: Path) -> None:
    store, report = imported(source, tmp_path / "store", shard_size=8)
    info = store.column("a").info
    assert (info.encoder, info.weights, info.modality) == ("imported:folder", "none", "audio")
    assert info.recipe["source"] == "features"
    assert info.recipe["source_sha256"] == report.sha256
    receipt = store.column("a").receipt(0)
    assert receipt is not None
    assert len({*receipt.media}) == 5
    assert all(len(sha256 or "") == 64 for sha256 in receipt.media)


def test_labels_of_a_table_go_before_those_of_the_store(source: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("id,split,group,digit\ns0,train,anna,3\ns1,val,,\nstranger,test,x,1\n")
    rows = [SampleRow(name, split="test", labels={"digit": 7, "old": 1}) for name in samples()]
    FeatureStore.create(tmp_path / "store", rows)
    store, report = imported(source, tmp_path / "store", labels=table)
    by_id = {row.id: row for row in store.samples.rows()}
    first, second = by_id["s0"], by_id["s1"]
    assert (first.split, first.group, first.labels) == ("train", "anna", {"digit": 3, "old": 1})
    assert (second.split, second.group, second.labels) == ("val", None, {"digit": 7, "old": 1})
    notices = "\n".join(report.notices)
    assert "1 ids without features" in notices
    assert "no line for 3 of 5 samples" in notices
    assert "2 samples were updated" in notices


def test_a_new_store_has_the_labels_of_the_table(source: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.jsonl"
    table.write_text('{"id": "s3", "split": "train", "score": 0.5}\n{"id": "s4", "video": "a.mp4"}')
    store, _ = imported(source, tmp_path / "store", labels=table)
    by_id = {row.id: row for row in store.samples.rows()}
    assert (by_id["s3"].split, by_id["s3"].labels) == ("train", {"score": 0.5})
    assert by_id["s4"].media == {"video": "a.mp4"}


def test_a_file_that_changes_while_it_is_imported_is_refused(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = run_module._taken

    def change(opened: object, name: str, nonfinite: object) -> object:
        np.save(source / f"{name}.npy", np.zeros((9, 3), "f4"))
        return taken(opened, name, nonfinite)  # type: ignore[arg-type]

    monkeypatch.setattr(run_module, "_taken", change)
    with pytest.raises(ImportRefused, match="changed while it was imported"):
        imported(source, tmp_path / "store")


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        ({"shard_size": 0}, "--shard-size"),
        ({"max_bytes": 0}, "--max-bytes"),
        ({"modality": ""}, "--modality"),
        ({"column": "../a"}, "no column name"),
    ],
)
def test_flags_out_of_range_are_refused(
    source: Path, tmp_path: Path, flags: dict[str, object], what: str
) -> None:
    with pytest.raises(ConfigError, match=what):
        import_features(
            source,
            tmp_path / "store",
            **{"column": "a", "modality": "audio"} | flags,  # type: ignore[arg-type]
        )
    assert not (tmp_path / "store").exists()


def test_progress_counts_samples(source: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    imported(source, tmp_path / "store", shard_size=2, progress=lambda *now: seen.append(now))
    assert [(done, total) for done, total, _ in seen] == [(2, 5), (4, 5), (5, 5)]
