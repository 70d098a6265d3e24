"""Raw media through a run's own encoders: one answer a file, whatever the file is."""

import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from scfae.cli.main import main
from scfae.demo.clips import make_media
from scfae.extract import extract, load_encoder
from scfae.extract.plan import plan_columns
from scfae.store import Chain, ColumnInfo, FeatureStore, derive
from scfae.store.errors import ConfigError, RunNotFound, RunStateError
from scfae.train.loading import load_run
from scfae.train.loop import train
from scfae.train.media_inputs import MediaInput, parse_line
from scfae.train.prediction import _load, predict
from scfae.train.raw_columns import raw_column
from scfae.train.runs import RunFolder

from ..extract import hf_kit
from .small_runs import make_config

ENCODERS = ("efficientnet-lite0:fps=2", "ge2e")


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of a drifting digit and a voice."""
    folder = tmp_path_factory.mktemp("media")
    make_media(folder, {"train": 4, "val": 1, "test": 1}, fake_ratio=0.5, seed=2)
    return folder


@pytest.fixture(scope="session")
def run(media: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Two epochs on the clips' features, telling fake from real."""
    folder = tmp_path_factory.mktemp("predicting")
    extract(media / "manifest.csv", folder / "store", ENCODERS, shard_size=6, batch_size=4)
    seen, heard = sorted(FeatureStore.open(folder / "store").columns)
    config = make_config(
        folder / "store",
        folder / "run",
        columns={"video": seen, "audio": heard},
        label="fake",
        fusion="concat",
        options={"hidden": 16},
        epochs=2,
        batch_size=4,
    )
    return train(config)


def test_a_text_file_goes_to_the_encoder_of_texts(tmp_path: Path) -> None:
    bert = hf_kit.write_bert(tmp_path)
    words = hf_kit.WORDS
    texts = {f"s{i}": " ".join(words[i % 9 : i % 9 + 5]) for i in range(12)}
    manifest = tmp_path / "m.csv"
    rows = [
        f"{name},{text},{('train', 'val', 'test')[max(0, i - 9)]},{i % 2}"
        for i, (name, text) in enumerate(texts.items())
    ]
    manifest.write_text("\n".join(["id,text,split,mood", *rows]))
    extract(manifest, tmp_path / "store", [f"hf-text:{bert}"], workers=1)
    config = make_config(
        tmp_path / "store",
        tmp_path / "run",
        columns={"text": "hf-text-bert"},
        label="mood",
        fusion="concat",
        options={"hidden": 16},
        epochs=1,
        batch_size=4,
    )
    run = train(config)
    (tmp_path / "said.TXT").write_text(texts["s3"])
    (tmp_path / "empty.txt").write_text(" ")
    said, empty = predict(run.path, [tmp_path / "said.TXT", tmp_path / "empty.txt"])
    assert said["prediction"] in (0, 1, "0", "1")
    assert not said.get("absent")
    assert "the text is empty" in json.dumps(empty)


@pytest.fixture(scope="session")
def clips(media: Path) -> list[Path]:
    return sorted(media.glob("*.mp4"))


