"""An extraction: every input accounted for, resumed by content, nothing touched without need."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from scfae.demo.clips import make_media
from scfae.extract import extract, load_encoder
from scfae.store import FeatureStore, verify
from scfae.store.errors import ConfigError, FingerprintMismatch

SOUND = ["ge2e"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    make_media(folder, {"train": 4}, fake_ratio=0.0, seed=2)
    (folder / "manifest.csv").unlink()
    return folder


@pytest.fixture
def media(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "media")


def mtimes(store: Path) -> dict[str, int]:
    return {str(p): p.stat().st_mtime_ns for p in store.rglob("shard-*")}


def test_every_input_has_a_fate_and_rows_are_those_of_one_file(media: Path, tmp_path: Path) -> None:
    (media / "text.mp4").write_text("no film")
    report = extract(media, tmp_path / "store", [*SOUND, "efficientnet-lite0"], shard_size=2)
    assert report.exceeded
    assert [name for name, _ in report.failures] == ["text"]
    store = FeatureStore.open(tmp_path / "store")
    assert len(store.samples) == 5
    for column in report.columns:
        assert column.counts == {"ok": 4, "partial": 0, "missing": 0, "failed": 1}
    view = store.view(audio="ge2e", video="efficientnet-lite0")
    place = view.ids.tolist().index("train-0001")
    for modality, name in (("audio", "ge2e"), ("video", "efficientnet-lite0")):
        rows, times = load_encoder(name).extract(media / "train-0001.mp4")
        assert np.allclose(view[place].features[modality], rows, atol=1e-4)
        assert np.array_equal(view[place].times[modality], times)
    assert verify(tmp_path / "store") == []


def test_the_same_again_does_nothing_and_changed_media_only_their_shard(
    media: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    extract(media, store, SOUND, shard_size=1)
    before = mtimes(store)
    again = extract(media, store, SOUND, shard_size=1)
    assert mtimes(store) == before
    assert again.files == 0
    shutil.copy(media / "train-0000.mp4", media / "train-0003.mp4")
    changed = extract(media, store, SOUND)
    assert changed.files == 1
    assert sum(mtimes(store)[name] != when for name, when in before.items()) == 2


def test_new_inputs_are_appended(media: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    late = media / "train-0003.mp4"
    kept = late.rename(tmp_path / "late.mp4")
    (media / "train-0003.png").unlink()
    extract(media, store, SOUND, shard_size=3)
    before = mtimes(store)
    kept.rename(late)
    report = extract(media, store, SOUND)
    assert report.samples == 4
    assert before.items() <= mtimes(store).items()


def test_a_dry_run_touches_nothing(media: Path, tmp_path: Path) -> None:
    report = extract(media, tmp_path / "store", SOUND, dry_run=True)
    assert report.columns[0].shards_done == 1
    assert not (tmp_path / "store").exists()


def test_another_recipe_is_refused_and_replaced_on_demand(media: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    extract(media, store, SOUND)
    with pytest.raises(FingerprintMismatch, match="dtype"):
        extract(media, store, SOUND, dtype="float16")
    extract(media, store, SOUND, dtype="float16", replace=True)
    assert FeatureStore.open(store).column("ge2e").info.dtype == "float16"
    assert verify(store) == []


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
    made: Path, tmp_path: Path, wrong: dict[str, int], names: str
) -> None:
    with pytest.raises(ConfigError, match=names):
        extract(made, tmp_path / "store", SOUND, **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "store").exists()
