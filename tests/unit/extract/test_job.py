"""Runs of an extraction: resumed by content, nothing touched without need, nothing lost."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.extract import ExtractionInterrupted
from scfae.store import FeatureStore, verify
from scfae.store.container import Format
from scfae.store.errors import (
    ConfigError,
    FingerprintMismatch,
    ManifestError,
    UnknownEncoder,
    WeightsUnavailable,
)

from .small_jobs import BOTH, fates, ids, run, shard_files


def test_the_same_again_does_nothing_and_changed_media_only_their_shard(
    media: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    run(media, store, ["ge2e"], shard_size=1)
    before = {path: path.stat().st_mtime_ns for path in sorted(store.rglob("*"))}
    again = run(media, store, ["ge2e"], shard_size=1)
    assert again.files == 0
    assert {path: path.stat().st_mtime_ns for path in sorted(store.rglob("*"))} == before
    files = shard_files(store)
    shutil.copy(media / "clip.mp4", media / "silent.mp4")
    changed = run(media, store, ["ge2e"])
    assert changed.files == 1
    assert sum(shard_files(store)[one] != content for one, content in files.items()) == 2


def test_new_inputs_are_appended(media: Path, tmp_path: Path) -> None:
    late = shutil.move(media / "voice.wav", tmp_path / "voice.wav")
    store = tmp_path / "store"
    run(media, store, ["ge2e"], shard_size=3)
    before = shard_files(store)
    shutil.move(late, media / "voice.wav")
    report = run(media, store, ["ge2e"])
    assert (report.samples, report.files) == (9, 1)
    assert ids(store)[-1] == "voice"
    assert before.items() <= shard_files(store).items()


def test_another_recipe_is_refused_and_replaced_on_demand(media: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(media, store, ["ge2e"])
    before = shard_files(store)
    with pytest.raises(FingerprintMismatch, match="dtype"):
        run(media, store, ["ge2e"], dtype="float16")
    assert shard_files(store) == before
    run(media, store, ["ge2e"], dtype="float16", replace=True)
    assert FeatureStore.open(store).column("ge2e").info.dtype == "float16"
    assert verify(store) == []


def test_failed_samples_are_tried_again_on_demand_alone(media: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(media, store, ["ge2e"], shard_size=1)
    before = shard_files(store)
    assert run(media, store, ["ge2e"]).files == 0
    again = run(media, store, ["ge2e"], retry_failed=True)
    assert again.columns[0].shards_done == 3
    assert shard_files(store) == before  # the same bytes: nothing has changed


def test_a_second_encoder_is_a_second_column_and_touches_no_other(
    media: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    run(media, store, ["ge2e"])
    before = shard_files(store)
    report = run(media, store, ["ge2e", "efficientnet-lite0:fps=2"])
    assert [column.shards_done for column in report.columns] == [0, 1]
    assert before.items() <= shard_files(store).items()
    assert sorted(FeatureStore.open(store).columns) == ["efficientnet-lite0.fps=2.0", "ge2e"]


def test_columns_may_be_named(media: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(media, store, ["ge2e"])
    run(media, store, ["ge2e@random:4"], column_as="noise")
    columns = FeatureStore.open(store).columns
    assert [info.is_random for info in columns.values()] == [False, True]
    assert columns["noise"].weights == "random:4"


def test_a_subset_of_the_inputs_loses_nothing_of_the_others(media: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(media, store, BOTH)
    before = FeatureStore.open(store).column("ge2e")
    rows = {str(one): before.rows(i) for i, one in enumerate(ids(store))}
    fate = fates(store)
    some = tmp_path / "some"
    some.mkdir()
    shutil.copy(media / "silent.mp4", some / "clip.mp4")  # another content under a known id
    report = run(some, store, BOTH)
    assert report.files == 1
    after = FeatureStore.open(store).column("ge2e")
    for index, one in enumerate(ids(store)):
        if one != "clip":
            np.testing.assert_array_equal(after.rows(index), rows[one])
    changed = fates(store)
    assert changed.pop("clip")["ge2e"] == ("missing", "no audio stream")
    del fate["clip"]
    assert changed == fate
    assert verify(store) == []


def test_rows_that_damage_took_are_named(media: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    run(media, store, ["ge2e"])
    with next(store.rglob("*.zarr.zip")).open("r+b") as file:
        file.truncate(100)
    shutil.copy(media / "clip.mp4", media / "silent.mp4")
    for path in media.iterdir():
        if path.name != "silent.mp4":
            path.unlink()
    report = run(media, store, ["ge2e"])
    (notice,) = [one for one in report.notices if "are lost" in one]
    assert "ge2e: the rows of 8 samples" in notice
    assert "shard 0" in notice
    assert fates(store)["silent"]["ge2e"] == ("ok", None)
    assert fates(store)["voice"]["ge2e"][0] == "missing"
    assert verify(store) == []


def test_a_dry_run_counts_and_touches_nothing(media: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    late = shutil.move(media / "voice.wav", tmp_path / "voice.wav")
    run(media, store, ["ge2e"], shard_size=3)
    before = {path: path.stat().st_mtime_ns for path in sorted(store.rglob("*"))}
    dry = run(media, store, ["ge2e"], dry_run=True)
    assert (dry.samples, dry.columns[0].shards_done, dry.columns[0].shards_kept) == (8, 0, 3)
    shutil.move(late, media / "voice.wav")
    dry = run(media, store, BOTH, dry_run=True)
    assert dry.is_dry
    assert dry.samples == 9
    assert [(c.shards_done, c.shards_kept) for c in dry.columns] == [(4, 0), (1, 3)]
    assert "nothing was touched" in dry.text()
    assert {path: path.stat().st_mtime_ns for path in sorted(store.rglob("*"))} == before
    real = run(media, store, BOTH)
    assert [(c.shards_done, c.shards_kept) for c in real.columns] == [(4, 0), (1, 3)]


def test_bytes_depend_on_nothing_but_inputs_and_settings(media: Path, tmp_path: Path) -> None:
    run(media, tmp_path / "a", BOTH, workers=1, shard_size=4)
    run(media, tmp_path / "b", BOTH, workers=4, shard_size=4)
    files = shard_files(tmp_path / "a")
    assert len(files) == 2 * 2 * 3
    assert shard_files(tmp_path / "b") == files


@pytest.mark.parametrize("form", ["webdataset", "hdf5"])
def test_the_format_changes_the_files_and_not_the_rows(
    media: Path, tmp_path: Path, form: Format
) -> None:
    run(media, tmp_path / "zarr", ["ge2e"])
    run(media, tmp_path / "other", ["ge2e"], form=form)
    zarr, other = (FeatureStore.open(tmp_path / name) for name in ("zarr", "other"))
    assert other.columns["ge2e"].format == form
    assert other.column("ge2e").content_sha256 != zarr.column("ge2e").content_sha256
    assert other.status() == zarr.status()
    for i in range(len(zarr.samples)):
        for one in ("rows", "times"):
            got, wanted = (getattr(s.column("ge2e"), one)(i) for s in (other, zarr))
            assert got.tobytes() == wanted.tobytes()
    assert verify(other) == []


def test_a_column_keeps_the_batch_size_it_was_begun_with(media: Path, tmp_path: Path) -> None:
    late = shutil.move(media / "voice.wav", tmp_path / "voice.wav")
    store = tmp_path / "store"
    run(media, store, ["ge2e"], batch_size=2)
    shutil.move(late, media / "voice.wav")
    report = run(media, store, ["ge2e"], batch_size=7, shard_size=5)
    assert FeatureStore.open(store).column("ge2e").info.compute["batch_size"] == 2
    assert any("goes on as it was begun, with batch_size 2, not 7" in n for n in report.notices)
    assert any("--shard-size is for new ones" in n for n in report.notices)
    report = run(media, store, ["ge2e"])  # asks for no size
    assert not any("--shard-size" in n for n in report.notices)


def test_an_interruption_keeps_finished_shards_and_says_how_to_go_on(
    media: Path, tmp_path: Path
) -> None:
    def stop(done: int, total: int, name: str) -> None:
        if done == 6:
            raise KeyboardInterrupt(15)

    store = tmp_path / "store"
    with pytest.raises(ExtractionInterrupted, match=r"stopped by SIGTERM.*same command") as caught:
        run(media, store, ["ge2e"], shard_size=2, progress=stop)
    assert caught.value.signum == 15
    assert len(shard_files(store)) >= 2 * 2  # a shard and its receipt each
    assert verify(store) == []
    run(media, store, ["ge2e"], shard_size=2)
    run(media, tmp_path / "whole", ["ge2e"], shard_size=2)
    assert shard_files(store) == shard_files(tmp_path / "whole")


@pytest.mark.parametrize(
    ("encoders", "settings", "error"),
    [
        ([], {}, ConfigError),
        (["nothing"], {}, UnknownEncoder),
        (["ge2e", "ge2e"], {}, ConfigError),
        (["ge2e:fps=1"], {}, ConfigError),
        (["ge2e@/no/such/file.pt"], {}, WeightsUnavailable),
        (["ge2e"], {"device": "tpu9"}, ConfigError),
        (["ge2e"], {"column_as": "a/b"}, ConfigError),
        (["ge2e", "efficientnet-lite0"], {"column_as": "a"}, ConfigError),
    ],
)
def test_nothing_is_touched_before_everything_is_checked(
    kept_media: Path, tmp_path: Path, encoders: list[str], settings: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        run(kept_media, tmp_path / "store", encoders, **settings)
    assert list(tmp_path.iterdir()) == []


def test_no_media_no_store(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    with pytest.raises(ManifestError):
        run(tmp_path / "media", tmp_path / "store", ["ge2e"])
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"workers": 0}, "workers"),
        ({"batch_size": 0}, "batch-size"),
        ({"shard_size": 0}, "shard-size"),
        ({"max_failures": -1}, "max-failures"),
        ({"timeout_s": 0.0}, "timeout"),
    ],
)
def test_a_number_out_of_range_is_named(
    kept_media: Path, tmp_path: Path, wrong: dict[str, int], names: str
) -> None:
    with pytest.raises(ConfigError, match=names):
        run(kept_media, tmp_path / "store", ["ge2e"], **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "store").exists()
