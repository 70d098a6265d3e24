"""Fusion methods by name. A new method is one file and one line of `_METHODS`."""

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .base import Fusion
from .concat import Concat
from .cross_attention import CrossAttention
from .scfae import SCFAE


@dataclass(frozen=True, slots=True)
class FusionInfo:
    """What a fusion method is.

    Attributes:
        name: What `build_fusion` takes.
        method: The class.
        paper_row: The row of the paper's tables that it stands for.
        source: Where it comes from.
        faithfulness: `code` and `text`: after the published code or text; `substitute`: ours.
        missing: What it does when a modality is missing.
    """

    name: str
    method: type[Fusion]
    paper_row: str
    source: str
    faithfulness: Literal["code", "text", "substitute"]
    missing: str

    @property
    def options(self) -> tuple[str, ...]:
        """The options that `build_fusion` passes on."""
        return tuple(
            name
            for name, parameter in inspect.signature(self.method).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name != "num_outputs"
        )


_METHODS = (
    FusionInfo(
        name="scfae",
        method=SCFAE,
        paper_row="SCFAE (Ours)",
        source="arXiv 2410.15475v2, section 4 and appendix A",
        faithfulness="text",
        missing="its specific part, and the shared part that comes from it, are zero; no loss",
    ),
    FusionInfo(
        name="concat",
        method=Concat,
        paper_row="Concat",
        source="plain baseline",
        faithfulness="substitute",
        missing="its vector is zero and its presence bit is 0",
    ),
    FusionInfo(
        name="cross_attention",
        method=CrossAttention,
        paper_row="Cross-Attention (4-Layers)",
        source="after AVoiD-DF's decoder (Yang et al., TIFS 2023)",
        faithfulness="text",
        missing="its tokens are no keys and its stream's mean is zero",
    ),
)


def list_fusions() -> tuple[FusionInfo, ...]:
    """Return every fusion method."""
    return _METHODS


def fusion_info(name: str) -> FusionInfo:
    """Return one fusion method.

    Raises:
        ValueError: If there is none of this name; the message suggests near names.
    """
    for info in _METHODS:
        if info.name == name:
            return info
    names = [info.name for info in _METHODS]
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
        ValueError: If the name or an option is unknown, or an option is out of range.
    """
    info = fusion_info(name)
    for option in options:
        if option not in info.options:
            hint = _near(option, list(info.options))
            raise ValueError(f"{option}: {name} has no such option.{hint}")
    return info.method(dims, num_outputs=num_outputs, **options)


def _near(word: str, known: list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"{hint} Known: {', '.join(known)}."
