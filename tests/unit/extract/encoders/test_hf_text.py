"""Text encoders of transformers against the model itself, by hand on its hidden states."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from scfae.extract import Encoder, extract, load_encoder, parse_encoder
from scfae.store import FeatureStore
from scfae.store.errors import (
    ConfigError,
    UnknownEncoder,
    WeightsMismatch,
    WeightsUnavailable,
)

from .. import hf_kit as kit
from . import official

TEXT = "the cat sat on a mat"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.write_bert(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def encoder(folder: Path) -> Encoder:
    return load_encoder(f"hf-text:{folder}")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    from transformers import BertModel

    bert: Any = BertModel.from_pretrained(folder)
    return bert.eval()


def ids(text: str) -> Tensor:
    """Return token ids by the vocabulary as it is written, no tokenizer asked."""
    words = [*kit.SPECIAL, *kit.WORDS]
    return torch.tensor([[2, *(words.index(word) for word in text.split()), 3]])


def hidden(model: Any, x: Tensor) -> tuple[Tensor, ...]:
    with torch.inference_mode():
        states: tuple[Tensor, ...] = model(x, output_hidden_states=True).hidden_states
    return states


def rows_of(encoder: Encoder, text: str, folder: Path) -> np.ndarray[Any, Any]:
    path = folder / "text.txt"
    path.write_text(text)
    return encoder.extract(path)[0]


def test_a_row_is_the_mean_of_four_layers_over_the_texts_own_tokens(
    model: Any, encoder: Encoder, tmp_path: Path
) -> None:
    states = hidden(model, ids(TEXT))
    last_four = (states[2] + states[3] + states[4] + states[5]) / 4
    rows = rows_of(encoder, TEXT, tmp_path)
    assert rows.shape == (1, 32)
    wanted = last_four[:, 1:-1].mean(dim=1)
    assert np.abs(rows - wanted.numpy()).max() <= 1e-5
    with torch.inference_mode():
        assert official.largest(encoder.forward(ids(TEXT)) - last_four) <= 1e-5
    for wrong in (last_four.mean(dim=1), states[5][:, 1:-1].mean(dim=1), last_four[:, 0]):
        assert np.abs(rows - wrong.numpy()).max() > 1e-2


def test_cls_is_the_last_layers_first_token(model: Any, folder: Path, tmp_path: Path) -> None:
    rows = rows_of(load_encoder(f"hf-text:{folder}:feature=cls"), TEXT, tmp_path)
    assert np.abs(rows - hidden(model, ids(TEXT))[5][:, 0].numpy()).max() <= 1e-5


def test_a_long_text_gives_a_row_for_every_piece(
    model: Any, encoder: Encoder, tmp_path: Path
) -> None:
    words = (kit.WORDS * 4)[:50]  # 22 of them beside the two special tokens of 24 positions
    rows = rows_of(encoder, " ".join(words), tmp_path)
    assert len(rows) == 3
    for row, at in zip(rows, (0, 22, 44), strict=True):
        states = hidden(model, ids(" ".join(words[at : at + 22])))
        wanted = torch.stack(states[-4:]).mean(dim=0)[:, 1:-1].mean(dim=1)
        assert np.abs(row - wanted[0].numpy()).max() <= 1e-5
    assert encoder.spec.recipe["max_tokens"] == 24


def test_shorter_pieces_can_be_asked_for(folder: Path, tmp_path: Path) -> None:
    encoder = load_encoder(f"hf-text:{folder}:max_tokens=5")
    assert len(rows_of(encoder, " ".join(kit.WORDS[:7]), tmp_path)) == 3
    for asked, says in ((25, "at most 24"), (2, "at least 3")):
        with pytest.raises(ConfigError, match=f"max_tokens must be {says}"):
            load_encoder(f"hf-text:{folder}:max_tokens={asked}")


def test_a_manifest_of_texts_fills_a_column(folder: Path, encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("a dog ran far away")
    texts = {"a": TEXT, "b": "b.txt", "c": "gone.txt", "d": "", "e": "xyzzy"}
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(
        "".join(json.dumps({"id": k, "text": v, "audio": "x.wav"}) + "\n" for k, v in texts.items())
    )
    report = extract(manifest, tmp_path / "store", [f"hf-text:{folder}"], workers=1)
    assert report.columns[0].name == "hf-text-bert"
    assert report.columns[0].counts == {"ok": 3, "partial": 0, "missing": 1, "failed": 1}
    store = FeatureStore.open(tmp_path / "store")
    view = store.view(text="hf-text-bert")
    found = {view[i].id: view[i].features["text"] for i in range(5)}
    assert np.abs(found["a"] - rows_of(encoder, TEXT, tmp_path)).max() <= 1e-6
    assert np.abs(found["b"] - rows_of(encoder, "a dog ran far away", tmp_path)).max() <= 1e-6
    again = extract(manifest, tmp_path / "store", [f"hf-text:{folder}"], workers=1)
    assert again.columns[0].shards_done == 0
    manifest.write_text(manifest.read_text().replace(TEXT, "the cat ran"))
    changed = extract(manifest, tmp_path / "store", [f"hf-text:{folder}"], workers=1)
    assert changed.columns[0].shards_done == 1


def test_a_model_is_known_by_its_files_and_not_by_where_they_are(
    folder: Path, encoder: Encoder, tmp_path: Path
) -> None:
    moved = shutil.copytree(folder, tmp_path / "elsewhere" / "bert")
    other = load_encoder(f"hf-text:{moved}").spec
    assert (other.canonical, other.weights_sha256) == ("hf-text:bert", encoder.spec.weights_sha256)
    assert other.recipe == encoder.spec.recipe
    by_weights = load_encoder("hf-text:bert", weights=moved).spec
    assert by_weights == other
    for file in ("tokenizer.json", "config.json", "model.safetensors"):
        changed = shutil.copytree(folder, tmp_path / file)
        with (changed / file).open("ab") as handle:
            handle.write(b"\n")
        from scfae.extract.hub import model_sha256

        assert model_sha256(changed) != other.weights_sha256, file


def test_noise_needs_the_models_description_only(folder: Path) -> None:
    first, again, other = (load_encoder(f"hf-text:{folder}@random:{seed}") for seed in (1, 1, 2))
    with torch.inference_mode():
        a, b, c = (one.pool(one.forward(ids(TEXT))) for one in (first, again, other))
    assert torch.equal(a, b)
    assert official.largest(a - c) > 1e-3
    assert first.spec.is_random
    assert first.spec.weights_sha256 is None


def test_a_model_that_is_nowhere_names_the_cache_and_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsUnavailable) as caught:
        load_encoder("hf-text:nobody/no-such-model")
    message = str(caught.value)
    assert "'nobody/no-such-model' is no folder here" in message
    assert str(tmp_path) in message
    assert "hf download nobody/no-such-model" in message


def test_a_model_in_the_hubs_cache_is_found_without_a_network(
    folder: Path, encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--org--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, repository / "snapshots" / ("0" * 40))
    spec = load_encoder("hf-text:org/tiny").spec
    assert spec.name == "hf-text:org/tiny"
    assert spec.weights == "published"
    assert spec.weights_sha256 == encoder.spec.weights_sha256


def test_folders_that_hold_no_whole_model_are_refused(folder: Path, tmp_path: Path) -> None:
    for file, says in (
        ("config.json", "has no config.json"),
        ("model.safetensors", "holds no weights"),
    ):
        broken = shutil.copytree(folder, tmp_path / file)
        (broken / file).unlink()
        with pytest.raises(WeightsMismatch, match=says):
            load_encoder(f"hf-text:{broken}")
    from safetensors.torch import load_file, save_file

    lacking = shutil.copytree(folder, tmp_path / "lacking")
    state = load_file(lacking / "model.safetensors")
    del state["encoder.layer.2.output.dense.weight"]
    save_file(state, lacking / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsMismatch, match=r"1 weights of the network are not in the file"):
        load_encoder(f"hf-text:{lacking}")
    with pytest.raises(ConfigError, match="are a model's folder, or random:SEED"):
        load_encoder("hf-text:bert", weights=folder / "model.safetensors")


@pytest.mark.parametrize(
    ("text", "name", "weights", "options"),
    [
        ("hf-text:org/name", "hf-text:org/name", None, {}),
        ("hf-text:org/name:feature=cls", "hf-text:org/name", None, {"feature": "cls"}),
        ("hf-text:/a/b.c/d@random:1", "hf-text:/a/b.c/d", "random:1", {}),
        ("hf-text:b@/a/b:max_tokens=9", "hf-text:b", "/a/b", {"max_tokens": 9}),
    ],
)
def test_strings_with_a_model_are_taken_apart(
    text: str, name: str, weights: str | None, options: dict[str, Any]
) -> None:
    request = parse_encoder(text)
    assert (request.name, request.weights, request.options) == (name, weights, options)


@pytest.mark.parametrize("name", ["hf-text", "hf-text:"])
def test_a_model_must_be_named(name: str) -> None:
    with pytest.raises(UnknownEncoder, match="hf-text:MODEL"):
        load_encoder(name)
    with pytest.raises(ConfigError, match="'cls' is no option"):
        load_encoder("hf-text:org/name:cls")
