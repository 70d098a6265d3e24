"""The report is one file that fetches nothing, says what is noise, and hides no interval."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from scfae.store import FeatureStore, SampleRow
from scfae.store.errors import RunNotFound, RunStateError
from scfae.store.testing import make_store
from scfae.train.evaluation import EVALUATION_FILE, evaluate
from scfae.train.figures import DASH
from scfae.train.loop import train
from scfae.train.metrics import METRICS
from scfae.train.report import REPORT_FILE, write_comparison, write_report
from scfae.train.runs import RunFolder, write_json

from .small_runs import make_config, train_small

VOID = {"meta", "br", "line", "circle", "polyline", "i", "img", "link", "hr", "input"}
EVIL = "<script>alert(1)</script>"


class Page(HTMLParser):
    """A page's elements and text; every element must be closed in its place."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID - {"i"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def html(finished: RunFolder) -> str:
    return write_report(finished.path).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


@pytest.fixture(scope="module")
def other(store: FeatureStore, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of another method, evaluated."""
    run = train_small(
        store.path,
        tmp_path_factory.mktemp("runs") / "other",
        fusion="concat",
        options={"hidden": 16},
    )
    evaluate(run.path, bootstrap=50)
    return run


def test_it_is_one_file_that_fetches_nothing(html: str, page: Page) -> None:
    assert html.startswith("<!doctype html>")
    assert not {"script", "link", "iframe", "img", "object", "embed", "base"} & {
        name for name, _ in page.elements
    }
    for name, attributes in page.elements:
        for key in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
            assert key not in attributes, name
        assert not any(key.startswith("on") for key in attributes), name
    assert "@import" not in html
    assert "url(" not in html
    assert not re.search(r"https?://", html)
    policy = [m.get("content") or "" for m in page.all("meta") if "http-equiv" in m]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_plots_are_inside_and_say_what_they_show(page: Page) -> None:
    plots = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(plots) >= 3 + 5
    assert all(svg.get("aria-label") for svg in plots)


def test_every_condition_stands_with_its_interval(
    html: str, page: Page, finished: RunFolder
) -> None:
    evaluation = finished.read(EVALUATION_FILE)
    for name, condition in evaluation["conditions"].items():
        row = re.search(rf'<tr><th scope="row">{re.escape(name)}</th>(.*?)</tr>', html, re.DOTALL)
        assert row is not None
        for metric in METRICS:
            low, high = condition[f"{metric}_ci95"]
            interval = f'<span class="ci">{low:.3f} {DASH} {high:.3f}</span>'
            assert f"<td>{condition[metric]:.3f}{interval}</td>" in row[1]
        assert f"<td>{condition['n']}</td><td>{condition['excluded']}</td>" in row[1]
    majority = evaluation["majority"]
    assert f"always “{majority['class']}”, the majority {majority['accuracy']:.3f}" in page.text
    assert f"always answering the majority class: {majority['accuracy']:.1%}" in page.text


def test_noise_is_called_noise(page: Page) -> None:
    for modality in ("video", "audio"):
        assert (
            f"{modality} ({modality}) comes from random weights: that input is noise." in page.text
        )
    assert page.text.count("Random weights: this column is noise.") == 2


def test_axes_have_names(html: str) -> None:
    charts = re.findall(r"<figure>.*?</figure>", html, re.DOTALL)
    assert len(charts) == 5
    assert all(">epoch</text>" in chart for chart in charts)
    assert all("<figcaption>" in chart for chart in charts)


def test_every_setting_column_and_version_is_there(page: Page, finished: RunFolder) -> None:
    for name in finished.config.flat():
        assert name in page.text
    for info in finished.columns.values():
        assert info.fingerprint in page.text
    assert finished.read("environment.json")["versions"]["torch"] in page.text


def test_it_is_written_again_from_the_folder_alone(
    html: str, finished: RunFolder, tmp_path: Path
) -> None:
    assert write_report(finished.path).read_text(encoding="utf-8") == html
    copy = tmp_path / finished.path.name
    shutil.copytree(finished.path, copy, ignore=shutil.ignore_patterns("*.pt", REPORT_FILE))
    again = write_report(copy).read_text(encoding="utf-8")
    assert again.replace(str(copy), str(finished.path)) == html


def test_names_are_escaped(tmp_path: Path) -> None:
    store = make_store(tmp_path / "store", num_samples=80, labels={"digit": 2})
    words = {0: EVIL, 1: 'a "quoted" & <b>bold</b> one'}
    view = store.view(None, ["digit"], video="video")
    store.update_labels(
        [
            SampleRow(
                id=str(name),
                split=store.samples.split[index],
                labels={EVIL: words[int(str(store.samples.label("digit")[index]))]},
            )
            for name, index in zip(view.ids, view.indices, strict=True)
        ]
    )
    run = train_small(store.path, tmp_path / "<i>run</i>", label=EVIL, epochs=1)
    assert evaluate(run.path, bootstrap=20).classes == tuple(sorted(words.values()))
    html = write_report(run.path, comparisons=[run.path]).read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<b>" not in html
    assert "<i>run" not in html
    text = Page(html).text
    assert EVIL in text
    assert words[1] in text


def test_a_run_without_evaluation_says_so(store: FeatureStore, tmp_path: Path) -> None:
    run = train_small(store.path, tmp_path / "run", epochs=1)
    page = Page(write_report(run.path).read_text(encoding="utf-8"))
    assert "Not evaluated yet; the run is finished. scfae evaluate fills this in." in page.text
    assert not any("Confusion" in (s.get("aria-label") or "") for s in page.all("div"))


def test_a_run_without_an_epoch_has_a_report(store: FeatureStore, tmp_path: Path) -> None:
    def stop(done: int, total: int, text: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(make_config(store.path, tmp_path / "run"), progress=stop)
    page = Page(write_report(tmp_path / "run").read_text(encoding="utf-8"))
    assert "the run is failed" in page.text
    assert all(figure["class"] == "table" for figure in page.all("figure"))  # no charts


def test_runs_side_by_side(finished: RunFolder, other: RunFolder, tmp_path: Path) -> None:
    path = write_comparison([finished.path, other.path], tmp_path / "both.html")
    page = Page(path.read_text(encoding="utf-8"))
    assert "Side by side" in page.text
    assert "finished reads video, audio through random weights: noise, a baseline." in page.text
    label = next(
        told for svg in page.all("svg") if "other:" in (told := svg.get("aria-label") or "")
    )
    mine, theirs = (run.read(EVALUATION_FILE)["conditions"]["video"] for run in (finished, other))
    assert f"finished: {mine['accuracy']:.3f}" in label
    assert f"other: {theirs['accuracy']:.3f}" in label


def test_a_comparison_has_differences_first_and_all_runs_in_one_picture(
    finished: RunFolder, other: RunFolder, tmp_path: Path
) -> None:
    page = write_comparison([finished.path, other.path], tmp_path / "both.html").read_text()
    text = Page(page).text
    places = [
        text.index(words)
        for words in (
            "What differs in their configuration",
            "of each run under every condition",
            "with its 95 % interval",
            "loss in validation, weighted sum",
            "Where the features come from",
            "Configuration",
        )
    ]
    assert places == sorted(places)
    # Both runs read the same two columns, which are told once.
    assert page.count("read by") == 2
    assert "read by finished, other" in text
    for info in finished.columns.values():
        assert page.count(f"<td>{info.fingerprint}</td>") == 1
    for run in (finished, other):
        condition = run.read(EVALUATION_FILE)["conditions"]["audio"]
        begin = page.index('class="confusion matrix"')
        matrix = page[begin : page.index("</table>", begin)]
        assert f"{condition['accuracy']:.3f}" in matrix
    overlays = [
        label
        for svg in Page(page).all("svg")
        if "loss in" in (label := svg.get("aria-label") or "")
    ]
    assert len(overlays) == 2
    assert all("finished: " in label and "other: " in label for label in overlays)
    assert "ROC: hits" not in text  # three classes are not one question
    settings = page[page.index("<h2>Configuration</h2>") :]
    assert "fusion" not in re.findall(r'<th scope="row">(\w+)</th>', settings)


def test_runs_of_one_question_have_their_curves_over_each_other(
    store: FeatureStore, tmp_path: Path
) -> None:
    runs = []
    for seed in (1, 2):
        settings = {"task": "binary", "label": "fake", "epochs": 1, "seed": seed}
        runs.append(train_small(store.path, tmp_path / f"seed-{seed}", **settings))
        evaluate(runs[-1].path, bootstrap=0, probes=False)
    page = Page(write_comparison([run.path for run in runs], tmp_path / "both.html").read_text())
    (roc,) = [x for svg in page.all("svg") if (x := svg.get("aria-label") or "").startswith("ROC")]
    for run in runs:
        auc = run.read(EVALUATION_FILE)["conditions"]["video+audio"]["roc_auc"]
        assert f"{run.path.name}: {auc:.3f}" in roc


def test_what_cannot_be_reported_is_said(
    store: FeatureStore, finished: RunFolder, tmp_path: Path
) -> None:
    with pytest.raises(RunNotFound, match="no run"):
        write_report(tmp_path / "nothing")
    with pytest.raises(RunStateError, match="its folder does not exist"):
        write_comparison([finished.path], tmp_path / "deep" / "page.html")
    bare = train_small(store.path, tmp_path / "bare", epochs=1)
    with pytest.raises(RunStateError, match="bare is not evaluated yet: scfae evaluate"):
        write_report(finished.path, comparisons=[bare.path])


@pytest.mark.parametrize("name", ["evaluation.json", "task.json", "splits.json"])
def test_a_damaged_folder_names_the_file(finished: RunFolder, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy, ignore=shutil.ignore_patterns("*.pt"))
    (copy / name).write_text("{")
    with pytest.raises(RunStateError, match=re.escape(name)):
        write_report(copy)


def test_a_metric_that_is_undefined_is_a_dash(finished: RunFolder, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished.path, copy, ignore=shutil.ignore_patterns("*.pt"))
    evaluation: dict[str, Any] = finished.read(EVALUATION_FILE)
    evaluation["conditions"]["audio"]["roc_auc"] = None
    evaluation["conditions"]["audio"]["roc_auc_ci95"] = None
    write_json(copy / EVALUATION_FILE, evaluation)
    html = write_report(copy).read_text(encoding="utf-8")
    row = re.search(r'<tr><th scope="row">audio</th>(.*?)</tr>', html, re.DOTALL)
    assert row is not None
    assert f"<td>{DASH}</td>" in row[1]
