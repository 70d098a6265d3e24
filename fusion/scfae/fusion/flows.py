"""Glow's flow on each step of a latent alone: invertible, with the logarithm of its determinant.

Kingma and Dhariwal, "Glow" (NeurIPS 2018), as DiCMoR uses it: activation norm, an invertible 1x1
convolution, an affine coupling; nothing mixes steps. The norm begins as the identity, where Glow
takes the first batch's statistics; a coupling's last layer begins at zero, as there, and has no
scale; those before begin as torch's own.

Shapes: B samples, S steps, W width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class FlowStep(nn.Module):
    """Norm, mixing of channels, coupling.

    Args:
        width: W, even.
        hidden: Width of the coupling's layers.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(width))
        self.log_scale = nn.Parameter(torch.zeros(width))
        self.mix = nn.Parameter(torch.linalg.qr(torch.randn(width, width))[0])
        half = width // 2
        self.coupling = nn.Sequential(
            nn.Linear(half, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.last = nn.Linear(hidden, 2 * half)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return `[B, S, W]` and the log-determinant of norm and coupling of each sample, `[B]`."""
        x = (x + self.shift) * self.log_scale.exp()
        x = x @ self.mix.T
        kept, changed = x.chunk(2, dim=-1)
        log_s, t = self._coupled(kept)
        changed = (changed + t) * log_s.exp()
        scaled = log_s.sum(dim=(1, 2)) + x.shape[1] * self.log_scale.sum()
        return torch.cat([kept, changed], dim=-1), scaled

    def inverse(self, z: Tensor, unmix: Tensor) -> Tensor:
        """Return x `[B, S, W]` with forward(x) = z.

        Args:
            z: `[B, S, W]`.
            unmix: The inverse of `mix`.
        """
        kept, changed = z.chunk(2, dim=-1)
        log_s, t = self._coupled(kept)
        z = torch.cat([kept, changed * (-log_s).exp() - t], dim=-1)
        z = z @ unmix.T
        return z * (-self.log_scale).exp() - self.shift

    def _coupled(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        log_s, t = self.last(self.coupling(kept)).chunk(2, dim=-1)
        return F.logsigmoid(log_s + 2), t


class Flow(nn.Module):
    """Steps one after the other.

    The steps' mixings are inverted, and their determinants taken, all at once.

    Args:
        width: W, even.
        num_steps: Steps.
        hidden: Width of the couplings' layers.
    """

    def __init__(self, width: int, num_steps: int, hidden: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(FlowStep(width, hidden) for _ in range(num_steps))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return z `[B, S, W]` and the log-determinant `[B]`, from x `[B, S, W]`."""
        mixed = torch.linalg.slogdet(self._mixings()).logabsdet.sum()
        total = x.new_zeros(len(x)) + x.shape[1] * mixed
        for step in self.steps:
            x, one = step(x)
            total = total + one
        return x, total

    def transform(self, x: Tensor) -> Tensor:
        """Return z `[B, S, W]` alone, from x `[B, S, W]`."""
        for step in self.steps:
            x, _ = step(x)
        return x

    def inverse(self, z: Tensor) -> Tensor:
        """Return x `[B, S, W]` from z `[B, S, W]`."""
        unmix = torch.linalg.inv(self._mixings())
        for step, inverse in zip(reversed(self.steps), unmix.flip(0), strict=True):
            assert isinstance(step, FlowStep)
            z = step.inverse(z, inverse)
        return z

    def _mixings(self) -> Tensor:
        return torch.stack([step.mix for step in self.steps if isinstance(step, FlowStep)])
