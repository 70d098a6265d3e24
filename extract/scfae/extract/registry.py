"""Encoders by name.

A new family is an adapter in `encoders/`, its entries in `families/`, and a line here; or a
plug-in's entry point.

Nothing heavy is imported until an encoder is loaded, so listing them is quick.
"""

import difflib
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfae.store.errors import ConfigError, UnknownEncoder

from .entry import EncoderEntry, Options
from .families import (
    audiomae,
    c3d,
    dinov3,
    efficientnet,
    ge2e,
    hf,
    inputs,
    r2plus1d,
    resnetse,
    timm_model,
    videomaev2,
    wavlm,
)

if TYPE_CHECKING:
    import torch

    from .encoder import Encoder

ENTRY_POINTS = "scfae.encoders"
OptionValue = str | int | float | bool
# NAME[@WEIGHTS][:option=value,…]; a path may hold colons, so options are what looks like options.
_OPTIONS = re.compile(r":((?:[a-z_]+=[^,:@/]*)(?:,[a-z_]+=[^,:@/]*)*)$")


@dataclass(frozen=True, slots=True)
class EncoderRequest:
    """An encoder string, taken apart.

    Attributes:
        name: Name of the encoder.
        weights: A path, `random:SEED`, or None for the published weights.
        options: Option values as typed.
    """

    name: str
    weights: str | None
    options: Options


@dataclass(frozen=True, slots=True)
class EncoderInfo:
    """What `scfae encoders` shows; the attributes are those of `EncoderEntry`."""

    name: str
    modality: str
    accepts: tuple[str, ...]
    dim: int
    rows_per_second: float | None
    licence: str
    source: str
    weights_file: str
    weights_hint: str
    is_available: bool


_FAMILIES: tuple[tuple[EncoderEntry, ...], ...] = (
    efficientnet.ENTRIES,
    dinov3.ENTRIES,
    videomaev2.ENTRIES,
    r2plus1d.ENTRIES,
    c3d.ENTRIES,
    wavlm.ENTRIES,
    ge2e.ENTRIES,
    audiomae.ENTRIES,
    resnetse.ENTRIES,
)


# Names with a prefix of their own: whatever a library serves under the rest of the name.
_OPEN: dict[str, Callable[[str], EncoderEntry]] = {
    hf.TEXT_PREFIX: hf.text_entry_for,
    hf.PREFIX: hf.entry_for,
    timm_model.PREFIX: timm_model.entry_for,
    inputs.PREFIX: inputs.entry_for,
}


def entries() -> dict[str, EncoderEntry]:
    """Return every encoder by name: ours, then those of plug-ins.

    A plug-in's entry point in the group `scfae.encoders` is an `EncoderEntry`.

    Raises:
        ConfigError: If a plug-in cannot be loaded or is something else.
    """
    found = {entry.name: entry for family in _FAMILIES for entry in family}
    for point in entry_points(group=ENTRY_POINTS):
        try:
            entry = point.load()
        except Exception as error:  # whatever a plug-in does on import, it is to be named
            raise ConfigError(
                f"entry point {point.value}: cannot be loaded ({type(error).__name__}: {error}). "
                "Mend or uninstall the package that has it."
            ) from error
        if not isinstance(entry, EncoderEntry):
            raise ConfigError(f"entry point {point.value}: is no EncoderEntry.")
        found.setdefault(entry.name, entry)
    return found


def find_entry(name: str) -> EncoderEntry:
    """Return one encoder.

    Raises:
        UnknownEncoder: If there is none of this name; the message suggests near names.
    """
    known = entries()
    if name in known:
        return known[name]
    for prefix, entry_for in _OPEN.items():
        if name.startswith(prefix) and name != prefix:
            return entry_for(name)
    near = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise UnknownEncoder(
        f"there is no encoder '{name}'.{hint} Encoders: {', '.join(known)}, "
        f"{', '.join(open_names())}; see `scfae encoders`."
    )


def open_names() -> list[str]:
    """Return the forms of names that stand for all models of a library, as `hf-text:MODEL`."""
    what = {inputs.PREFIX: "ENCODER"}
    return [f"{prefix}{what.get(prefix, 'MODEL')}" for prefix in _OPEN]


def open_prefix(name: str) -> str:
    """Return the prefix of a name that stands for all models of a library; empty for another."""
    return next((prefix for prefix in _OPEN if name.startswith(prefix)), "")


def list_encoders() -> list[EncoderInfo]:
    """Return every encoder and whether its published weights are on this machine."""
    return [
        EncoderInfo(
            name=entry.name,
            modality=entry.modality,
            accepts=tuple(entry.accepts),
            dim=entry.dim,
            rows_per_second=entry.rows_per_second,
            licence=entry.licence,
            source=entry.source,
            weights_file=entry.weights_file,
            weights_hint=entry.weights_hint,
            is_available=entry.find_here() is not None,
        )
        for entry in entries().values()
    ]


