"""What becomes of every kind of input: nothing vanishes, counts add up, rows are the encoder's."""

import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scfae.extract import load_encoder
from scfae.store import FeatureStore, verify

from . import media_kit as kit
from .small_jobs import BOTH, fates, ids, run


def test_every_input_has_its_fate_and_a_reason(media: Path, tmp_path: Path) -> None:
    report = run(media, tmp_path / "store", BOTH, shard_size=4, max_failures=3)
    found = fates(tmp_path / "store")
    assert {name: {c: status for c, (status, _) in by.items()} for name, by in found.items()} == {
        "clip": {"efficientnet-lite0": "ok", "ge2e": "ok"},
        "silent": {"efficientnet-lite0": "ok", "ge2e": "missing"},
        "voice": {"efficientnet-lite0": "missing", "ge2e": "ok"},
        "blip": {"efficientnet-lite0": "missing", "ge2e": "missing"},
        "still": {"efficientnet-lite0": "ok", "ge2e": "missing"},
        "cut": {"efficientnet-lite0": "partial", "ge2e": "missing"},
        "text": {"efficientnet-lite0": "failed", "ge2e": "failed"},
        "empty": {"efficientnet-lite0": "missing", "ge2e": "failed"},
        "nan": {"efficientnet-lite0": "missing", "ge2e": "failed"},
    }
    for by_column in found.values():
        for status, reason in by_column.values():
            assert (reason is None) == (status == "ok")
    assert found["silent"]["ge2e"][1] == "no audio stream"
    assert found["voice"]["efficientnet-lite0"][1] == "the sample has no video or image"
    assert "too short" in str(found["blip"]["ge2e"][1])
    assert "s decoded" in str(found["cut"]["efficientnet-lite0"][1])
    assert "NaN or infinity" in str(found["nan"]["ge2e"][1])
    for column in report.columns:
        assert sum(column.counts.values()) == report.samples == 9
    assert [name for name, _ in report.failures] == ["empty", "nan", "text"]
    assert not report.exceeded
    assert verify(tmp_path / "store") == []


def test_stored_rows_are_those_of_one_file_and_text_is_for_a_person(
    media: Path, tmp_path: Path
) -> None:
    report = run(media, tmp_path / "store", BOTH)
    store = FeatureStore.open(tmp_path / "store")
    for name in BOTH:
        encoder, column = load_encoder(name), store.column(name)
        for index, one in enumerate(store.samples.ids):
            if column.status[index] not in ("ok", "partial"):
                assert column.lengths[index] == 0
                continue
            (path,) = media.glob(f"{one}.*")
            rows, times = encoder.extract(path)
            np.testing.assert_allclose(column.rows(index), rows, atol=1e-5)
            np.testing.assert_array_equal(column.times(index), times)
    assert report.exceeded
    text = report.text()
    assert "3 samples could not be read (0 allowed by --max-failures)" in text
    assert "9 samples" in text
    body = report.as_dict()
    assert body["columns"]["ge2e"]["counts"] == report.columns[1].counts
    assert len(body["failures"]) == 3


def test_a_file_that_is_not_there_fails_and_is_taken_when_it_comes(
    media: Path, tmp_path: Path
) -> None:
    manifest = media / "m.csv"
    manifest.write_text("id,audio\na,voice.wav\nb,later.wav\n")
    store = tmp_path / "store"
    report = run(manifest, store, ["ge2e"])
    assert report.failures == [("b", f"file not found: {media / 'later.wav'}")]
    assert run(manifest, store, ["ge2e"]).files == 0
    shutil.copy(media / "voice.wav", media / "later.wav")
    report = run(manifest, store, ["ge2e"])
    assert report.failures == []
    assert report.columns[0].counts["ok"] == 2


def test_half_precision_is_stored_and_close(media: Path, tmp_path: Path) -> None:
    run(media, tmp_path / "full", ["ge2e"])
    run(media, tmp_path / "half", ["ge2e"], dtype="float16")
    full, half = (FeatureStore.open(tmp_path / name).column("ge2e") for name in ("full", "half"))
    index = ids(tmp_path / "full").index("clip")
    assert half.rows(index).dtype == np.float16
    np.testing.assert_array_equal(half.rows(index), full.rows(index).astype(np.float16))