@pytest.fixture(scope="session")
def files(media: Path, clips: list[Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The clips, and between them what is unreadable, or has not every modality."""
    folder = tmp_path_factory.mktemp("odd")
    (folder / "noise.mp4").write_bytes(bytes(range(256)) * 40)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "cut.mp4").write_bytes(clips[0].read_bytes()[:300])
    (folder / "notes.txt").write_text("not media")
    _drop_sound(clips[0], folder / "silent.mp4")
    shutil.copy(next(media.glob("*.png")), folder / "still.png")
    names = ("noise.mp4", "empty.wav", "cut.mp4", "notes.txt", "nowhere.mp4")
    odd = [folder / name for name in names]
    return [odd[0], clips[0], *odd[1:], folder / "silent.mp4", folder / "still.png", *clips[1:]]


def _drop_sound(clip: Path, silent: Path) -> None:
    with av.open(str(clip)) as source, av.open(str(silent), "w") as target:
        pictures = source.streams.video[0]
        stream = target.add_stream_from_template(pictures)
        for packet in source.demux(pictures):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)


@pytest.fixture(scope="session")
def lines(run: RunFolder, files: list[Path]) -> list[dict[str, Any]]:
    return list(predict(run.path, files))


@pytest.fixture
def by_name(lines: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {Path(line["file"]).name: line for line in lines}


def test_one_line_a_file_in_order(files: list[Path], lines: list[dict[str, Any]]) -> None:
    assert [line["file"] for line in lines] == [str(file) for file in files]
    json.dumps(lines, allow_nan=False)


def test_a_clip_has_an_answer_with_its_probabilities(
    clips: list[Path], by_name: dict[str, dict[str, Any]]
) -> None:
    for clip in clips:
        line = by_name[clip.name]
        assert set(line["probabilities"]) == {"0", "1"}
        assert sum(line["probabilities"].values()) == pytest.approx(1.0, abs=1e-6)
        best = max(line["probabilities"], key=line["probabilities"].__getitem__)
        assert str(line["prediction"]) == best
        assert line["present"] == ["video", "audio"]
        assert line["absent"] == {}


def test_raw_media_is_answered_as_its_stored_rows_are(
    run: RunFolder, clips: list[Path], by_name: dict[str, dict[str, Any]]
) -> None:
    loaded = load_run(run.path)
    names: dict[str, Any] = dict(loaded.config.data.columns)
    view = FeatureStore.open(loaded.config.data.store).view(None, **names)
    places = {str(name): i for i, name in enumerate(view.ids)}
    answers = []
    for clip in clips:
        sample = view[places[clip.stem]]
        features = {m: torch.from_numpy(rows)[None] for m, rows in sample.features.items()}
        with torch.no_grad():
            stored = loaded.task.scores(loaded.model(features), list(features))[0].numpy()
        answers.append(list(by_name[clip.name]["probabilities"].values()))
        # Batches are composed otherwise, so the last bits differ.
        np.testing.assert_allclose(answers[-1], stored, atol=2e-3)
    assert np.std(answers, axis=0).max() > 0.01


@pytest.mark.parametrize("name", ["noise.mp4", "empty.wav", "cut.mp4", "notes.txt", "nowhere.mp4"])
def test_an_unreadable_file_says_why_and_stops_no_other(
    by_name: dict[str, dict[str, Any]], name: str
) -> None:
    line = by_name[name]
    assert set(line) == {"file", "error"}
    assert len(line["error"]) > 10
    assert "file not found" not in line["error"] or name == "nowhere.mp4"


def test_a_missing_modality_is_said_and_the_rest_answers(
    clips: list[Path], by_name: dict[str, dict[str, Any]]
) -> None:
    silent, still = by_name["silent.mp4"], by_name["still.png"]
    assert silent["present"] == still["present"] == ["video"]
    assert "no audio" in silent["absent"]["audio"]
    assert still["absent"] == {"audio": "the encoder reads audio or video"}
    for line in (silent, still):
        assert sum(line["probabilities"].values()) == pytest.approx(1.0, abs=1e-6)
    assert silent["probabilities"] != by_name[clips[0].name]["probabilities"]


def test_only_some_modalities_may_be_used(
    run: RunFolder, clips: list[Path], by_name: dict[str, dict[str, Any]]
) -> None:
    (seen,) = predict(run.path, clips[:1], only=["video"])
    assert seen["present"] == ["video"]
    # The silent copy has the very same pictures.
    assert seen["probabilities"] == by_name["silent.mp4"]["probabilities"]


def test_a_run_that_was_moved_away_from_its_store_answers_the_same(
    run: RunFolder, clips: list[Path], by_name: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(run.path, moved)
    store = Path(run.config.data.store)
    store.rename(tmp_path / "store")
    try:
        (line,) = predict(moved, clips[2:3])
    finally:
        (tmp_path / "store").rename(store)
    assert line == by_name[clips[2].name]


def test_wrong_use_is_named(run: RunFolder, clips: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name at least one file"):
        list(predict(run.path, []))
    with pytest.raises(ConfigError, match="only: the run has no modality 'smell'"):
        list(predict(run.path, clips[:1], only=["smell"]))
    with pytest.raises(RunNotFound):
        list(predict(tmp_path, clips[:1]))


@pytest.mark.parametrize("what", ["weights", "recipe"])
def test_other_encoders_than_the_runs_are_refused(run: RunFolder, what: str) -> None:
    info = run.columns["video"]
    changes: dict[str, dict[str, Any]] = {
        "weights": {"weights_sha256": "0" * 64},
        "recipe": {"recipe": {**info.recipe, "size": 1}},
    }
    with pytest.raises(RunStateError, match=f"video: the {what} of efficientnet-lite0"):
        _load("video", info.model_copy(update=changes[what]), "cpu")


def test_random_encoders_are_made_again_from_their_seed() -> None:
    encoder = load_encoder("ge2e", weights="random:3")
    planned = plan_columns([encoder], dtype="float32", column_as=None, batch_size=8, threads=1)
    (plan,) = planned.values()
    spec = encoder.spec
    again = _load("audio", plan.info, "cpu").spec
    assert again.is_random
    assert again.weights_sha256 == spec.weights_sha256


@pytest.fixture(scope="session")
def derived(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run on principal components of pictures, and on sound at the clock of the pictures."""
    store = FeatureStore.open(run.config.data.store)
    seen, heard = run.config.data.columns["video"], run.config.data.columns["audio"]
    derive(store, seen, "half", Chain.create(dtype="float16"))
    derive(store, "half", "components", Chain.create(pca=6))
    derive(store, heard, "slow", Chain.create(resample=seen, project=8))
    config = make_config(
        store.path,
        tmp_path_factory.mktemp("derived") / "run",
        columns={"video": "components", "audio": "slow"},
        label="fake",
        fusion="concat",
        options={"hidden": 16},
        epochs=1,
        batch_size=4,
    )
    return train(config)


def stored_answer(run: RunFolder, name: str) -> list[float]:
    """Return the probabilities of the stored rows of a sample."""
    loaded = load_run(run.path)
    names: dict[str, Any] = dict(loaded.config.data.columns)
    view = FeatureStore.open(loaded.config.data.store).view(None, **names)
    sample = view[view.ids.tolist().index(name)]
    features = {m: torch.from_numpy(rows)[None] for m, rows in sample.features.items()}
    with torch.no_grad():
        scores = loaded.task.scores(loaded.model(features), list(features))
    answer: list[float] = scores[0].tolist()
    return answer


def test_a_run_on_derived_columns_takes_their_steps(derived: RunFolder, clips: list[Path]) -> None:
    (line,) = predict(derived.path, clips[:1])
    np.testing.assert_allclose(
        list(line["probabilities"].values()), stored_answer(derived, clips[0].stem), atol=2e-3
    )
    assert line["present"] == ["video", "audio"]
    (seen,) = predict(derived.path, clips[:1], only=["video"])
    assert seen["probabilities"] != line["probabilities"]


@pytest.mark.parametrize("is_beside", [False, True], ids=["branches", "beside"])
def test_several_columns_of_a_modality_are_made_from_one_file(
    derived: RunFolder, clips: list[Path], tmp_path: Path, *, is_beside: bool
) -> None:
    seen, heard = (derived.columns["video"].name, derived.columns["audio"].name)
    columns = (
        {"video": f"half+{seen}", "audio": heard}
        if is_beside
        else {"video": "half", "video:parts": seen, "audio": heard}
    )
    config = make_config(
        derived.config.data.store,
        tmp_path / "run",
        columns=columns,
        label="fake",
        epochs=1,
        batch_size=4,
    )
    run = train(config)
    (line,) = predict(run.path, clips[:1])
    np.testing.assert_allclose(
        list(line["probabilities"].values()), stored_answer(run, clips[0].stem), atol=2e-3
    )
    assert line["present"] == list(columns)
    (alone,) = predict(run.path, clips[:1], only=["video"])
    assert alone["present"] == list(columns)[:-1]


def test_derived_columns_without_their_parents_or_basis_are_refused(
    derived: RunFolder, clips: list[Path], tmp_path: Path
) -> None:
    info = derived.columns["video"]
    with pytest.raises(RunStateError, match=r"how is kept in the store .*, and there is none"):
        raw_column("video", info, tmp_path / "nowhere")
    here = tmp_path / "store"
    shutil.copytree(derived.config.data.store, here)
    store = FeatureStore.open(here)
    info = store.columns["components"]
    assert raw_column("video", info, here).projection is not None
    gone = info.model_copy(update={"fingerprint": "x"})
    with pytest.raises(RunStateError, match="'components' is no longer in"):
        raw_column("video", gone, here)
    fitted = info.model_copy(update={"compute": {"basis_sha256": "x"}})
    with pytest.raises(RunStateError, match="was fitted anew since the run was trained"):
        raw_column("video", fitted, here)
    shutil.rmtree(here / "columns" / "half")
    with pytest.raises(RunStateError, match="'half', which column 'components' was computed from"):
        raw_column("video", info, here)
    imported = ColumnInfo.create("wavlm", "audio", encoder="imported:npz", dim=8)
    with pytest.raises(RunStateError, match="audio: the rows of column 'wavlm' were made elsewh"):
        raw_column("audio", imported, here)


def test_manifests_folders_and_mappings_are_answered_sample_by_sample(
    run: RunFolder, media: Path, clips: list[Path], by_name: dict[str, dict[str, Any]]
) -> None:
    rows: list[Any] = [
        {"id": "one", "video": str(clips[0])},
        {"id": "two", "smell": "x"},
        {"audio": 3},
    ]
    lines = list(predict(run.path, [*rows, media / "manifest.csv"]))
    whole = by_name[clips[0].name]
    assert lines[0]["id"] == "one"
    assert lines[0]["files"] == {"video": str(clips[0])}
    assert lines[0]["probabilities"] == whole["probabilities"]
    assert "unknown key 'smell'" in lines[1]["error"]
    assert "names no file" in lines[2]["error"]
    assert len(lines) == 3 + len(clips)
    by_id = {line["id"]: line for line in lines[3:]}
    assert by_id[clips[0].stem]["probabilities"] == whole["probabilities"]
    assert set(by_id[clips[0].stem]["files"]) == {"video", "image"}


def test_each_sample_of_a_stream_is_answered_before_the_next_is_asked_for(
    run: RunFolder, clips: list[Path]
) -> None:
    asked: list[str] = []

    def stream() -> Iterator[MediaInput]:
        for text in ["{broken", str(clips[0]), '{"id": 7, "text": "no encoder reads it"}']:
            asked.append(text)
            yield parse_line(text)

    answers = predict(run.path, stream(), is_streaming=True)
    first = next(answers)
    assert "not a JSON object" in first["error"]
    assert len(asked) == 1
    assert next(answers)["file"] == str(clips[0])
    assert len(asked) == 2
    why = "the encoder reads audio or video; the encoder reads video or image"
    assert next(answers)["error"] == why
    assert list(answers) == []


def test_lines_of_stdin_are_answered_from_the_command_line(
    run: RunFolder,
    clips: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = f"{clips[0]}\n\n{json.dumps({'id': 'b', 'video': str(clips[1])})}\n{{oops\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    assert main(["predict", str(run.path), "-", "--only", "audio"]) == 3
    output = capsys.readouterr()
    answers = [json.loads(line) for line in output.out.splitlines()]
    assert [one.get("file") or one.get("id") for one in answers] == [str(clips[0]), "b", None]
    assert all(one["present"] == ["audio"] for one in answers[:2])
    assert "1 of 3 samples could not be read" in output.err
    assert main(["predict", str(run.path), "-", str(clips[0])]) == 2


def test_a_temperature_of_the_evaluation_calibrates_the_answer(
    run: RunFolder, clips: list[Path], by_name: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    warm = tmp_path / "run"
    shutil.copytree(run.path, warm)
    (warm / "evaluation.json").write_text('{"calibration": {"temperature": 4.0}}')
    (line,) = predict(warm, clips[:1])
    plain = by_name[clips[0].name]
    assert "temperature" not in plain
    assert line["temperature"] == 4.0
    logs = np.log(list(plain["probabilities"].values())) / 4.0
    expected = np.exp(logs) / np.exp(logs).sum()
    np.testing.assert_allclose(list(line["probabilities"].values()), expected, atol=1e-6)