def parse_encoder(text: str) -> EncoderRequest:
    """Take an encoder string apart.

    >>> parse_encoder("wavlm-base-plus@/w/a:b.pt:layer=9")
    EncoderRequest(name='wavlm-base-plus', weights='/w/a:b.pt', options={'layer': 9})
    >>> parse_encoder("hf-text:org/model:feature=cls")
    EncoderRequest(name='hf-text:org/model', weights=None, options={'feature': 'cls'})
    """
    match = _OPTIONS.search(text)
    head = text[: match.start()] if match else text
    name, at, weights = head.partition("@")
    if at and not weights:
        raise ConfigError(f"{text}: nothing after '@'; give a weights file or random:SEED.")
    prefix = open_prefix(name)
    if prefix == inputs.PREFIX:  # whose rest is an encoder's name again
        prefix += open_prefix(name.removeprefix(prefix))
    _, colon, stray = name.removeprefix(prefix).partition(":")
    if not at and colon:
        raise ConfigError(f"{text}: '{stray}' is no option; options are written name=value.")
    options: Options = {}
    for pair in match.group(1).split(",") if match else ():
        key, _, value = pair.partition("=")
        if key in options:
            raise ConfigError(f"{text}: the option '{key}' is given twice.")
        options[key] = _value(value)
    return EncoderRequest(name, weights or None, options)


def load_encoder(
    name: str,
    *,
    weights: str | Path | None = None,
    device: "str | torch.device" = "cpu",
    **options: Any,
) -> "Encoder":
    """Return a loaded encoder.

    Args:
        name: Its name, or an encoder string `NAME[@WEIGHTS][:option=value,…]`.
        weights: A file in the upstream project's own layout, or `random:SEED`; None for the
            published weights on this machine.
        device: Where to put the network.
        **options: The encoder's options.

    Raises:
        UnknownEncoder: If there is none of this name.
        ConfigError: If an option is unknown or out of range.
        WeightsUnavailable: If the weights are not on this machine.
        WeightsMismatch: If they cannot be read or are of another architecture.
    """
    loaded = load_encoders(name, weights=weights, device=device, **options)
    if len(loaded) > 1:
        names = [encoder.spec.canonical for encoder in loaded]
        raise ConfigError(
            f"{name}: is {len(loaded)} encoders, {names[0]} to {names[-1]}; load one of them, or "
            "`load_encoders`."
        )
    return loaded[0]


def load_encoders(
    name: str,
    *,
    weights: str | Path | None = None,
    device: "str | torch.device" = "cpu",
    **options: Any,
) -> "list[Encoder]":
    """Return the encoders of an encoder string that may name several, as `wavlm-base:layer=all`.

    Arguments and errors are those of `load_encoder`.
    """
    request = parse_encoder(name)
    source = request.weights if weights is None else str(weights)
    return _load(find_entry(request.name), source, device, request.options | options)


def load_trainable_encoder(
    name: str,
    weights: str | None,
    options: Options,
    *,
    width: int | None = None,
    device: "str | torch.device" = "cpu",
) -> "Encoder":
    """Return an encoder whose network has every layer that training needs.

    Args:
        name: Its name alone.
        weights: As for `load_encoder`.
        options: The encoder's options.
        width: Of its first stage, for a network of reduced size; None is the published one.
        device: Where to put the network.

    Raises:
        UnknownEncoder, WeightsUnavailable, WeightsMismatch, ConfigError: As for `load_encoder`; or
            there is no such reduced network.
    """
    entry = replace(find_entry(name), is_trainable=True, width=width)
    if width is not None and not entry.has_widths:
        having = ", ".join(one.name for one in entries().values() if one.has_widths)
        raise ConfigError(f"{name}: there is no reduced network of it; there is of {having}.")
    if width is not None and not (weights or "").startswith("random:"):
        raise ConfigError(
            f"{name}: a network of width {width} has no published weights; give random:SEED."
        )
    (loaded, *others) = _load(entry, weights, device, options)
    if others:
        raise ConfigError(f"{name}: is {1 + len(others)} encoders; one of them can be trained.")
    return loaded


def _load(
    entry: EncoderEntry, weights: str | None, device: "str | torch.device", options: Options
) -> "list[Encoder]":
    import torch

    try:
        place = torch.device(device)
    except RuntimeError:
        raise ConfigError(
            f"device: {device!r} is no device; use auto, cpu, cuda or cuda:N."
        ) from None
    loaded = _resolve(entry.loader)(entry, weights, place, options)
    return loaded if isinstance(loaded, list) else [loaded]


def _resolve(reference: str) -> Callable[..., Any]:
    module, _, name = reference.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _value(text: str) -> OptionValue:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False}.get(text.lower(), text)
