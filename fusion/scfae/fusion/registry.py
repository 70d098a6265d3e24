"""Fusion methods by name. A new method is one file with `INFOS`, and its line of `_MODULES`."""

import difflib
import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from .base import Fusion, check_dims
from .info import FusionInfo

_MODULES = (
    "scfae_variants",
    "concat",
    "unimodal",
    "linear",
    "gated",
    "lmf",
    "mult",
    "bottleneck",
    "cross_attention",
    "cmmp",
    "uavm",
    "perceiver",
    "drfuse",
    "meter",
    "mds",
    "vfd",
    "emo_foren",
    "avoid_df",
    "apivr",
    "map_ivr",
    "aadml",
    "macb_df",
    "xmodal_distill",
    "dual_interaction",
    "align_maskrecon",
    "momke",
    "mculora",
    "euar",
    "mmin",
    "gcnet",
    "coupled_mamba",
    "weight_merge",
    "misa",
    "mctn",
    "mamba_ltc_align",
    "dlf",
    "imder",
    "dicmor",
)
"""Modules of this folder whose `INFOS` are offered; the order is that of `list_fusions`."""


_MAY_BE_ZERO = frozenset(
    ("fusion_layer", "matched_label", "num_own", "num_refiner_blocks", "num_self", "num_shared")
)
"""Options that are a number of which none is a choice, or a place."""


@cache
def list_fusions() -> tuple[FusionInfo, ...]:
    """Return every fusion method."""
    found: list[FusionInfo] = []
    for name in _MODULES:
        found.extend(importlib.import_module(f".{name}", __package__).INFOS)
    return tuple(found)


def fusion_info(name: str) -> FusionInfo:
    """Return one fusion method.

    Raises:
        ValueError: If there is none of this name; the message suggests near names.
    """
    for info in list_fusions():
        if info.name == name:
            return info
    names = [info.name for info in list_fusions()]
    raise ValueError(f"fusion: there is no method {name!r}.{_near(name, names)}")


def build_fusion(
    name: str, dims: Mapping[str, int], num_outputs: int | None = None, **options: Any
) -> Fusion:
    """Return a fusion method.

    Args:
        name: One of `list_fusions()`.
        dims: Width of each modality, in order.
        num_outputs: Outputs of its head; None builds none.
        **options: The method's own options.

    Raises:
        ValueError: If the name or an option is unknown, an option is out of range, or the method
            does not take that many modalities.
        TypeError: If `dims` is no mapping of names or an option is of the wrong type.
    """
    info = fusion_info(name)
    for option in options:
        if option not in info.options:
            hint = _near(option, list(info.options))
            raise ValueError(f"{option}: {name} has no such option.{hint}")
    check_dims(dims)
    _check_numbers(info, options)
    info.check_modalities(len(dims))
    try:
        return info.method(dims, num_outputs=num_outputs, **options)
    except TypeError as error:
        # An option of the wrong type fails wherever it is first reckoned with.
        given = ", ".join(f"{option}={value!r}" for option, value in options.items())
        if not given:
            raise
        raise TypeError(f"{name}: an option is of the wrong type ({given}): {error}") from error


def _check_numbers(info: FusionInfo, options: Mapping[str, Any]) -> None:
    """Refuse widths and counts of nothing, which would build, or fail in some layer."""
    for option, value in options.items():
        counts = option == "width" or isinstance(info.defaults[option], int)
        least = 0 if option in _MAY_BE_ZERO else 1
        if counts and isinstance(value, int) and not isinstance(value, bool) and value < least:
            raise ValueError(f"{option}: must be at least {least}, not {value}")


def _near(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(str(word).lower(), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{hint} Known: {', '.join(known)}."