def test_features_that_are_no_numbers_are_failed_and_never_stored(
    media: Path, tmp_path: Path
) -> None:
    state = dict(load_encoder("resnetse34l@random:0").module.state_dict())
    state["fc.weight"] = torch.full_like(state["fc.weight"], 3e38)
    torch.save(state, tmp_path / "huge.pth")
    report = run(media, tmp_path / "store", [f"resnetse34l@{tmp_path}/huge.pth"])
    found = fates(tmp_path / "store")
    for name in ("clip", "voice"):
        wanted = ("failed", "the encoder gave values that are not finite")
        assert found[name]["resnetse34l"] == wanted
    assert report.columns[0].rows == 0
    assert report.exceeded


def test_what_overflows_in_half_precision_is_failed_and_told_why(
    media: Path, tmp_path: Path
) -> None:
    state = dict(load_encoder("resnetse34l@random:0").module.state_dict())
    state["fc.weight"] = state["fc.weight"] * 1e8
    torch.save(state, tmp_path / "large.pth")
    for path in media.iterdir():
        if path.name not in ("voice.wav", "silent.mp4"):
            path.unlink()
    encoder = [f"resnetse34l@{tmp_path}/large.pth"]
    run(media, tmp_path / "half", encoder, precision="fp16")
    status, reason = fates(tmp_path / "half")["voice"]["resnetse34l"]
    assert status == "failed"
    assert "not finite in fp16; --precision bf16 or fp32" in str(reason)
    report = run(media, tmp_path / "full", encoder, precision="bf16")
    assert report.columns[0].counts["ok"] == 1
    assert FeatureStore.open(tmp_path / "full").column("resnetse34l").info.recipe["precision"]


def test_a_hanging_file_is_cut_and_named(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'scfae.extract.decoder_child' in sys.orig_argv:\n"
        "    import time, scfae.extract.mel as mel\n"
        "    mel.MelStream.end = lambda self: time.sleep(600)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    began_s = time.monotonic()
    report = run(media, tmp_path / "store", ["ge2e"], timeout_s=0.4)
    assert time.monotonic() - began_s < 60
    failures = dict(report.failures)
    assert "decoding took longer than 0.4 s (--timeout)" in failures["voice"]
    assert fates(tmp_path / "store")["silent"]["ge2e"][0] == "missing"


def test_progress_is_told_file_by_file(media: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    run(media, tmp_path / "s", BOTH, progress=lambda *args: told.append(args), shard_size=4)
    assert [done for done, _, _ in told] == list(range(1, len(told) + 1))
    assert {total for _, total, _ in told} == {len(told)}
    says = told[-1][2]
    assert "clips/s" in says
    assert "3 failed" in says
    assert all(f"{share} " in says for share in ("decode", "forward", "write"))
    assert "left" in told[1][2]


def test_video_and_image_of_one_sample_feed_two_columns(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    kit.write_clip(media / "a.mp4", frames=10, sound_s=None)
    Image.fromarray(kit.picture(5)).save(media / "a.png")
    encoders = ["efficientnet-lite0:modality=video", "efficientnet-lite0:modality=image"]
    report = run(media, tmp_path / "store", encoders)
    assert report.samples == 1
    assert report.files == 2
    assert report.notices == []
    store = FeatureStore.open(tmp_path / "store")
    view = store.view(
        video="efficientnet-lite0.modality=video", image="efficientnet-lite0.modality=image"
    )
    assert view[0].features["video"].shape == (2, 1280)
    assert view[0].features["image"].shape == (1, 1280)
    picture, _ = load_encoder("efficientnet-lite0").extract(media / "a.png")
    np.testing.assert_allclose(view[0].features["image"], picture, atol=1e-5)
    alone = run(media, tmp_path / "other", ["efficientnet-lite0"])
    assert any("it reads the video" in notice for notice in alone.notices)
