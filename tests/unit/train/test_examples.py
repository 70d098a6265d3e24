"""Worst errors and queries on a page: the right samples, real pictures, odd text, no media."""

import base64
import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scfae.cli.main import main
from scfae.extract import extract
from scfae.store import ColumnInfo, FeatureStore
from scfae.store.errors import ConfigError, RunStateError
from scfae.train import Examples, evaluate, write_report
from scfae.train.examples import views
from scfae.train.kept import SCORES_FILE, KeptScores, read_scores
from scfae.train.retrieved import retrieval_examples
from scfae.train.runs import RunFolder
from scfae.train.sample_media import KINDS
from scfae.train.shown_media import PAGE_BYTES, waveform
from scfae.train.tasks import Binary, MultiLabel, Regression, Retrieval, Scored, load_task
from scfae.train.worst import calibrated, losses, worst_cases

from .media_store import EVIL, media_store
from .small_runs import TASK_SETTINGS, train_small
from .test_report import Page

PAGE_LIMIT = 2_000_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store `features`, its media in `clips`, and runs `deepfake` and `retrieval`."""
    found = tmp_path_factory.mktemp("shown")
    store = media_store(found)
    for task in ("deepfake", "retrieval"):
        settings = {"task": task, "epochs": 2, **TASK_SETTINGS[task]}
        evaluate(train_small(store.path, found / task, **settings).path, bootstrap=0, probes=False)
    return found


@pytest.fixture(scope="module")
def worst(folder: Path) -> str:
    return write_report(folder / "deepfake").read_text()


def pictures(page: Page) -> list[Image.Image]:
    found: list[Image.Image] = []
    for image in page.all("img"):
        head, data = (image["src"] or "").split(",")
        assert head == "data:image/jpeg;base64"
        found.append(Image.open(io.BytesIO(base64.b64decode(data))))
        assert image["alt"]
        assert found[-1].size == (int(image["width"] or 0), int(image["height"] or 0))
    return found


def scored(targets: object, scores: object) -> Scored:
    truth = np.array(targets)
    return Scored(truth, np.array(scores), np.ones(len(truth), dtype=bool))


def test_the_loss_is_that_of_the_task() -> None:
    two = Binary("fake", (0, 1), (1, 1))
    found = losses(two, scored([0, 1], [[0.9, 0.1], [0.8, 0.2]]))
    assert found.tolist() == pytest.approx([-np.log(0.9), -np.log(0.2)])
    value = Regression("mood", "mse", False, 0.0, (-1.0, 1.0))
    assert losses(value, scored([1.0, -1.0], [[0.5], [2.0]])).tolist() == [0.5, 3.0]
    labels = MultiLabel("a,b", ("a", "b"), (0.5, 0.5))
    found = losses(labels, scored([[1.0, np.nan], [0.0, 1.0]], [[0.5, 0.1], [0.2, 0.8]]))
    assert found.tolist() == pytest.approx([-np.log(0.5), -np.log(0.8)])


def test_the_worst_come_first_and_say_what_was_taken_for_what() -> None:
    full = scored([0, 1, 1, 0], [[0.9, 0.1], [0.98, 0.02], [0.4, 0.6], [0.2, 0.8]])
    half = Scored(full.targets, full.scores, np.array([True, False, True, True]))
    kept = KeptScores(
        np.array(["a", "b", "c", "d"]),
        {("video",): half, ("audio",): full, ("video", "audio"): full},
    )
    cases = worst_cases(Binary("fake", (0, 1), (1, 1)), kept, 3)
    assert [(one["id"], one["said"], one["truth"], one["is_right"]) for one in cases] == [
        ("b", "0", "1", False),
        ("d", "1", "0", False),
        ("c", "1", "1", True),
    ]
    assert cases[0]["confidence"] == "probability 0.980; of the truth 0.020"
    assert (cases[0]["present"], cases[0]["absent"]) == (["audio"], ["video"])
    named = MultiLabel("x,y", ("x", "y"), (0.5, 0.5))
    (one,) = worst_cases(
        named, KeptScores(np.array(["a"]), {("v",): scored([[1.0, 0.0]], [[0.1, 0.7]])}), 5
    )
    assert (one["said"], one["truth"], one["is_right"]) == ("y", "x", False)
    assert one["confidence"] == "probabilities x 0.100, y 0.700"


def test_confidence_is_calibrated_and_the_loss_is_the_models_own() -> None:
    logits = np.array([2.0, -1.0, 0.5])
    own, cool = (np.exp(x) / np.exp(x).sum() for x in (logits, logits / 4.0))
    assert calibrated(own, 4.0).tolist() == pytest.approx(cool.tolist())
    sure = scored([0, 0], [[1e-30, 1.0], [1e-20, 1.0]])
    kept = KeptScores(np.array(["a", "b"]), {("video",): sure})
    cases = worst_cases(Binary("fake", (0, 1), (1, 1)), kept, 2, temperature=100.0)
    assert [one["id"] for one in cases] == ["a", "b"]
    assert cases[0]["loss"] == f"{-np.log(1e-30):.3f}"
    odds = 10**-0.3
    assert cases[0]["confidence"] == (
        f"probability {1 / (1 + odds):.3f}; of the truth {odds / (1 + odds):.3f}"
    )


def test_a_worst_error_has_the_pictures_of_its_clip_and_its_sound(worst: str, folder: Path) -> None:
    page = Page(worst)
    shown = pictures(page)
    assert len(shown) == 6 * (6 + 1)  # a strip of six and the still
    assert [one.size for one in shown] == [(128, 96)] * len(shown)
    captions = re.findall(r"<figcaption>([\d.]+) s</figcaption>", worst)
    assert captions[:6] == ["0.00", "0.20", "0.40", "0.50", "0.70", "0.90"]
    # The red bar of picture k reaches (k + 1) / 10 of the way.
    for picture, start in zip(shown[:6], captions, strict=False):
        red = np.asarray(picture)[48, :, 0] > 215
        assert abs(red.mean() - (float(start) + 0.1)) < 0.06
    waves = [svg for svg in page.all("svg") if svg.get("class") == "wave"]
    assert len(waves) == 6
    assert re.fullmatch(
        r"sound, 0\.00 to 1\.\d\d s, loudest 0\.\d\d of 1", waves[0]["aria-label"] or ""
    )
    kept, run = read_scores(folder / "deepfake"), RunFolder(folder / "deepfake")
    expected = worst_cases(load_task(run.read("task.json")), kept, 6)
    ids = re.findall(r"<h3>(sample-\d+)", worst)
    assert ids == [one["id"] for one in expected]
    for one in expected:
        assert f"<strong>{one['said']}</strong>" in worst
    assert len(worst) < PAGE_LIMIT


def test_odd_text_is_text(worst: str) -> None:
    assert "<script" not in worst
    assert f"{EVIL} said" in Page(worst).text


def test_odd_ids_are_text_and_nothing_is_fetched(worst: str, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(folder / "deepfake", copy, ignore=shutil.ignore_patterns("*.pt"))
    arrays = dict(np.load(copy / SCORES_FILE))
    odd = "<img src=x onerror=alert(1)>"
    arrays["ids"] = np.array([f'{odd}"{i}' for i in range(len(arrays["ids"]))])
    np.savez(copy / SCORES_FILE, **arrays)
    html = write_report(copy).read_text()
    assert not Page(html).all("img")
    assert odd in Page(html).text
    assert not re.search(r"https?://", worst)
    assert all((image["src"] or "").startswith("data:image/") for image in Page(worst).all("img"))


def test_queries_from_the_best_to_the_worst_with_what_they_found(folder: Path) -> None:
    html = write_report(folder / "retrieval", examples=Examples(6)).read_text()
    page = Page(html)
    # Two directions of three queries; video queries and hits have a frame, sounds a wave.
    assert len(pictures(page)) == 3 + 3 * 5
    assert len([svg for svg in page.all("svg") if svg.get("class") == "wave"]) == 3 + 3 * 5
    assert html.count("✓ right") + html.count("✗ wrong") == 2 * 3 * 5
    assert "ties by chance (seed 0)" in page.text
    assert len(html) < PAGE_LIMIT


def test_a_query_finds_what_its_embedding_says() -> None:
    task = Retrieval.from_dict(
        {
            "label": "word",
            "modalities": ["image", "video"],
            "options": {"map_at": [2], "recall_at": [1]},
        }
    )
    asking = scored([[0, 0], [1, 1], [0, 2]], [[1.0, 0.0], [0.0, 1.0], [1.0, -0.1]])
    held = scored([[0, 0], [1, 1], [0, 2]], [[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
    names = np.array(["no", "yes", "no"])
    kept = KeptScores(
        np.array(["a", "b", "c"]), {("image",): asking, ("video",): held}, labels=names
    )
    directions = retrieval_examples(task, kept, 6)
    assert [one["name"] for one in directions] == ["image>video", "video>image"]
    by_id = {one["id"]: one for one in directions[0]["queries"]}
    # a finds b (another word) before c; c finds a (its word) first; b finds c and a, both wrong.
    assert [(hit["id"], hit["is_right"]) for hit in by_id["a"]["hits"]] == [
        ("b", False),
        ("c", True),
    ]
    assert by_id["c"]["hits"][0] == {"id": "a", "label": "no", "is_right": True, "score": "0.995"}
    assert [one["id"] for one in directions[0]["queries"]] == ["c", "a", "b"]
    assert [one["quality"] for one in directions[0]["queries"]] == [
        "mAP@2 1.000",
        "mAP@2 0.500",
        "mAP@2 0.000",
    ]
    assert retrieval_examples(task, kept, 0) == []


def test_media_that_moved_are_said_and_found_again(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "moved"
    (folder / "clips").rename(moved)
    try:
        html = write_report(folder / "deepfake").read_text()
        assert "<img" not in html
        assert "scfae report --media-root names its folder" in html
        assert "file not found" in html
        assert re.findall(r"<h3>(sample-\d+)", html)
        assert main(["report", str(folder / "deepfake"), "--media-root", str(moved)]) == 0
        assert "<img" in (folder / "deepfake" / "report.html").read_text()
    finally:
        moved.rename(folder / "clips")
    assert main(["report", str(folder / "deepfake"), "--media-root", str(moved)]) == 2
    assert "there is no such folder" in capsys.readouterr().err
    assert main(["report", str(folder / "deepfake"), "--examples", "-1"]) == 2
    assert main(["report"]) == 2
    assert "name at least one run folder" in capsys.readouterr().err
    both = [str(folder / "deepfake")] * 2
    assert main(["report", *both, "--no-media"]) == 2
    assert "are of the report of one run" in capsys.readouterr().err
    out = tmp_path / "bare.html"
    assert main(["report", str(folder / "deepfake"), "--no-media", "--out", str(out)]) == 0
    assert "<img" not in out.read_text()
    assert "Shown without media, as asked." in out.read_text()
    assert main(["report", str(folder / "deepfake"), "--examples", "0", "--out", str(out)]) == 0
    assert "Worst errors" not in out.read_text()


def test_a_file_that_cannot_be_decoded_costs_itself(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "clips"
    shutil.copytree(folder / "clips", broken)
    (broken / "1.mp4").write_bytes(b"nothing" * 99)
    run = folder / "deepfake"
    out = tmp_path / "page.html"
    html = write_report(run, examples=Examples(12, media_root=broken), out=out).read_text()
    assert "not readable as media" in html
    assert "<img" in html


def test_a_page_holds_so_many_bytes_of_pictures(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert PAGE_BYTES <= PAGE_LIMIT * 0.7
    monkeypatch.setattr("scfae.train.shown_media._Budget.__init__.__defaults__", (5000, 0))
    html = write_report(folder / "deepfake", out=tmp_path / "page.html").read_text()
    uris = re.findall(r'src="([^"]+)"', html)
    assert 0 < sum(map(len, uris)) <= 5000
    assert f"{42 - len(uris)} pictures were left out" in html


def test_without_its_store_a_run_has_a_report(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(folder / "deepfake", copy, ignore=shutil.ignore_patterns("*.pt"))
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace(str(folder / "features"), "/no/such/store"))
    html = write_report(copy).read_text()
    assert "Shown without media: the store cannot be read" in html
    assert len(re.findall(r"<h3>sample-\d+", html)) == 6


def test_scores_of_a_newer_version_are_refused(folder: Path, tmp_path: Path) -> None:
    arrays = dict(np.load(folder / "retrieval" / SCORES_FILE))
    assert arrays["labels"].dtype.kind == "U"
    (tmp_path / SCORES_FILE).unlink(missing_ok=True)
    np.savez(tmp_path / SCORES_FILE, **(arrays | {"format": np.array(99)}))
    with pytest.raises(RunStateError, match="written by a newer scfae"):
        read_scores(tmp_path)
    old = {name: array for name, array in arrays.items() if name not in ("format", "labels")}
    np.savez(tmp_path / SCORES_FILE, **old)
    assert read_scores(tmp_path).labels is None


def test_the_shape_of_sound_fills_its_height() -> None:
    svg = str(waveform(np.array([[-0.5, 0.5], [-0.1, 0.25]], dtype=np.float32), "a <b>"))
    assert 'points="0,1 1,10 1,24 0,39"' in svg
    assert 'aria-label="a &lt;b&gt;"' in svg
    silence = str(waveform(np.zeros((3, 2), dtype=np.float32), ""))
    assert 'points="0,20 1,20 2,20 2,20 1,20 0,20"' in silence


def test_a_file_that_changed_since_extraction_is_named(tmp_path: Path) -> None:
    clips = tmp_path / "clips"
    clips.mkdir()
    lines = ["id,image,split,bright"]
    for i in range(24):
        bright = i % 2
        Image.fromarray(np.full((48, 64, 3), 60 + 120 * bright + i, np.uint8)).save(
            clips / f"{i}.png"
        )
        split = ("train", "train", "val", "test")[i // 2 % 4]
        lines.append(f"s{i},{i}.png,{split},{bright}")
    (clips / "manifest.csv").write_text("\n".join(lines) + "\n")
    store = tmp_path / "features"
    extract(clips / "manifest.csv", store, ["efficientnet-lite0@random:0:modality=image"])
    (name,) = FeatureStore.open(store).column_names()
    run = train_small(
        store, tmp_path / "run", columns={"image": name}, label="bright", epochs=1, batch_size=4
    )
    evaluate(run.path, bootstrap=0, probes=False)
    assert "not the file" not in write_report(run.path).read_text()
    for file in clips.glob("*.png"):
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(file)
    html = write_report(run.path).read_text()
    assert html.count("image: not the file that the features were made of") == 6


def test_a_folder_of_media_that_is_none_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="--media-root"):
        write_report(folder / "deepfake", examples=Examples(media_root=Path("/no/such/folder")))


@pytest.mark.parametrize(
    ("branch", "modality", "encoder", "options", "shown"),
    [
        ("image", "image", "efficientnet-lite0", {"modality": "image"}, "image"),
        ("image", "image", "efficientnet-lite0", {}, "sight"),
        ("video:motion", "video", "c3d", {}, "sight"),
        ("voice", "audio", "ge2e", {}, "sound"),
        ("text", "text", "hf-text:x", {}, "text"),
        ("image", "image", "derived:efficientnet-lite0", {}, "still"),
        ("a", "audio", "imported:npz", {}, "sound"),
    ],
)
def test_what_is_shown_is_what_the_encoder_has_read(
    branch: str, modality: str, encoder: str, options: dict[str, str], shown: str
) -> None:
    info = ColumnInfo.create(
        "x", modality, encoder=encoder, dim=1, dtype="float32", options=options
    )
    assert views(branch, info) == (shown,)
    odd = ColumnInfo.create("x", "depth", encoder="imported:npz", dim=1, dtype="float32")
    assert views("depth", odd) == views("depth", odd.model_copy(update={"encoder": "x"})) == KINDS


def test_of_many_queries_some_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Retrieval.from_dict(
        {"label": "x", "modalities": ["a", "b"], "options": {"map_at": [2], "recall_at": [1]}}
    )
    random = np.random.default_rng(0)
    ids = np.stack([np.arange(50) % 3, np.arange(50)], axis=1)
    one = scored(ids, random.normal(size=(50, 4)))
    kept = KeptScores(np.array([f"s{i}" for i in range(50)]), {("a",): one, ("b",): one})
    monkeypatch.setattr("scfae.train.retrieved._MOST_CELLS", 50 * 10)
    directions = retrieval_examples(task, kept, 40)
    assert [len(one["queries"]) for one in directions] == [20, 20]
    monkeypatch.setattr("scfae.train.retrieved._MOST_CELLS", 50 * 30)
    assert [len(one["queries"]) for one in retrieval_examples(task, kept, 80)] == [40, 40]
    assert retrieval_examples(task, kept, 8) == retrieval_examples(task, kept, 8)
