"""What is left to do: by fingerprint and by the media's content, and by nothing else."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from scfae.extract import Encoder, MediaItem, load_encoder
from scfae.extract.media import media_sha256
from scfae.extract.plan import ColumnPlan, Work, plan_columns, plan_work, sample_rows
from scfae.store import FeatureStore, ShardSample
from scfae.store.container import Format
from scfae.store.errors import ConfigError, FingerprintMismatch
from scfae.store.receipt import Status

NUM_SAMPLES, SHARD_SIZE = 6, 2


def columns_of(
    *encoders: Encoder, column_as: str | None = None, form: Format = "zarr"
) -> dict[str, ColumnPlan]:
    return plan_columns(
        encoders, dtype="float32", form=form, column_as=column_as, batch_size=4, threads=1
    )


def write(path: Path, content: str) -> Path:
    path.write_text(content)
    return path


@pytest.fixture(scope="module")
def ge2e() -> Encoder:
    return load_encoder("ge2e@random:1")


@pytest.fixture
def items(tmp_path: Path) -> dict[str, MediaItem]:
    names = [f"s{i}" for i in range(NUM_SAMPLES)]
    media = {name: {"audio": write(tmp_path / f"{name}.wav", name)} for name in names}
    return {name: MediaItem(name, media[name], {"audio": f"{name}.wav"}) for name in names}


@pytest.fixture
def store(tmp_path: Path, items: dict[str, MediaItem]) -> FeatureStore:
    rows = sample_rows(list(items.values()))
    return FeatureStore.create(tmp_path / "store", rows, shard_size=SHARD_SIZE)


def fill(
    store: FeatureStore,
    plan: ColumnPlan,
    items: dict[str, MediaItem],
    shards: Sequence[int],
    *,
    failed: str = "",
) -> None:
    """Commit shards as an extraction would, without its rows."""
    with store.add_column(plan.info) as writer:
        for shard in shards:
            samples = []
            for index in store.samples.rows_of(shard):
                name = str(store.samples.ids[index])
                status: Status = "failed" if name == failed else "missing"
                digest = media_sha256(items[name].media["audio"])
                samples.append(ShardSample(status=status, reason="so", media_sha256=digest))
            writer.commit(shard, samples)


def plan(
    store: FeatureStore,
    columns: dict[str, ColumnPlan],
    items: dict[str, MediaItem],
    *,
    retry_failed: bool = False,
    replace: bool = False,
) -> Work:
    return plan_work(store, columns, items, retry_failed=retry_failed, replace=replace)


def shard_of(store: FeatureStore, name: str) -> int:
    return int(store.samples.shard_of[store.samples.ids.tolist().index(name)])


def test_only_shards_without_a_receipt_are_left(
    store: FeatureStore, items: dict[str, MediaItem], ge2e: Encoder
) -> None:
    columns = columns_of(ge2e)
    assert plan(store, columns, items).shards == {0: ["ge2e"], 1: ["ge2e"], 2: ["ge2e"]}
    fill(store, columns["ge2e"], items, [0, 2])
    work = plan(store, columns, items)
    assert work.shards == {1: ["ge2e"]}
    assert work.notices == []
    fill(store, columns["ge2e"], items, [1])
    assert plan(store, columns, items).shards == {}


def file_of(items: dict[str, MediaItem], name: str) -> Path:
    return Path(str(items[name].media["audio"]))


def test_changed_media_cost_their_shard_and_a_touch_costs_nothing(
    store: FeatureStore, items: dict[str, MediaItem], ge2e: Encoder
) -> None:
    columns = columns_of(ge2e)
    fill(store, columns["ge2e"], items, range(3))
    os.utime(file_of(items, "s1"), (0, 0))
    assert plan(store, columns, items).shards == {}
    write(file_of(items, "s4"), "other")
    work = plan(store, columns, items)
    assert list(work.shards) == [shard_of(store, "s4")]
    assert work.notices == ["ge2e: the media of 1 shards have changed; extracted anew"]


def test_a_column_stays_in_the_format_it_was_begun_in(
    store: FeatureStore, items: dict[str, MediaItem], ge2e: Encoder
) -> None:
    begun = columns_of(ge2e, form="hdf5")
    fill(store, begun["ge2e"], items, [0])
    assert plan(store, begun, items).notices == []
    work = plan(store, columns_of(ge2e, form="webdataset"), items)
    (notice,) = work.notices
    assert notice.startswith("ge2e: stays in hdf5, as it was begun, and not in webdataset; ")
    fill(store, work.columns["ge2e"], items, [1, 2])
    names = sorted(path.name for path in (store.path / "columns/ge2e").glob("*.h5"))
    assert names == ["shard-00000.h5", "shard-00001.h5", "shard-00002.h5"]


def test_media_that_vanish_or_come_back_have_changed(
    store: FeatureStore, items: dict[str, MediaItem], ge2e: Encoder
) -> None:
    columns = columns_of(ge2e)
    file_of(items, "s2").unlink()
    fill(store, columns["ge2e"], items, range(3))
    assert plan(store, columns, items).shards == {}
    write(file_of(items, "s2"), "back")
    assert list(plan(store, columns, items).shards) == [shard_of(store, "s2")]


def test_samples_that_are_no_inputs_now_do_not_count(
    store: FeatureStore, items: dict[str, MediaItem], ge2e: Encoder
) -> None:
    columns = columns_of(ge2e)
    fill(store, columns["ge2e"], items, range(3), failed="s0")
    write(file_of(items, "s0"), "other")
    del items["s0"]
    assert plan(store, columns, items, retry_failed=True).shards == {}


def test_failed_samples_are_tried_again_on_demand(
    store: FeatureStore, items: dict[str, MediaItem], ge2e: Encoder
) -> None:
    columns = columns_of(ge2e)
    fill(store, columns["ge2e"], items, range(3), failed="s3")
    assert plan(store, columns, items).shards == {}
    assert list(plan(store, columns, items, retry_failed=True).shards) == [shard_of(store, "s3")]


def test_another_fingerprint_is_refused_or_replaced(
    store: FeatureStore, items: dict[str, MediaItem], ge2e: Encoder
) -> None:
    fill(store, columns_of(ge2e)["ge2e"], items, range(3))
    other = columns_of(load_encoder("ge2e@random:2"))
    with pytest.raises(FingerprintMismatch, match="random:2, not random:1"):
        plan(store, other, items)
    assert list(plan(store, other, items, replace=True).shards) == [0, 1, 2]
    named = columns_of(load_encoder("ge2e@random:2"), column_as="second")
    assert plan(store, named, items).shards == {k: ["second"] for k in range(3)}


def test_two_columns_are_planned_together(
    store: FeatureStore, items: dict[str, MediaItem], ge2e: Encoder
) -> None:
    columns = columns_of(ge2e, load_encoder("resnetse34l@random:0"))
    fill(store, columns["ge2e"], items, [0, 1])
    work = plan(store, columns, items)
    assert list(work.shards) == [0, 1, 2]
    assert {shard: sorted(names) for shard, names in work.shards.items()} == {
        0: ["resnetse34l"],
        1: ["resnetse34l"],
        2: ["ge2e", "resnetse34l"],
    }


def test_one_column_has_one_encoder(ge2e: Encoder) -> None:
    other = load_encoder("ge2e@random:2")
    with pytest.raises(ConfigError, match="two encoders would fill the column 'ge2e'"):
        columns_of(ge2e, other)
    with pytest.raises(ConfigError, match="--as mine: names one column, but 2 are asked for"):
        columns_of(ge2e, other, column_as="mine")
    with pytest.raises(ConfigError, match="is no column name"):
        columns_of(ge2e, column_as="../mine")


def test_a_column_records_all_that_decides_its_rows(ge2e: Encoder) -> None:
    encoder = load_encoder("r2plus1d-18@random:0:stride=8,fps=4")
    (name, planned), *_ = columns_of(encoder).items()
    info = planned.info
    assert name == info.name == "r2plus1d-18.fps=4.0.stride=8"
    assert info.encoder == "r2plus1d-18:fps=4.0,stride=8"
    assert (info.dim, info.modality, info.rows_per_second) == (512, "video", 0.5)
    assert info.is_random
    assert info.weights == "random:0"
    assert info.recipe["mean"] == [0.43216, 0.394666, 0.37645]
    assert set(info.versions) == {"torch", "torchvision", "numpy", "av"}
    assert info.compute == {"device": "cpu", "batch_size": 4, "threads": 1}
    same = columns_of(load_encoder("r2plus1d-18@random:0:fps=4,stride=8"))[name].info
    assert same.fingerprint == info.fingerprint
    for text in ("r2plus1d-18@random:1:fps=4,stride=8", "r2plus1d-18@random:0:fps=4,stride=9"):
        (other,) = columns_of(load_encoder(text)).values()
        assert other.info.fingerprint != info.fingerprint


@pytest.mark.parametrize(
    ("encoder", "kinds", "reads"),
    [
        ("ge2e", ["video"], ("audio", "video")),  # the sound of a video
        ("ge2e", ["audio"], ("audio", "audio")),
        ("ge2e", ["video", "audio"], ("audio", "audio")),
        ("ge2e", ["image"], None),
        ("efficientnet-lite0", ["image"], ("image", "image")),
        ("efficientnet-lite0", ["image", "video"], ("video", "video")),
        ("efficientnet-lite0:modality=image", ["image", "video"], ("image", "image")),
        ("efficientnet-lite0:modality=image", ["video"], None),
        ("efficientnet-lite0", ["audio", "text"], None),
    ],
)
def test_which_file_feeds_which_column(
    encoder: str, kinds: list[str], reads: tuple[str, str] | None
) -> None:
    (planned,) = columns_of(load_encoder(encoder, weights="random:0")).values()
    item = MediaItem("a", {kind: Path(f"a.{kind}") for kind in kinds}, {})
    found = planned.source(item)
    assert found == (None if reads is None else (reads[0], Path(f"a.{reads[1]}")))


def test_a_sample_with_video_and_image_is_named(tmp_path: Path) -> None:
    media = {"video": tmp_path / "a.mp4", "image": tmp_path / "a.png"}
    items = {"a": MediaItem("a", media, {})}
    store = FeatureStore.create(tmp_path / "store", sample_rows(list(items.values())))
    work = plan(store, columns_of(load_encoder("efficientnet-lite0@random:0")), items)
    (notice,) = work.notices
    assert "1 samples have video and image; it reads the video" in notice
    assert "-e efficientnet-lite0:modality=image" in notice
