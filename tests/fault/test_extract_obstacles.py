"""What stands in an extraction's way: a full disk, a read-only one, readers, rivals, other weights.

Each costs one sentence and nothing that was there; when the obstacle is gone the same command ends
in the same bytes.
"""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scfae.cli import main
from scfae.extract import extract, load_encoder
from scfae.store import FeatureStore, FeatureStream, verify
from scfae.store.errors import FingerprintMismatch, StoreLocked

from ..unit.extract import media_kit as kit

pytestmark = pytest.mark.fault
FILES = 6


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    for i in range(FILES):
        kit.write_clip(folder / f"{i}.mp4", frames=10, sound_s=0.4)
    return folder


def run(media: Path, store: Path, *encoders: str, **settings: Any) -> None:
    extract(media, store, encoders, **{"workers": 1, "batch_size": 2, "shard_size": 1} | settings)


def files(store: Path) -> dict[str, bytes]:
    return {str(p.relative_to(store)): p.read_bytes() for p in store.rglob("shard-*")}


@pytest.fixture(scope="module")
def whole(media: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an extraction gives that nothing hinders."""
    store = tmp_path_factory.mktemp("whole") / "store"
    run(media, store, "ge2e", "efficientnet-lite0")
    return files(store)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 2 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if mounted.returncode:
        pytest.skip(f"mounting needs rights that this process lacks: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def command(media: Path, store: Path, *encoders: str) -> int:
    words = ["extract", str(media), str(store), "--workers", "1", "--batch-size", "2"]
    words += [word for encoder in encoders for word in ("-e", encoder)]
    return main([*words, "--shard-size", "1"])


def test_a_full_disk_stops_with_a_sentence_and_keeps_what_is_committed(
    media: Path,
    small_disk: Path,
    whole: dict[str, bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = small_disk / "store"
    run(media, store, "ge2e")
    before = files(store)
    filler = small_disk / "filler"
    room = shutil.disk_usage(small_disk).free - 40_000  # for a part of the second column
    filler.write_bytes(bytes(room))
    assert command(media, store, "ge2e", "efficientnet-lite0") == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert str(small_disk) in said
    assert "Traceback" not in said
    assert before.items() <= files(store).items()
    assert verify(store) == []
    filler.unlink()
    run(media, store, "ge2e", "efficientnet-lite0")
    assert files(store) == whole
    assert verify(store) == []


def test_a_disk_that_is_read_only_stops_with_a_sentence(
    media: Path, small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = small_disk / "store"
    run(media, store, "ge2e")
    before = files(store)
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)
    for place in (store, small_disk / "new"):
        assert command(media, place, "efficientnet-lite0") == 1
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert "Read-only file system" in said
        assert str(small_disk) in said
    assert files(store) == before
    # What is there can be read, and is known to be done.
    assert FeatureStore.open(store).column("ge2e").is_complete


def test_a_reader_sees_the_same_rows_while_the_store_is_extended(
    media: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    run(media, store, "ge2e")
    view = FeatureStore.open(store).view(audio="ge2e")
    stream = FeatureStream(view, batch_size=2, seed=1)

    def epoch() -> list[tuple[list[str], bytes]]:
        stream.set_epoch(0)
        return [(list(b.ids), np.asarray(b.features["audio"]).tobytes()) for b in stream]

    first = epoch()
    assert len(first) == FILES // 2
    seen: list[bool] = []
    is_over = threading.Event()

    def read() -> None:
        while not is_over.is_set():
            seen.append(epoch() == first)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        more = tmp_path / "more"
        more.mkdir()
        for path in media.iterdir():
            (more / path.name).write_bytes(path.read_bytes())
        kit.write_clip(more / "new.mp4", frames=10, sound_s=0.4)
        run(more, store, "ge2e", "efficientnet-lite0")  # a sample and a column more
    finally:
        is_over.set()
        reader.join()
    assert seen
    assert all(seen)
    assert len(FeatureStore.open(store).view(audio="ge2e", video="efficientnet-lite0")) == FILES + 1
    assert verify(store) == []


def test_of_two_extractions_of_a_column_one_is_told_who_locks_it(
    media: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    told: list[str] = []

    def meanwhile(done: int, total: int, text: str) -> None:
        if done == 2:
            with pytest.raises(StoreLocked) as caught:
                run(media, store, "ge2e")
            told.append(str(caught.value))

    run(media, store, "ge2e", progress=meanwhile)
    (sentence,) = told
    assert "column 'ge2e' is being written: locked by process" in sentence
    assert "wait for it, or stop it" in sentence
    assert FeatureStore.open(store).column("ge2e").is_complete
    assert verify(store) == []


def test_weights_that_changed_in_their_file_are_refused_named_or_replace(
    media: Path, tmp_path: Path
) -> None:
    store, weights = tmp_path / "store", tmp_path / "weights.pt"
    network = load_encoder("resnetse34l@random:0").module
    torch.save(network.state_dict(), weights)
    encoder = f"resnetse34l@{weights}"
    run(media, store, encoder)
    before = files(store)
    state = network.state_dict()
    state["fc.bias"] = state["fc.bias"] + 1
    torch.save(state, weights)
    with pytest.raises(FingerprintMismatch, match=r"weights: .*--replace .*--as NEW_NAME"):
        run(media, store, encoder)
    assert files(store) == before
    run(media, store, encoder, column_as="second")
    assert before.items() <= files(store).items()
    run(media, store, encoder, replace=True)
    opened = FeatureStore.open(store)
    np.testing.assert_array_equal(
        opened.column("resnetse34l").rows(0), opened.column("second").rows(0)
    )
    assert not before.items() <= files(store).items()
    assert verify(store) == []
