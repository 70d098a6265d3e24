"""Encoders by name: strings taken apart, near names, and lists that import nothing."""

import subprocess
import sys
from collections.abc import Callable
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
    list_encoders,
    load_encoder,
    parse_encoder,
)
from scfae.extract.registry import find_entry
from scfae.store.errors import ConfigError, UnknownEncoder


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
    with pytest.raises(ConfigError, match="device: 'gpuu' is no device; use auto, cpu,"):
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
