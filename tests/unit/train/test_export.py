"""A run's model as one file: it answers as the run does, says what it is, and runs nothing."""

import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scfae.cli.main import main
from scfae.store import FeatureStore, FeatureStream
from scfae.store.errors import CheckpointError, ConfigError, ExportError
from scfae.train.export import ExportedModel, export_run, load_export
from scfae.train.loading import load_run
from scfae.train.runs import RunFolder

from .small_runs import train_small


@pytest.fixture(scope="module")
def exported(finished: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.pt2"
    export_run(finished.path, path)
    return path


def batches(run: RunFolder) -> FeatureStream:
    loaded = load_run(run.path)
    names: dict[str, Any] = dict(loaded.config.data.columns)
    view = FeatureStore.open(loaded.config.data.store).view("test", **names)
    return FeatureStream(view, batch_size=17, shuffle=False)


def test_it_answers_as_the_run_does_for_every_test_sample(
    finished: RunFolder, exported: Path
) -> None:
    model, metadata = load_export(exported)
    loaded = load_run(finished.path)
    temperature = metadata["temperature"] or 1.0  # an evaluated run may have one
    count = 0
    for batch in batches(finished):
        out = model(batch.features, batch.present, batch.lengths)
        with torch.no_grad():
            own = loaded.model(batch.features, batch.present, batch.lengths)
        own = replace(own, logits=own.logits / temperature)
        torch.testing.assert_close(out["logits"], own.logits, rtol=1e-4, atol=1e-5)
        scores = loaded.task.scores(own, metadata["modalities"])
        torch.testing.assert_close(out["scores"], scores, rtol=1e-4, atol=1e-5)
        count += len(batch)
    assert count > 17  # a last batch of another size among them
    assert metadata["batch"] == "any"


def test_the_file_says_what_it_is(finished: RunFolder, exported: Path) -> None:
    _, metadata = load_export(exported)
    loaded = load_run(finished.path)
    assert metadata["task"] == json.loads(json.dumps(loaded.task.as_dict()))
    assert metadata["modalities"] == ["video", "audio"]
    assert metadata["inputs"]["features"]["audio"][2] == loaded.columns["audio"].dim
    assert metadata["columns"]["video"]["fingerprint"] == loaded.columns["video"].fingerprint
    assert metadata["checkpoint"]["epoch"] == loaded.epoch
    assert metadata["standardised"] is True
    # torch alone opens it too.
    assert set(torch.export.load(exported).module()(*_zeros(loaded))) == {"logits", "scores"}


def _zeros(loaded: Any) -> tuple[Any, ...]:
    features = {m: torch.zeros(2, 3, info.dim) for m, info in loaded.columns.items()}
    present = torch.ones(2, len(features), dtype=torch.bool)
    return features, present, {m: torch.tensor([1, 3]) for m in features}


def test_what_is_absent_does_not_matter(finished: RunFolder, exported: Path) -> None:
    model, _ = load_export(exported)
    features, present, lengths = _zeros(load_run(finished.path))
    present[:, 1] = False
    before = model(features, present, lengths)["logits"]
    features["audio"] = torch.full_like(features["audio"], 7.0)
    assert torch.equal(model(features, present, lengths)["logits"], before)
    present[:, 1] = True
    assert not torch.equal(model(features, present, lengths)["logits"], before)


def test_a_temperature_of_the_evaluation_is_in_the_graph(finished: RunFolder) -> None:
    loaded = load_run(finished.path)
    inputs = _zeros(loaded)
    with torch.no_grad():
        warm = ExportedModel(loaded, 2.0).eval()(*inputs)
        own = loaded.model(*inputs)
    torch.testing.assert_close(warm["logits"] * 2.0, own.logits)
    torch.testing.assert_close(warm["scores"], torch.softmax(own.logits / 2.0, dim=-1))


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("ran",))


