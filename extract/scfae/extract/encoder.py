"""An encoder: a frozen network, its official pre-processing, and where both come from.

Shapes: B windows, N tokens of a window, R rows kept of a window, T rows of a file, D features.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from scfae.store.column import DType
from scfae.store.errors import DecodeError, MediaNotFound, StreamMissing

from .manifest import media_kind
from .media import decode
from .recipe import MediaKind, Recipe


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """What an encoder is, as a column records it.

    Attributes:
        name: Its name.
        modality: What its rows say: video, audio or image.
        accepts: Kinds of media it reads, the preferred one first.
        dim: Features a row, D.
        rows_per_second: Rows a second of media at these options; None where it has no meaning.
        recipe: Every constant of the pre-processing.
        packages: Distributions whose version may change its numbers.
        options: The options in force.
        licence: Licence of the weights.
        source: Upstream project and file.
        weights: Where the weights came from, as the user gave it, or `published`.
        weights_sha256: Of the weights file; None for random weights.
        is_random: The weights are noise.
    """

    name: str
    modality: str
    accepts: tuple[MediaKind, ...]
    dim: int
    rows_per_second: float | None
    recipe: dict[str, Any]
    licence: str
    source: str
    packages: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    weights: str = "published"
    weights_sha256: str | None = None
    is_random: bool = False

    @property
    def canonical(self) -> str:
        """The encoder's string without its weights: `NAME[:option=value,…]`, options sorted."""
        options = ",".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.name}:{options}" if options else self.name


class Encoder(ABC):
    """A loaded encoder.

    Args:
        spec: What it is.
        module: Its network, in evaluation mode, float32.
        device: Where the network is.

    Attributes:
        pads_batches: Batches may be filled up to their fixed size; not where windows have lengths
            of their own, so that most batches would be filling.
        stored_as: The type that holds its rows exactly; None where the user chooses.
        blocks: Parts of its network that learn or rest as a whole; see `trainable.blocks_of`.
        unused: Parameters that its rows do not depend on, so that they cannot learn.
    """

    pads_batches: bool = True
    stored_as: DType | None = None
    blocks: ClassVar[tuple[str, ...]] = ()
    unused: ClassVar[tuple[str, ...]] = ()

    def __init__(self, spec: EncoderSpec, module: nn.Module, device: torch.device) -> None:
        self.spec = spec
        self.module = module.to(device).eval().requires_grad_(False)
        self.device = device

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return tokens `[B, N, D]` from what the upstream model's own forward takes."""

    @abstractmethod
    def pool(self, tokens: Tensor) -> Tensor:
        """Return the encoder's official pooled feature `[B, D]` from tokens `[B, N, D]`."""

    @abstractmethod
    def recipe(self, kind: MediaKind) -> Recipe:
        """Return the pre-processing of one kind of media."""

    def prepare(self, windows: Tensor) -> Tensor:
        """Return what `forward` takes from a batch of windows, as the recipe cuts them."""
        return windows

    def encode(self, windows: Tensor) -> Tensor:
        """Return the rows of windows, `[B, R, D]`; one pooled row a window unless overridden."""
        with torch.autocast(self.device.type, enabled=False):
            prepared = self.prepare(windows)
        return self.pool(self.forward(prepared).float())[:, None]

    def extract(self, path: str | Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
        """Return one file's rows, float32 `[T, D]`, and their times in seconds, float64 `[T, 2]`.

        Raises:
            MediaNotFound: If there is no such file.
            DecodeError: If it cannot be decoded.
            StreamMissing: If it has nothing that this encoder reads.
        """
        kind = media_kind(path)
        chosen: MediaKind = next((k for k in self.spec.accepts if k == kind), self.spec.accepts[0])
        if not Path(path).exists():
            raise MediaNotFound(f"file not found: {path}")
        fate = decode(path, {self.spec.name: self.recipe(chosen)}).fates[self.spec.name]
        if fate.status == "failed":
            raise DecodeError(str(fate.reason))
        if fate.status == "missing":
            raise StreamMissing(f"{path}: {fate.reason}")
        rows = []
        with torch.inference_mode():
            for window in fate.windows:
                windows = torch.from_numpy(np.array(window.array))[None].to(self.device)
                rows.append(self.encode(windows)[0, window.kept].float().cpu().numpy())
        return np.concatenate(rows), np.concatenate([window.times for window in fate.windows])
