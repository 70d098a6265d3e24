"""Table 6 and its variant with adapters on miniatures: what is run, probed and subtracted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from scfae.store import FeatureStore
from scfae.train.checkpoint import load_checkpoint, save_checkpoint
from scfae.train.encoder_probes import DEGRADATION_FILE, PROBES_FILE
from scfae.train.reproduce.data import Part, official_part
from scfae.train.reproduce.exports import lines_of
from scfae.train.reproduce.page import write_reproduction
from scfae.train.reproduce.results import ResultRow
from scfae.train.reproduce.running import Reproduction, reproduce
from scfae.train.runs import RunFolder

from ..window_store import ENCODERS, window_store
from .small_data import QUICK, paper_store, parts_of

SETTINGS: dict[str, Any] = QUICK | {"epochs": 1}
CNNS = "R(2+1)D-18 + ResNetSE-34"


@pytest.fixture(scope="module")
def part(tmp_path_factory: pytest.TempPathFactory) -> Part:
    store = window_store(tmp_path_factory.mktemp("windows") / "store")
    return replace(official_part("fakeavceleb", str(store.path)), reduced=ENCODERS)


def go(part: Part, out: Path, name: str, *methods: str, **more: Any) -> Reproduction:
    asked: dict[str, Any] = {"num_seeds": 1, "settings": SETTINGS, "bootstrap": 20}
    return reproduce([name], {"fakeavceleb": part}, out, methods=methods, **asked | more)


def measured(found: Reproduction) -> dict[str, ResultRow]:
    rows = [row for row in found.results[0].rows if row.state == "measured"]
    return {row.row.method or "": row for row in rows}


def figure(row: ResultRow, head: str) -> float:
    (one,) = row.figures[head]
    assert one.seeds.mean is not None
    assert one.interval is not None
    assert one.interval[0] <= one.seeds.mean <= one.interval[1]
    return one.seeds.mean


def test_encoders_are_trained_alone_and_together_and_compared(part: Part, tmp_path: Path) -> None:
    found = go(part, tmp_path / "out", "table6", "scfae")
    assert not found.failed
    rows = measured(found)
    assert list(rows) == ["unimodal", "scfae"]  # row 0 comes with any other
    alone, joint = rows["unimodal"], rows["scfae"]
    assert joint.row.section == CNNS
    assert set(alone.runs) == {"a", "v"}
    for letter, modality in (("a", "audio"), ("v", "video")):
        (run,) = alone.runs[letter]
        config = RunFolder(run).config
        assert list(config.data.columns) == [modality] == list(config.model.encoders)
        assert config.data.label == f"fake_{modality}"
        probe = RunFolder(run).read(PROBES_FILE)["modalities"][modality]
        assert figure(alone, f"AUC ({letter.upper()})") == probe["roc_auc"]
        (together,) = joint.runs["full"]
        own = RunFolder(together).read(PROBES_FILE)["modalities"][modality]
        delta = figure(joint, f"AUC ({letter.upper()})")
        assert delta == pytest.approx(own["roc_auc"] - probe["roc_auc"])
        one, other = (RunFolder(path).config.optim for path in (run, together))
        assert one == other
    assert (joint.runs["full"][0] / DEGRADATION_FILE).is_file()
    config = RunFolder(joint.runs["full"][0]).config
    assert config.loop.masking == "none"
    assert config.loop.max_train_rows == 1
    notes = {row.note for row in found.results[0].rows if row.row.section != CNNS}
    assert any("has no column of input:videomaev2-s" in note for note in notes)
    write_reproduction(found)
    (verdict,) = found.verdicts["table6"]  # beside the encoders trained alone
    assert verdict.row.method == "unimodal"
    (change,) = joint.figures["AUC (V)"]
    assert verdict.difference == pytest.approx(change.seeds.mean)
    low, high = verdict.interval
    assert low <= verdict.difference <= high
    said = (tmp_path / "out" / "table6.md").read_text()
    assert "By AUC (V), what a probe tells from encoders that SCFAE has trained is " in said
    lines = lines_of(found.results[0])
    assert "4. SCFAE (Ours)" in lines[-3][0]
    assert lines[-3][2][0] == "-0.44"
    again: list[str] = []
    changes = joint.runs["full"][0] / DEGRADATION_FILE
    stamp = changes.stat().st_mtime_ns
    go(part, tmp_path / "out", "table6", "scfae", tell=lambda cell, _: again.append(cell.name))
    assert again == []
    assert changes.stat().st_mtime_ns == stamp

    # Another checkpoint of an encoder trained alone: it is probed and compared anew.
    (run,) = alone.runs["v"]
    best = load_checkpoint(RunFolder(run).best)
    for name, tensor in best["model"].items():
        if tensor.is_floating_point() and "running" not in name:
            tensor.normal_(generator=torch.Generator().manual_seed(0))
    save_checkpoint(RunFolder(run).best, best)
    later = measured(go(part, tmp_path / "out", "table6", "scfae"))
    (together,) = joint.runs["full"]
    own = RunFolder(together).read(PROBES_FILE)["modalities"]["video"]
    probe = RunFolder(run).read(PROBES_FILE)["modalities"]["video"]
    assert probe["roc_auc"] != figure(alone, "AUC (V)")
    delta = figure(later["scfae"], "AUC (V)")
    assert delta == pytest.approx(own["roc_auc"] - probe["roc_auc"])


@pytest.mark.slow
def test_settings_of_an_encoder_win_where_it_is_trained(part: Part, tmp_path: Path) -> None:
    settings = SETTINGS | {"encoders.video.train": "frozen"}
    found = go(part, tmp_path / "out", "table6", "scfae", settings=settings, bootstrap=0)
    rows = measured(found)
    config = RunFolder(rows["scfae"].runs["full"][0]).config
    assert config.model.encoders["video"].train == "frozen"
    assert config.model.encoders["audio"].train == "full"
    # A frozen encoder cannot be damaged.
    (one,) = rows["scfae"].figures["AUC (V)"]
    assert one.seeds.mean == 0.0


def test_adapters_on_stored_features_have_a_table_of_their_own(tmp_path: Path) -> None:
    store = paper_store(tmp_path / "store")
    found = go(parts_of(store)["fakeavceleb"], tmp_path / "out", "adapters", "scfae", "concat")
    rows = measured(found)
    assert set(rows) == {"unimodal", "scfae"}
    run = RunFolder(rows["scfae"].runs["full"][0])
    assert run.config.model.adapters
    assert not run.config.model.encoders
    figure(rows["scfae"], "AUC (A)")
    write_reproduction(found)
    text = (tmp_path / "out" / "adapters.md").read_text()
    assert "Adapter degradation" in text
    assert "printed |" not in text
    assert "Not the paper's Table 6" in text


def test_a_store_of_windows_and_features_has_one_column_of_features(tmp_path: Path) -> None:
    store = window_store(tmp_path / "store")
    part = official_part("fakeavceleb", str(store.path))
    assert part.columns == {"audio": "windows-of-audio", "video": "windows-of-video"}
    assert FeatureStore.open(part.store)
