"""Bad input gets one clear sentence and the right exit status, and nothing is lost."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from scfae.demo.clips import make_media
from scfae.store.testing import make_store

Scfae = Callable[..., "subprocess.CompletedProcess[str]"]

ENCODERS = ("-e", "efficientnet-lite0", "-e", "ge2e")


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    return make_media(folder, {"train": 4}, fake_ratio=0.0, seed=3).parent


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_store(tmp_path_factory.mktemp("made") / "store", num_samples=60).path


def assert_sentence(stderr: str, *needles: str) -> None:
    """Check that stderr is a short text without a traceback that holds every needle."""
    assert "Traceback" not in stderr
    assert len(stderr.strip().splitlines()) <= 12, stderr
    for needle in needles:
        assert needle in stderr, stderr


def test_missing_folder(scfae: Scfae, tmp_path: Path) -> None:
    result = scfae("extract", tmp_path / "nowhere", tmp_path / "store", *ENCODERS)
    assert result.returncode == 2
    assert_sentence(result.stderr, str(tmp_path / "nowhere"))
    assert not (tmp_path / "store").exists()


def test_empty_folder(scfae: Scfae, tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    result = scfae("extract", tmp_path / "media", tmp_path / "store", *ENCODERS)
    assert result.returncode == 2
    assert_sentence(result.stderr, str(tmp_path / "media"), ".mp4")
    assert not (tmp_path / "store").exists()


def test_unknown_encoder_suggests_a_near_name(scfae: Scfae, media: Path, tmp_path: Path) -> None:
    result = scfae("extract", media, tmp_path / "store", "-e", "efficientnet-lite")
    assert result.returncode == 2
    assert_sentence(result.stderr, "efficientnet-lite", "efficientnet-lite0")
    assert not (tmp_path / "store").exists()


def test_no_encoder(scfae: Scfae, media: Path, tmp_path: Path) -> None:
    result = scfae("extract", media, tmp_path / "store")
    assert result.returncode == 2
    assert_sentence(result.stderr, "-e")


def test_weights_that_are_not_here(scfae: Scfae, media: Path, tmp_path: Path) -> None:
    result = scfae("extract", media, tmp_path / "store", "-e", "dinov3-vits16")
    assert result.returncode == 1
    assert_sentence(result.stderr, "dinov3-vits16", ".pth")
    assert not (tmp_path / "store").exists()


def test_unreadable_weights(scfae: Scfae, media: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.pth"
    broken.write_bytes(b"this is no checkpoint")
    result = scfae("extract", media, tmp_path / "store", "-e", f"r2plus1d-18@{broken}")
    assert result.returncode == 1
    assert_sentence(result.stderr, str(broken))


def test_weights_of_another_architecture(scfae: Scfae, media: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.zeros(3, 3)}, other)
    result = scfae("extract", media, tmp_path / "store", "-e", f"r2plus1d-18@{other}")
    assert result.returncode == 1
    assert_sentence(result.stderr, str(other), "conv1.weight")


def test_unknown_encoder_option(scfae: Scfae, media: Path, tmp_path: Path) -> None:
    result = scfae("extract", media, tmp_path / "store", "-e", "efficientnet-lite0:fsp=3")
    assert result.returncode == 2
    assert_sentence(result.stderr, "fsp", "fps")


def test_odd_files_are_quarantined_and_counted(scfae: Scfae, media: Path, tmp_path: Path) -> None:
    kit = tmp_path / "kit"
    kit.mkdir()
    whole = (media / "train-0000.mp4").read_bytes()
    (kit / "a-whole.mp4").write_bytes(whole)
    (kit / "b-no-moov.mp4").write_bytes(whole[: len(whole) // 3])
    (kit / "c-text.mp4").write_text("this is no film\n" * 20)
    (kit / "d-empty.mp4").write_bytes(b"")
    result = scfae("extract", kit, tmp_path / "store", *ENCODERS)
    assert result.returncode == 3
    assert_sentence(result.stderr, "c-text")
    status = json.loads(scfae("store", "status", tmp_path / "store", "--json").stdout)
    for counts in status["counts"].values():
        assert sum(counts.values()) == 4
        assert counts["ok"] == 1
        assert counts["failed"] == 3
    allowed = scfae("extract", kit, tmp_path / "store", *ENCODERS, "--max-failures", "3")
    assert allowed.returncode == 0, allowed.stderr


def test_video_without_sound_misses_its_audio(scfae: Scfae, tmp_path: Path) -> None:
    import av
    import numpy as np

    (tmp_path / "kit").mkdir()
    with av.open(str(tmp_path / "kit" / "silent.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(12):
            picture = np.full((48, 64, 3), 20 * level, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    result = scfae("extract", tmp_path / "kit", tmp_path / "store", *ENCODERS)
    assert result.returncode == 0, result.stderr
    status = json.loads(scfae("store", "status", tmp_path / "store", "--json").stdout)
    (sample,) = status["samples"]
    assert sample["columns"]["efficientnet-lite0"]["status"] == "ok"
    assert sample["columns"]["ge2e"] == {
        "status": "missing",
        "reason": "no audio stream",
        "rows": 0,
    }


def test_manifest_with_a_missing_file(scfae: Scfae, media: Path, tmp_path: Path) -> None:
    manifest = media / "with-missing.csv"
    manifest.write_text("id,video\nhere,train-0000.mp4\ngone,gone.mp4\n")
    result = scfae("extract", manifest, tmp_path / "store", *ENCODERS)
    assert result.returncode == 3
    assert_sentence(result.stderr, "gone.mp4")
    status = json.loads(scfae("store", "status", tmp_path / "store", "--json").stdout)
    fates = {sample["id"]: sample["columns"]["ge2e"]["status"] for sample in status["samples"]}
    assert fates == {"here": "ok", "gone": "failed"}


def test_manifest_with_a_duplicate_id(scfae: Scfae, media: Path, tmp_path: Path) -> None:
    manifest = media / "twice.csv"
    manifest.write_text("id,video\nsame,train-0000.mp4\nsame,train-0001.mp4\n")
    result = scfae("extract", manifest, tmp_path / "store", *ENCODERS)
    assert result.returncode == 2
    assert_sentence(result.stderr, "twice.csv", "same")


def test_manifest_with_an_unknown_column(scfae: Scfae, media: Path, tmp_path: Path) -> None:
    manifest = media / "typo.csv"
    manifest.write_text("id,vidoe\na,train-0000.mp4\n")
    result = scfae("extract", manifest, tmp_path / "store", *ENCODERS)
    assert result.returncode == 2
    assert_sentence(result.stderr, "typo.csv", "vidoe", "video")


def test_store_of_a_newer_version(scfae: Scfae, tmp_path: Path) -> None:
    path = make_store(tmp_path / "store", num_samples=8).path
    document = json.loads((path / "store.json").read_text())
    document["format_version"] = 99
    (path / "store.json").write_text(json.dumps(document))
    result = scfae("store", "info", path)
    assert result.returncode == 1
    assert_sentence(result.stderr, "99", str(path))


def test_no_store(scfae: Scfae, tmp_path: Path) -> None:
    result = scfae("store", "status", tmp_path / "nothing")
    assert result.returncode == 1
    assert_sentence(result.stderr, str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("flags", "needles"),
    [
        (("--epochs", "0"), ("epochs",)),
        (("--masking", "bernoulli:2"), ("masking", "bernoulli")),
        (("--fusion", "concatt"), ("concatt", "concat")),
        (("--label", "digitt"), ("digitt", "digit")),
        (("--columns", "video=nope"), ("nope",)),
        (("--nope", "3"), ("--nope",)),
    ],
)
def test_wrong_training_settings(
    scfae: Scfae, store: Path, tmp_path: Path, flags: tuple[str, ...], needles: tuple[str, ...]
) -> None:
    run = tmp_path / "run"
    base = ("--store", store, "--columns", "video=video", "audio=audio", "--label", "digit")
    result = scfae("train", *base, "--epochs", "1", "--run", run, *flags)
    assert result.returncode == 2, result.stderr
    assert_sentence(result.stderr, *needles)
    assert not (run / "checkpoints").exists()


def test_yaml_with_an_unknown_field(scfae: Scfae, store: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"store: {store}\ncolumns: {{video: video}}\nlabel: digit\nepoch: 3\n"
        f"run: {tmp_path / 'r'}\n"
    )
    result = scfae("train", config)
    assert result.returncode == 2
    assert_sentence(result.stderr, "epoch", "epochs")


def test_run_that_is_not_there(scfae: Scfae, tmp_path: Path) -> None:
    for words in (("evaluate",), ("train", "--resume"), ("report",)):
        result = scfae(*words, tmp_path / "nothing")
        assert result.returncode == 1, result.stderr
        assert_sentence(result.stderr, str(tmp_path / "nothing"))
