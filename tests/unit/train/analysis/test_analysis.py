"""`scfae analyse` of runs: what is kept, what is left out and why, and the same again."""

import contextlib
import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.cli.analyse import run as command
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError, RunStateError
from scfae.train.analysis.analysis import DOCUMENT, FOLDER, Analysis, analyse
from scfae.train.analysis.drawing import mean_curve
from scfae.train.analysis.parts import parts_of
from scfae.train.analysis.reading import read_projection
from scfae.train.checkpoint import load_checkpoint, save_checkpoint
from scfae.train.loading import load_run
from scfae.train.report import write_report
from scfae.train.runs import RunFolder
from scfae.train.splits import make_splits

from ..small_runs import train_small

SHOWN = 20
FLAGS = ["--batches", "2", "--bootstrap", "20", "--shown", str(SHOWN)]


@pytest.fixture(scope="module")
def run(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("analysis")
    return train_small(store.path, folder / "run", label="fake", gradients_every=3)


@pytest.fixture(scope="module")
def document(run: RunFolder) -> dict[str, Any]:
    """What the command says of the run, whose folder and report then have it."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert command([str(run.path), *FLAGS, "--json"]) == 0
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def rows_of(run: RunFolder, name: str) -> list[dict[str, str]]:
    with (run.path / FOLDER / name).open() as file:
        return list(csv.DictReader(file))


def test_the_command_keeps_everything(run: RunFolder, document: dict[str, Any]) -> None:
    assert document == json.loads((run.path / FOLDER / DOCUMENT).read_text())
    assert document["left_out"] == {}
    assert list(document["gradients"]) == list(document["training"]) == ["video", "audio", "all"]
    assert document["training"]["all"]["num_batches"] == 4  # of twelve steps
    assert [row["step"] for row in rows_of(run, "gradients.csv")[::3]] == ["0", "3", "6", "9"]
    parts = ["video, specific", "audio, specific", "video, shared", "audio, shared"]
    assert list(document["probes"]) == parts
    assert len(rows_of(run, "sharing.csv")) == len(document["sharing"]) == 4
    assert all(one["club"]["seeds"] == 3 for one in document["sharing"])
    assert set(document["branches"]) == {"shared", "specific"}
    assert document["contributions"]["what"] == "probability of the true class"

    points = rows_of(run, "projection.csv")
    assert len({row["id"] for row in points}) <= SHOWN
    assert {row["class"] for row in points} == {"0", "1"}
    flat = np.array([[float(row[key]) for key in ("tsne_x", "tsne_y")] for row in points])
    assert np.isfinite(flat).all()
    for name in ("gradients", "parts", "contributions"):
        assert (run.path / FOLDER / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert (run.path / FOLDER / f"{name}.pdf").read_bytes()[:5] == b"%PDF-"


def test_the_report_shows_it_and_needs_no_script(run: RunFolder, document: dict[str, Any]) -> None:
    assert document["projection"] is not None
    page = (run.path / "report.html").read_text()
    for words in ("Inside the model", "Shared and specific parts", "What each modality adds"):
        assert words in page
    assert "<script" not in page
    kept = read_projection(run.path)
    assert kept is not None
    points = sum(len(one.places) for one in kept.projection.points)
    assert page.count("</title></path>") == 2 * points  # by t-SNE and by components
    first = kept.projection.points[0]
    assert f"<title>{kept.ids[first.places[0]]}, " in page
    style = page.partition("</style>")[0]
    for number in range(4):
        assert f'class="k{number}"' in page
        assert f".k{number}:not(:checked)) .g{number}" in style


def test_a_damaged_analysis_is_told(
    run: RunFolder, document: dict[str, Any], tmp_path: Path
) -> None:
    assert document["splits"]["parts"] == "test"
    copy = shutil.copytree(run.path, tmp_path / "run")
    (copy / FOLDER / DOCUMENT).write_text("{")
    with pytest.raises(RunStateError, match=r"analysis\.json is damaged .* scfae analyse"):
        write_report(copy)


def test_one_aspect_alone_for_a_person(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run.path, tmp_path / "run")
    assert command([str(copy), *FLAGS, "--only", "contributions", "--split", "val"]) == 0
    out = capsys.readouterr().out
    assert "video adds" in out
    assert "audio adds" in out
    assert "CKA" not in out
    with pytest.raises(ConfigError, match="no split 'nowhere'"):
        analyse(run.path, split="nowhere")
    with pytest.raises(ConfigError, match="shown: must be at least 1, not 0"):
        analyse(run.path, most_shown=0)


def test_what_was_looked_at_before_stays(
    run: RunFolder, document: dict[str, Any], tmp_path: Path
) -> None:
    copy = shutil.copytree(run.path, tmp_path / "run")
    assert command([str(copy), *FLAGS, "--only", "contributions", "--split", "val"]) == 0
    kept = json.loads((copy / FOLDER / DOCUMENT).read_text())
    assert kept["splits"] == {
        "gradients": "train",
        "parts": "test",
        "branches": "test",
        "contributions": "val",
    }
    for key in ("gradients", "sharing", "probes", "projection", "branches"):
        assert kept[key] == document[key] != []
    assert kept["contributions"] != document["contributions"]
    page = (copy / "report.html").read_text()
    assert "Of the test split, with all" in page
    assert "Of the val split. Shapley values" in page


def test_what_is_of_another_checkpoint_goes_and_is_told(
    run: RunFolder,
    document: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    copy = RunFolder(shutil.copytree(run.path, tmp_path / "run"))
    best = load_checkpoint(copy.best)
    for tensor in best["model"].values():
        tensor.mul_(1.5)
    save_checkpoint(copy.best, best)
    words = f"This is of the model of epoch {document['of']['epoch']}, and another was selected"
    assert words in write_report(copy.path).read_text()
    assert command([str(copy.path), *FLAGS, "--only", "contributions"]) == 0
    assert "gradients, parts, branches of an earlier call removed" in capsys.readouterr().err
    kept = json.loads((copy.path / FOLDER / DOCUMENT).read_text())
    assert kept["splits"] == {"contributions": "test"}
    assert kept["probes"] == kept["branches"] == kept["gradients"] == {}
    assert not (copy.path / FOLDER / "projection.csv").exists()
    assert not (copy.path / FOLDER / "parts.png").exists()
    assert words not in (copy.path / "report.html").read_text()


def test_again_it_is_the_same(run: RunFolder) -> None:
    def once() -> Analysis:
        return analyse(run.path, aspects=["parts"], most_shown=SHOWN, club_seeds=1)

    first, second = once(), once()
    assert first.as_dict() == second.as_dict()
    assert first.projection is not None
    assert second.projection is not None
    for mine, theirs in zip(first.projection.points, second.projection.points, strict=True):
        np.testing.assert_array_equal(mine.tsne, theirs.tsne)


def test_parts_are_the_models_own_of_the_samples_that_have_the_modality(run: RunFolder) -> None:
    loaded = load_run(run.path)
    view = make_splits(FeatureStore.open(loaded.config.data.store), loaded.config.data).test
    for part in parts_of(loaded, view):
        column = view.modalities.index(part.modality)
        np.testing.assert_array_equal(part.places, np.flatnonzero(view.available[:, column]))
        assert len(part.vectors) == len(part.targets) == len(part.places)
        assert np.abs(part.vectors).sum(axis=1).min() > 0


def test_a_method_without_parts_says_so(
    store: FeatureStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = train_small(store.path, tmp_path / "run", fusion="concat", epochs=1)
    with pytest.raises(RunStateError, match="concat, which does not part what is shared"):
        analyse(plain.path, aspects=["parts"])
    assert command([str(plain.path), *FLAGS]) == 0
    said = capsys.readouterr().err
    assert "parts left out: " in said
    assert "branches left out: " in said
    document = json.loads((plain.path / FOLDER / DOCUMENT).read_text())
    assert set(document["left_out"]) == {"parts", "branches"}
    assert document["gradients"]["all"]["cosine"] is None
    assert document["training"] == {}
    assert not (plain.path / FOLDER / "parts.png").exists()


def test_the_mean_of_curves_is_geometric_at_common_steps() -> None:
    steps, means = mean_curve([([0, 5, 10], [1.0, 4.0, 2.0]), ([0, 5], [4.0, 1.0])])
    assert steps == [0, 5]
    assert means == pytest.approx([2.0, 2.0])
