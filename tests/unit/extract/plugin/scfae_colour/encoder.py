"""The network, its weights layout and its pre-processing."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from scfae.extract import Encoder, EncoderEntry, MediaKind
from scfae.extract.options import check_options
from scfae.extract.pictures import PICTURE_OPTIONS, PictureRecipe
from scfae.extract.weights import load_network

from .pixels import shrink


class MeanColour(Encoder):
    """`forward` takes `[B, 3, 4, 4]` in [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """Return places as tokens `[B, 16, 3]`."""
        return x.flatten(2).transpose(1, 2)

    def pool(self, tokens: Tensor) -> Tensor:
        """Return four numbers of the mean colour `[B, 4]`."""
        mixed: Tensor = self.module(tokens.mean(dim=1))
        return mixed

    def prepare(self, windows: Tensor) -> Tensor:
        """Return what `forward` takes from bytes."""
        return windows.float() / 255.0

    def recipe(self, kind: MediaKind) -> PictureRecipe:
        """Return the pre-processing, which runs in another process."""
        return PictureRecipe(kind, self.spec.recipe["fps"], shrink)


def load(
    entry: EncoderEntry, weights: str | None, device: torch.device, options: Mapping[str, Any]
) -> Encoder:
    """Return the encoder, as `scfae.extract.load_encoder` asks for it."""
    values, given = check_options(entry.name, options, PICTURE_OPTIONS)
    module, found = load_network(entry, weights, build=lambda: nn.Linear(3, 4))
    spec = entry.spec(
        found,
        options=given,
        modality=values["modality"],
        rows_per_second=values["fps"],
        recipe={"fps": values["fps"], "side": 4, "feature": "mixed mean colour"},
        packages=("torch", "pillow", "av"),
    )
    return MeanColour(spec, module, device)
