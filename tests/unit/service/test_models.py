"""Models: promoted, refused, taken back; what they say of samples and of media that come along."""

import json
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from scfae.demo.clips import make_media
from scfae.extract import extract
from scfae.service import Roots
from scfae.service.client import Client
from scfae.service.models import Models
from scfae.store import FeatureStore
from scfae.store.errors import (
    ConfigError,
    DecodeError,
    JobNotFound,
    JobStateError,
    ModelNotFound,
    RunStateError,
    UnknownColumn,
)
from scfae.train.prediction import predict
from scfae.train.runs import RunFolder

from .services import Served, start_server, training
from .trained import checkpoint, trained_job

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of a drifting digit and a voice, and their features in `store`."""
    root = tmp_path_factory.mktemp("root")
    make_media(root / "media", {"train": 4, "val": 1, "test": 1}, fake_ratio=0.5, seed=2)
    encoders = ("efficientnet-lite0:fps=2", "ge2e")
    extract(root / "media" / "manifest.csv", root / "store", encoders, shard_size=6, batch_size=4)
    return root


@pytest.fixture(scope="module")
def roots(root: Path) -> Roots:
    return Roots(stores=(str(root),), media=(str(root),))


@pytest.fixture(scope="module")
def served(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    words = ["--no-worker", "--store-root", str(root), "--max-upload-mb", "2"]
    with start_server(tmp_path_factory.mktemp("service"), *words) as served:
        yield served


def settings(root: Path) -> dict[str, Any]:
    seen, heard = sorted(FeatureStore.open(root / "store").columns)
    return {
        "columns": {"video": seen, "audio": heard},
        "label": "fake",
        "fusion": "concat",
        "options": {"hidden": 16},
        "batch_size": 4,
    }


@pytest.fixture(scope="module")
def job(served: Served, root: Path, roots: Roots) -> str:
    return trained_job(served.queue, roots, name="fakes", **settings(root)).id


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{served.port}", timeout_s=300) as client:
        yield client


@pytest.fixture(scope="module")
def model(client: Client, job: str) -> str:
    return client.promote(job, "fakes", note="the first").name


@pytest.fixture(scope="module")
def clip(root: Path) -> Path:
    return sorted((root / "media").glob("*.mp4"))[0]


def test_a_run_becomes_a_version_with_all_that_it_was_made_of(
    client: Client, served: Served, model: str, job: str, root: Path
) -> None:
    one = client.model(model).versions[-1]
    run = RunFolder(served.queue.job(job).run_path)
    kept = run.read("evaluation.json")
    assert (one.version, one.job, one.actor, one.note) == (1, job, "local", "the first")
    assert one.figure is not None
    assert one.figure.value == kept["conditions"]["video+audio"][one.figure.metric]
    assert (one.figure.split, one.config_digest) == ("test", run.config.digest())
    assert {m: column.fingerprint for m, column in one.columns.items()} == {
        m: info.fingerprint for m, info in run.columns.items()
    }
    fingerprints = run.read("columns.json")["fingerprints"]
    assert one.data_fingerprint == fingerprints["samples, labels and splits"]
    place = served.queue.folder / "models" / model / "1" / "model.json"
    assert json.loads(place.read_text())["checkpoint_sha256"] == one.checkpoint_sha256
    assert [view.name for view in client.models()] == [model]


def test_what_cannot_be_promoted_is_said(
    client: Client, served: Served, model: str, job: str, roots: Roots, root: Path
) -> None:
    waiting = served.queue.submit(training(**settings(root)), actor="test", roots=roots).id
    with pytest.raises(JobStateError, match="is queued"):
        client.promote(waiting, "fakes")
    served.queue.wish(waiting, "cancel", actor="test")
    with pytest.raises(RunStateError, match="no run to promote: it was cancelled before it began"):
        client.promote(waiting, "fakes")
    with pytest.raises(JobNotFound):
        client.promote("0" * 12, "fakes")
    for name in ("..", ".hidden", "a%2Fb", "a b", "x" * 65):
        answer = served.client.post(f"/api/v1/models/{name}/promote", json={"run": job})
        assert answer.status_code in (404, 405, 422), name
    with pytest.raises(ConfigError, match="leave member out"):
        client.promote(job, "fakes", member="seed=1")
    with pytest.raises(ModelNotFound):
        client.model("none")
    with pytest.raises(ModelNotFound, match="no version 99"):
        client.predict(model, sample="x", version=99)


def test_a_promoted_run_stays_until_its_versions_are_taken_back(
    client: Client, served: Served, roots: Roots, root: Path
) -> None:
    job = trained_job(served.queue, roots, epochs=1, evaluated=False, **settings(root)).id
    first, second = (client.promote(job, "short-lived").version for _ in range(2))
    assert (first, second) == (1, 2)
    with pytest.raises(JobStateError, match="short-lived version 2 and short-lived version 1"):
        client.delete(job)
    client.delete_version("short-lived", 2)
    with pytest.raises(JobStateError, match="short-lived version 1"):
        client.delete(job)
    assert client.promote(job, "short-lived").version == 3  # a number is given once
    for number in (1, 3):
        client.delete_version("short-lived", number)
    with pytest.raises(ModelNotFound):
        client.model("short-lived")
    client.delete(job)
    assert Models(served.queue.folder).of_job(job) == []


def test_a_stored_sample_is_answered_with_every_set_of_modalities(
    client: Client, model: str, root: Path, clip: Path
) -> None:
    whole = client.predict(model, sample=clip.stem)
    assert whole.present == ("video", "audio")
    assert list(whole.subsets) == ["video", "audio", "video+audio"]
    assert whole.subsets["video+audio"] == whole.answer
    assert whole.sample is not None
    assert (whole.sample["id"], whole.sample["split"]) == (clip.stem, "test")
    assert whole.temperature is not None
    heard = client.predict(model, sample=clip.stem, only=["audio"])
    assert heard.present == ("audio",)
    assert heard.answer == whole.subsets["audio"]
    assert whole.subsets["audio"] != whole.subsets["video"]
    with pytest.raises(UnknownColumn, match="no sample 'nobody'"):
        client.predict(model, sample="nobody")
    with pytest.raises(ConfigError, match="no modality 'smell'"):
        client.predict(model, sample=clip.stem, only=["smell"])


def test_a_clip_is_answered_as_scfae_predict_does(
    client: Client, served: Served, model: str, job: str, clip: Path
) -> None:
    (line,) = predict(served.queue.job(job).run_path, [clip])
    said = client.predict(model, files={"file": clip})
    assert said.answer["probabilities"] == line["probabilities"]
    assert said.temperature == line["temperature"]
    (heard,) = predict(served.queue.job(job).run_path, [clip], only=["audio"])
    assert said.subsets["audio"]["probabilities"] == heard["probabilities"]
    only = client.predict(model, files={"video": clip}, only=["audio"])
    assert only.present == ("audio",)
    assert only.answer == said.subsets["audio"]
    assert list((served.queue.folder / "uploads").iterdir()) == []


def test_a_still_has_no_sound_and_says_so(client: Client, model: str, root: Path) -> None:
    said = client.predict(model, files={"image": next((root / "media").glob("*.png"))})
    assert said.present == ("video",)
    assert said.absent == {"audio": "the encoder reads audio or video"}
    assert list(said.subsets) == ["video"]


def bomb_of_pixels(path: Path) -> Path:
    """Write a picture of 40,000 x 40,000 pixels in a few kilobytes."""
    side = 40_000

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    return path


def test_damaged_files_and_bombs_are_refused_and_the_next_is_answered(
    client: Client, served: Served, model: str, clip: Path, tmp_path: Path
) -> None:
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:300])
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "zip.mp4").write_bytes(zipped_zeros(tmp_path))
    bomb_of_pixels(tmp_path / "bomb.png")
    assert (tmp_path / "bomb.png").stat().st_size < MEGABYTE
    for name in ("noise.mp4", "cut.mp4", "empty.wav", "zip.mp4", "bomb.png"):
        with pytest.raises(DecodeError) as raised:
            client.predict(model, files={"file": tmp_path / name})
        assert str(tmp_path) not in str(raised.value), name
        assert "uploads" not in str(raised.value), name
    with pytest.raises(ConfigError, match=r"known are"):
        client.predict(model, files={"file": named(tmp_path, "x.m3u8")})
    with pytest.raises(ConfigError, match="nothing to predict"):
        client.predict(model, files={})
    assert client.predict(model, files={"file": clip}).present == ("video", "audio")
    assert list((served.queue.folder / "uploads").iterdir()) == []


def named(folder: Path, name: str) -> Path:
    (folder / name).write_text("#EXTM3U\n")
    return folder / name


def zipped_zeros(folder: Path) -> bytes:
    import zipfile

    with zipfile.ZipFile(folder / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(64 * MEGABYTE))
    return (folder / "x.zip").read_bytes()


def test_lists_of_other_files_are_not_followed(
    client: Client, model: str, clip: Path, tmp_path: Path
) -> None:
    """FFmpeg has formats that only name other files and addresses; an upload may not."""
    asked: list[str] = []
    server = listening(asked)
    address = f"http://127.0.0.1:{server.server_address[1]}/secret.mp4"
    lists = {
        "hls.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}\n#EXT-X-ENDLIST\n",
        "concat.mp4": f"ffconcat version 1.0\nfile {clip}\n",
        "itself.mp4": "ffconcat version 1.0\nfile video.mp4\n",
        "concat-http.mp4": f"ffconcat version 1.0\nfile {address}\n",
        "dash.mp4": (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
            f'mediaPresentationDuration="PT9S"><BaseURL>{address}</BaseURL><Period>'
            '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1">'
            f"<BaseURL>{address}</BaseURL></Representation></AdaptationSet></Period></MPD>"
        ),
    }
    try:
        for name, text in lists.items():
            (tmp_path / name).write_text(text)
            with pytest.raises(DecodeError):
                client.predict(model, files={"file": tmp_path / name})
    finally:
        server.shutdown()
        server.server_close()
    assert asked == []


def listening(asked: list[str]) -> Any:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *args: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_too_large_an_upload_is_refused(
    client: Client, served: Served, model: str, tmp_path: Path
) -> None:
    url = f"/api/v1/models/{model}/predict"
    large = {"file": ("a.mp4", bytes(3 * MEGABYTE))}
    refused = served.client.post(url, files=large)
    assert (refused.status_code, "2097152 bytes" in refused.json()["detail"]) == (413, True)
    # Without a length beforehand: what is sent is counted.
    whole = httpx.Request("POST", "http://x", files=large)
    body, kind = whole.read(), whole.headers["content-type"]
    parts = (body[i : i + 65536] for i in range(0, len(body), 65536))
    cut = served.client.post(url, content=parts, headers={"Content-Type": kind})
    assert cut.status_code == 413
    assert cut.headers["content-type"] == "application/problem+json"
    # Media may be larger than settings, settings may not be as large as media.
    settings = {"sample": "x" * (MEGABYTE + 1)}
    assert served.client.post(url, json=settings).status_code == 413
    fits = served.client.post(url, files={"file": ("a.mp4", bytes(MEGABYTE + MEGABYTE // 2))})
    assert fits.status_code == 422
    assert served.client.post(url, json={"sampel": "x"}).status_code == 422
    assert list((served.queue.folder / "uploads").iterdir()) == []


def child_of(served: Served) -> int | None:
    """Return the process that predicts."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_text().split("\0")
        except OSError:
            continue
        if "scfae.service.predictor_child" in words and str(served.process.pid) in words:
            return int(path.parent.name)
    return None