@pytest.mark.parametrize("kind", ["opaque", "flag", "inputs", "checkpoint", "noise", "other"])
def test_files_that_hold_pickles_or_are_something_else_are_refused(
    exported: Path, tmp_path: Path, kind: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.pt2"
    if kind == "noise":
        path.write_bytes(b"nothing of the sort")
    elif kind == "checkpoint":
        torch.save({"x": torch.ones(1)}, path)
    else:
        with zipfile.ZipFile(exported) as old, zipfile.ZipFile(path, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                if kind == "flag" and name.endswith("weights_config.json"):
                    data = data.replace(b'"use_pickle": false', b'"use_pickle": true')
                    data = data.replace(b'"use_pickle":false', b'"use_pickle":true')
                if kind == "inputs" and "/sample_inputs/" in name:
                    data = pickle.dumps(Evil())
                if kind == "other" and name.endswith("scfae.json"):
                    data = b'{"format": 99}'
                new.writestr(name, data)
            if kind == "opaque":
                top = old.namelist()[0].partition("/")[0]
                new.writestr(f"{top}/data/constants/opaque_obj_0", pickle.dumps(Evil()))
    with pytest.raises(CheckpointError, match=r"model\.pt2"):
        load_export(path)
    assert "ran" not in capfd.readouterr().out


def test_a_method_that_cannot_be_traced_is_named(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(self: ExportedModel, features: Any, present: Any, lengths: Any) -> Any:
        if bool(present.all()):  # what data decides cannot be traced
            return {"logits": features["video"][:, 0]}
        return {"logits": -features["video"][:, 0]}

    monkeypatch.setattr(ExportedModel, "forward", forward)
    with pytest.raises(ExportError, match=r"scfae cannot be exported: torch\.export does not"):
        export_run(finished.path, tmp_path / "model.pt2")
    assert not (tmp_path / "model.pt2").exists()


def test_a_run_on_whole_dialogues_is_refused(
    finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_run(finished.path)
    loop = loaded.config.loop.model_copy(update={"group_batches": True})
    config = loaded.config.model_copy(update={"loop": loop})
    monkeypatch.setattr("scfae.train.export.load_run", lambda run: replace(loaded, config=config))
    with pytest.raises(ExportError, match="was trained on whole dialogues"):
        export_run(finished.path, tmp_path / "model.pt2")


@pytest.mark.slow
def test_onnx_answers_as_the_run_does(finished: RunFolder, tmp_path: Path) -> None:
    import onnx
    from onnx.reference import ReferenceEvaluator

    written = export_run(finished.path, tmp_path / "model.onnx")
    model = onnx.load(written["path"])
    properties = {one.key: one.value for one in model.metadata_props}
    assert json.loads(properties["scfae"])["modalities"] == ["video", "audio"]
    loaded = load_run(finished.path)
    evaluator = ReferenceEvaluator(model)
    for batch in list(batches(finished))[-2:]:
        named = {f"features.{m}": x.numpy() for m, x in batch.features.items()}
        named |= {f"lengths.{m}": x.numpy() for m, x in batch.lengths.items()}
        named["present"] = batch.present.numpy()
        found = dict(zip(evaluator.output_names, evaluator.run(None, named), strict=True))
        with torch.no_grad():
            own = loaded.model(batch.features, batch.present, batch.lengths).logits
        found["logits"] *= written["temperature"] or 1.0
        np.testing.assert_allclose(found["logits"], own.numpy(), rtol=1e-3, atol=1e-4)


def test_from_the_command_line(
    finished: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(finished.path), str(tmp_path / "m.pt2"), "--json"]) == 0
    output = capsys.readouterr()
    document = json.loads(output.out)
    assert document["form"] == "pt2"
    assert document["bytes"] == (tmp_path / "m.pt2").stat().st_size
    assert "scfae, video, audio -> logits, scores; any batch size" in output.err
    assert main(["export", str(tmp_path / "nowhere")]) == 1
    for wrong in ("model.txt", "no/model.pt2"):
        with pytest.raises(ConfigError, match="OUT: "):
            export_run(finished.path, tmp_path / wrong)
    with pytest.raises(CheckpointError, match="there is no exported model"):
        load_export(tmp_path / "gone.pt2")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:gcnet. no groups were given")
@pytest.mark.parametrize("fusion", ["misa", "mult", "gcnet", "lmf", "perceiver", "drfuse"])
def test_other_methods_export_with_the_same_answers(
    store: FeatureStore, tmp_path: Path, fusion: str
) -> None:
    run = train_small(store.path, tmp_path / "run", fusion=fusion, epochs=1)
    export_run(run.path, tmp_path / "model.pt2")
    model, metadata = load_export(tmp_path / "model.pt2")
    loaded = load_run(run.path)
    batch = next(iter(batches(run)))
    size = len(batch) if metadata["batch"] == "any" else 1
    features = {m: x[:size] for m, x in batch.features.items()}
    lengths = {m: x[:size] for m, x in batch.lengths.items()}
    with torch.no_grad():
        own = loaded.model(features, batch.present[:size], lengths).logits
    found = model(features, batch.present[:size], lengths)["logits"]
    torch.testing.assert_close(found, own, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("fusion", ["imder", "dicmor"])
def test_methods_that_sample_what_is_missing_are_refused_in_a_sentence(
    store: FeatureStore, tmp_path: Path, fusion: str
) -> None:
    run = train_small(store.path, tmp_path / "run", fusion=fusion, epochs=2)
    with pytest.raises(ExportError, match=f"{fusion} cannot be exported"):
        export_run(run.path)
