"""What Table 13 is measured on: two encoders of ViT-S's size, alone, with concat and with SCFAE.

Random weights: neither time nor memory depends on them. Each encoder ends in a linear map to 512.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import timm
import torch
from torch import Tensor, nn

from scfae.fusion import Fusion, build_fusion

WIDTH = 512
ENCODER = "vit_small_patch16_224"
PIXELS = 224
NAMES = (
    "Visual encoder only",
    "Audio encoder only",
    "SCFAE only",
    "Baseline forward",
    "Baseline train step",
    "Full SCFAE forward",
    "Full SCFAE train step",
)
"""The rows of Table 13."""


class Whole(nn.Module):
    """Two encoders with a map to 512 each, and a fusion with a head."""

    def __init__(self, visual: nn.Module, audio: nn.Module, fusion: Fusion) -> None:
        super().__init__()
        self.visual, self.audio, self.fusion = visual, audio, fusion

    def forward(self, picture: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and the sum of auxiliary losses."""
        out = self.fusion({"audio": self.audio(sound), "video": self.visual(picture)})
        assert out.logits is not None
        losses = [*out.losses.values()] or [out.logits.new_zeros(())]
        return out.logits, torch.stack(losses).sum()


@dataclass(frozen=True, slots=True)
class Component:
    """One row of the table.

    Attributes:
        name: As printed.
        model: What its parameters are counted of.
        go: Runs it once, at batch 1.
    """

    name: str
    model: nn.Module
    go: Callable[[], object]


class Workload:
    """The rows' models and inputs, each made when it is first needed.

    Args:
        device: `cpu` or `cuda`.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        torch.manual_seed(0)

    def component(self, name: str) -> Component:
        """Return a row, by its printed name."""
        if name == "Visual encoder only":
            return Component(name, self._visual, _forward(self._visual, self._input(3)))
        if name == "Audio encoder only":
            return Component(name, self._audio, _forward(self._audio, self._input(1)))
        if name == "SCFAE only":
            features = {m: torch.randn(1, WIDTH, device=self._device) for m in ("audio", "video")}
            return Component(name, self._scfae_alone, _forward(self._scfae_alone, features))
        model = self._concat if name.startswith("Baseline") else self._scfae
        make = _step if name.endswith("train step") else _forward
        return Component(name, model, make(model, self._input(3), self._input(1)))

    @cached_property
    def _visual(self) -> nn.Module:
        return self._encoder(3)

    @cached_property
    def _audio(self) -> nn.Module:
        return self._encoder(1)

    @cached_property
    def _scfae_alone(self) -> Fusion:
        return self._fusion("scfae")

    @cached_property
    def _scfae(self) -> nn.Module:
        return Whole(self._visual, self._audio, self._scfae_alone)

    @cached_property
    def _concat(self) -> nn.Module:
        return Whole(self._visual, self._audio, self._fusion("concat"))

    def _fusion(self, name: str) -> Fusion:
        fusion = build_fusion(name, {"audio": WIDTH, "video": WIDTH}, num_outputs=2)
        return fusion.to(self._device)

    def _encoder(self, channels: int) -> nn.Module:
        model = timm.create_model(ENCODER, pretrained=False, in_chans=channels, num_classes=WIDTH)
        assert isinstance(model, nn.Module)
        return model.to(self._device)

    def _input(self, channels: int) -> Tensor:
        return torch.randn(1, channels, PIXELS, PIXELS, device=self._device)


def _forward(model: nn.Module, *inputs: Any) -> Callable[[], object]:
    def go() -> object:
        model.eval()
        with torch.no_grad():
            return model(*inputs)

    return go


def _step(model: nn.Module, *inputs: Tensor) -> Callable[[], object]:
    """Return a training step: forward, backward, AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    target = torch.zeros(1, dtype=torch.int64, device=inputs[0].device)

    def go() -> object:
        model.train()
        optimizer.zero_grad()
        logits, auxiliary = model(*inputs)
        loss = nn.functional.cross_entropy(logits, target) + auxiliary
        loss.backward()
        optimizer.step()
        return loss

    return go