def test_a_process_that_dies_costs_one_question(
    client: Client, served: Served, model: str, clip: Path
) -> None:
    client.predict(model, sample=clip.stem)
    before = child_of(served)
    assert before is not None
    os.kill(before, 9)  # while nobody asks: nobody notices
    assert client.predict(model, sample=clip.stem).present == ("video", "audio")
    now = child_of(served)
    assert now not in (None, before)
    assert now is not None
    os.kill(now, 19)  # stopped: the question waits in it until it is killed
    answers: list[httpx.Response] = []
    url = f"/api/v1/models/{model}/predict"

    def ask() -> None:
        answers.append(served.client.post(url, json={"sample": clip.stem}))

    asking = threading.Thread(target=ask)
    asking.start()
    time.sleep(1)
    os.kill(now, 9)
    asking.join(timeout=30)
    assert (answers[0].status_code, answers[0].json()["type"]) == (
        500,
        "urn:scfae:PredictionFailed",
    )
    assert "died (SIGKILL)" in answers[0].json()["detail"]
    assert client.predict(model, sample=clip.stem).present == ("video", "audio")


def test_a_checkpoint_that_has_changed_is_noticed(
    client: Client, served: Served, roots: Roots, root: Path, clip: Path
) -> None:
    job = trained_job(served.queue, roots, epochs=1, evaluated=False, **settings(root)).id
    client.promote(job, "changed")
    place = checkpoint(served.queue, job)
    shutil.copy(place.with_name("last.pt"), place)
    place.write_bytes(place.read_bytes() + b"\0")
    with pytest.raises(RunStateError, match="trained further since it was promoted"):
        client.predict("changed", sample=clip.stem)


def test_models_from_the_command_line(served: Served, job: str, model: str) -> None:
    def scfae(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "scfae.cli", *words]
        command += ["--url", f"http://127.0.0.1:{served.port}"]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    done = scfae("promote", job, "typed", "--note", "by hand")
    assert (done.returncode, done.stdout) == (0, "typed version 1\n"), done.stderr
    listed = scfae("models")
    assert listed.returncode == 0
    assert "typed" in listed.stdout
    assert job in scfae("models", "typed").stdout
    whole = json.loads(scfae("models", "typed", "--json").stdout)
    assert whole["versions"][0]["note"] == "by hand"
    wrong = scfae("models", "nothing")
    assert (wrong.returncode, "no model 'nothing'" in wrong.stderr) == (1, True)
