"""Weights by the cache of the Hugging Face hub, and by torch's, without any network."""

from pathlib import Path

import pytest
from huggingface_hub import constants

from scfae.extract import list_encoders, load_encoder
from scfae.extract.encoders import wavlm
from scfae.extract.registry import find_entry
from scfae.extract.weights import locate
from scfae.store.errors import ConfigError, WeightsUnavailable


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path


def put(cache: Path, repository: str, file: str, content: bytes = b"weights") -> Path:
    """Lay a file into the hub's cache as a download does."""
    folder = cache / "hf" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text("a" * 40)
    path = folder / "snapshots" / ("a" * 40) / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def available() -> set[str]:
    return {info.name for info in list_encoders() if info.is_available}


def test_published_weights_are_found_in_either_cache(caches: Path) -> None:
    entry = find_entry("videomaev2-s")
    before = available()
    assert not {"videomaev2-s", "wavlm-base"} & before
    name = "vit_s_k710_dl_from_giant.pth"
    cached = put(caches, "OpenGVLab/VideoMAE2", f"distill/{name}")
    assert locate(entry, None).path == cached
    assert available() == before | {"videomaev2-s"}
    put(caches, "microsoft/wavlm-base", "pytorch_model.bin")
    assert available() == before | {"videomaev2-s", "wavlm-base"}
    own = caches / "torch" / "hub" / "checkpoints" / name
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    assert locate(entry, None).path == own
    assert locate(entry, "published").source == "published"


def test_any_file_of_the_hub_can_be_named(caches: Path) -> None:
    entry = find_entry("dinov3-vits16")
    cached = put(caches, "me/weights", "deep/er/dino.pth")
    found = locate(entry, "hf://me/weights/deep/er/dino.pth")
    assert (found.source, found.path) == ("hf://me/weights/deep/er/dino.pth", cached)
    with pytest.raises(WeightsUnavailable, match=r"hf download me/weights other\.pth"):
        locate(entry, "hf://me/weights/other.pth")
    for text in ("hf://me/weights", "hf://me//x.pth", "hf://"):
        with pytest.raises(ConfigError, match="a file of the hub is hf://ORG/NAME/FILE"):
            locate(entry, text)


def test_without_a_network_the_file_and_its_place_are_named(caches: Path) -> None:
    with pytest.raises(WeightsUnavailable) as caught:
        load_encoder("wavlm-base-plus")
    message = str(caught.value)
    for part in (
        "WavLM-Base+.pt",
        "TORCH_HOME/hub/checkpoints",
        "'pytorch_model.bin' of microsoft/wavlm-base-plus",
        str(caches / "hf"),
        "wavlm-base-plus@/path/to/file",
        "wavlm-base-plus@random:0",
    ):
        assert part in message
    assert "\n" not in message
    assert wavlm.SIZES  # nothing was built


def test_a_hub_that_cannot_be_reached_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def fail(*given: object, **_: object) -> None:
        asked.append(given[0])
        raise OSError("no route")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    monkeypatch.setattr("scfae.extract.hub.getproxies", dict)
    monkeypatch.setattr("socket.create_connection", fail)
    with pytest.raises(WeightsUnavailable, match="no route"):
        load_encoder("wavlm-base")
    with pytest.raises(WeightsUnavailable, match="no route"):
        load_encoder("hf-text:org/name")
    assert asked == [("hub.invalid", 443)] * 2


def test_listing_asks_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert list_encoders()
