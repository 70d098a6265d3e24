"""Encoders by name: strings taken apart, near names, plug-ins, and lists that import nothing."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import scfae.extract
from scfae.extract import (
    EncoderInfo,
    EncoderRequest,
    extract,
    list_encoders,
    load_encoder,
    parse_encoder,
)
from scfae.extract.registry import entries, find_entry
from scfae.store import FeatureStore
from scfae.store.errors import ConfigError, UnknownEncoder

from . import media_kit as kit

PLUGIN = '''
"""An encoder of another package: the mean colour of every sampled frame."""
import torch
from scfae.extract import Encoder, EncoderEntry
from scfae.extract.pictures import PictureRecipe
from scfae.extract.weights import load_network
from plugin_pixels import shrink


class MeanColour(Encoder):
    def forward(self, x):
        return x.flatten(2).transpose(1, 2)

    def pool(self, tokens):
        return self.module(tokens.mean(dim=1))

    def prepare(self, windows):
        return windows.float() / 255.0

    def recipe(self, kind):
        return PictureRecipe(kind, 5.0, shrink)


def load(entry, weights, device, options):
    module, found = load_network(entry, weights, build=lambda: torch.nn.Linear(3, 4))
    spec = entry.spec(
        found, options={}, recipe={"side": 4}, packages=("torch",), rows_per_second=5.0
    )
    return MeanColour(spec, module, device)


entry = EncoderEntry(
    name="mean-colour", modality="image", accepts=("video", "image"), dim=4, rows_per_second=5.0,
    licence="CC0", source="here", weights_file="none", weights_hint="", find=lambda: None,
    loader="colour_plugin:load",
)
impostor = "no entry"
'''
PIXELS = """
from scfae.extract.pixels import resize_whole


def shrink(pixels):
    return resize_whole(pixels, 4)
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, value: str = "entry") -> None:
    """Put a plug-in on the path as pip would: modules, and metadata with an entry point."""
    (folder / "colour_plugin.py").write_text(PLUGIN)
    (folder / "plugin_pixels.py").write_text(PIXELS)
    metadata = folder / "colour_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: colour-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(
        f"[scfae.encoders]\nmean-colour = colour_plugin:{value}\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


@pytest.mark.parametrize(
    ("text", "name", "weights", "options"),
    [
        ("ge2e", "ge2e", None, {}),
        ("dinov3-vits16@/w/d.pth", "dinov3-vits16", "/w/d.pth", {}),
        ("dinov3-vits16@random:3", "dinov3-vits16", "random:3", {}),
        ("r2plus1d-18:stride=8", "r2plus1d-18", None, {"stride": 8}),
        ("x@random:0:fps=2.5,stride=4", "x", "random:0", {"fps": 2.5, "stride": 4}),
        ("x@/w/a:b.pt", "x", "/w/a:b.pt", {}),
        ("x@/w/a:b.pt:layer=9", "x", "/w/a:b.pt", {"layer": 9}),
        (r"x@C:\w\a.pt:layer=9", "x", r"C:\w\a.pt", {"layer": 9}),
        ("x@/w/lr=0.1/a.pt", "x", "/w/lr=0.1/a.pt", {}),
        ("x@/w/run:lr=0.1/a.pt", "x", "/w/run:lr=0.1/a.pt", {}),
        ("x@user@host/a.pt", "x", "user@host/a.pt", {}),
        ("x:modality=image", "x", None, {"modality": "image"}),
        ("x:a=true,b=False,c=-1", "x", None, {"a": True, "b": False, "c": -1}),
        ("x:a=", "x", None, {"a": ""}),
    ],
)
def test_strings_are_taken_apart(
    text: str, name: str, weights: str | None, options: dict[str, Any]
) -> None:
    assert parse_encoder(text) == EncoderRequest(name, weights, options)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x@", "nothing after '@'"),
        ("x@:fps=2", "nothing after '@'"),
        ("x:fps", "'fps' is no option; options are written name=value"),
        ("x:fps=1:stride=2", "'fps=1' is no option"),
        ("x:fps=1,fps=2", "the option 'fps' is given twice"),
    ],
)
def test_strings_that_make_no_sense_are_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_encoder(text)
    assert says in str(caught.value)


@given(
    name=st.from_regex(r"[a-z0-9-]+", fullmatch=True),
    path=st.none() | st.from_regex(r"/[a-z:./-]{0,20}[a-z]", fullmatch=True),
    options=st.dictionaries(st.from_regex("[a-z_]+", fullmatch=True), st.integers(-99, 99)),
)
def test_any_name_path_and_options_come_back(
    name: str, path: str | None, options: dict[str, int]
) -> None:
    text = name + (f"@{path}" if path else "")
    if options:
        text += ":" + ",".join(f"{key}={value}" for key, value in options.items())
    assert parse_encoder(text) == EncoderRequest(name, path, options)


@pytest.mark.parametrize(
    ("name", "near"),
    [("efficientnet-lite", "efficientnet-lite0"), ("DINOv3-ViTS16", "dinov3-vits16")],
)
def test_near_names_are_suggested(name: str, near: str) -> None:
    with pytest.raises(UnknownEncoder, match=f"Did you mean {near}"):
        load_encoder(name)


def test_a_name_like_none_lists_them_all() -> None:
    with pytest.raises(UnknownEncoder) as caught:
        find_entry("zzz")
    assert "Did you mean" not in str(caught.value)
    for info in list_encoders():
        assert info.name in str(caught.value)


def build_without_numbers(build: Callable[[], nn.Module], seed: int) -> nn.Module:
    try:
        with torch.device("meta"):
            return build()
    except RuntimeError:  # it looks at its numbers while it is built
        return build()


def test_the_list_says_what_a_loaded_encoder_is(monkeypatch: pytest.MonkeyPatch) -> None:
    # The numbers of the largest networks would take gigabytes.
    monkeypatch.setattr("scfae.extract.weights.build_random", build_without_numbers)
    for info in list_encoders():
        assert isinstance(info, EncoderInfo)
        spec = load_encoder(info.name, weights="random:0", device="meta").spec
        assert (spec.name, spec.modality, spec.dim) == (info.name, info.modality, info.dim)
        assert spec.accepts == info.accepts
        assert spec.rows_per_second == info.rows_per_second
        assert (spec.licence, spec.source) == (info.licence, info.source)
        assert info.licence
        assert info.weights_file
        assert info.weights_hint
        assert "torch" in spec.packages


def test_weights_and_options_come_by_string_or_by_name() -> None:
    by_string = load_encoder("r2plus1d-18@random:0:stride=8,fps=4").spec
    by_name = load_encoder("r2plus1d-18", weights="random:0", stride=8, fps=4).spec
    assert by_string == by_name
    assert by_string.canonical == "r2plus1d-18:fps=4.0,stride=8"
    assert load_encoder("ge2e@random:1", weights="random:2").spec.weights == "random:2"


def test_a_device_that_is_none_is_named() -> None:
    with pytest.raises(ConfigError, match="device: 'gpuu' is no device"):
        load_encoder("ge2e@random:0", device="gpuu")


def test_listing_encoders_imports_no_torch() -> None:
    code = (
        "import sys; from scfae.extract import list_encoders, parse_encoder; list_encoders();"
        "parse_encoder('ge2e'); assert not {'torch', 'timm', 'av'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_public_names_are_all_there() -> None:
    assert scfae.extract.__all__ == sorted(scfae.extract.__all__)
    assert set(scfae.extract.__all__) == set(scfae.extract._MODULES)
    for name in scfae.extract.__all__:
        value = getattr(scfae.extract, name)
        assert value.__doc__ or name == "MediaKind"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = scfae.extract.nothing


def test_a_plug_in_is_an_encoder_like_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    install(tmp_path / "site", monkeypatch)
    assert "mean-colour" in {info.name for info in list_encoders()}
    assert list(entries())[-1] == "mean-colour"
    media = tmp_path / "media"
    media.mkdir()
    kit.write_clip(media / "a.mp4", frames=10, sound_s=None)
    report = extract(media, tmp_path / "store", ["mean-colour@random:1"], workers=1)
    assert report.columns[0].counts["ok"] == 1
    assert report.columns[0].is_random
    rows, _ = load_encoder("mean-colour@random:1").extract(media / "a.mp4")
    view = FeatureStore.open(tmp_path / "store").view(video="mean-colour")
    assert view[0].features["video"].tolist() == rows.tolist()
    assert rows.shape == (2, 4)


def test_a_plug_in_that_gives_no_entry_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, value="impostor")
    with pytest.raises(ConfigError, match="colour_plugin:impostor: is no EncoderEntry"):
        list_encoders()


def test_a_plug_in_that_cannot_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, monkeypatch, value="absent")
    with pytest.raises(ConfigError, match="entry point colour_plugin:absent: cannot be loaded"):
        list_encoders()
