"""A Mamba block in plain PyTorch: the selective scan as a loop over time.

Gu and Dao, "Mamba" (arXiv 2312.00752), equations 1 to 3 and section 3.4:

    x, gate = split(linear(u));  x = SiLU(causal depthwise convolution(x))
    dt, B_t, C_t = linear(x);  dt = softplus(linear(dt))
    h_t = exp(dt_t A) h_(t-1) + dt_t B_t x_t;   y_t = C_t h_t + D x_t
    out = linear(y * SiLU(gate))

Causal: what comes after a step, padding too, cannot reach it. The loop is over T, meant for T of
some dozens; no `mamba-ssm` is needed.

Shapes: B samples, T steps, W width, I = expand W inner width, S states of each inner feature.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ScanInputs(NamedTuple):
    """What the scan of one stream needs.

    Attributes:
        decay: exp(dt A), `[B, T, I, S]`.
        drive: dt B x, `[B, T, I, S]`.
        read: C, `[B, T, S]`.
        skip: D x, `[B, T, I]`.
        gate: SiLU of the gate, `[B, T, I]`.
    """

    decay: Tensor
    drive: Tensor
    read: Tensor
    skip: Tensor
    gate: Tensor


class Mamba(nn.Module):
    """One block, from width to width.

    Args:
        width: W.
        num_states: S.
        kernel: Steps of the convolution.
        expand: Inner width over W.
    """

    def __init__(self, width: int, num_states: int = 16, kernel: int = 4, expand: int = 2) -> None:
        super().__init__()
        inner, rank = expand * width, max(1, width // 8)
        self.kernel, self.num_states, self.rank = kernel, num_states, rank
        self.into = nn.Linear(width, 2 * inner, bias=False)
        self.convolution = nn.Conv1d(inner, inner, kernel, groups=inner)
        self.select = nn.Linear(inner, rank + 2 * num_states, bias=False)
        self.step = nn.Linear(rank, inner)
        # softplus(bias) is spread between 0.001 and 0.1, evenly in the logarithm.
        wanted = torch.exp(torch.rand(inner) * math.log(100) + math.log(1e-3))
        with torch.no_grad():
            self.step.bias.copy_(wanted + torch.log(-torch.expm1(-wanted)))
        states = torch.arange(1, num_states + 1, dtype=torch.float32)
        self.log_decay = nn.Parameter(states.log().repeat(inner, 1))
        self.through = nn.Parameter(torch.ones(inner))
        self.out = nn.Linear(inner, width, bias=False)

    @property
    def inner(self) -> int:
        """Inner width, I."""
        return self.out.in_features

    def prepare(self, u: Tensor) -> ScanInputs:
        """Return what the scan needs, from u `[B, T, W]`."""
        x, gate = self.into(u).chunk(2, dim=-1)
        padded = F.pad(x.transpose(1, 2), (self.kernel - 1, 0))
        x = F.silu(self.convolution(padded).transpose(1, 2)).float()
        parts = self.select(x).float().split((self.rank, self.num_states, self.num_states), dim=-1)
        step = F.softplus(self.step(parts[0]).float())
        decay = torch.exp(-step[..., None] * self.log_decay.float().exp())
        drive = (step * x)[..., None] * parts[1][:, :, None, :]
        return ScanInputs(decay, drive, parts[2], self.through * x, F.silu(gate))

    def finish(self, states: Tensor, given: ScanInputs) -> Tensor:
        """Return `[B, T, W]` from the states `[B, T, I, S]`."""
        y = (states * given.read[:, :, None, :]).sum(dim=-1) + given.skip
        out: Tensor = self.out(y * given.gate)
        return out

    def forward(self, u: Tensor) -> Tensor:
        """Return `[B, T, W]` from u `[B, T, W]`."""
        given = self.prepare(u)
        state = torch.zeros_like(given.drive[:, 0])
        states = []
        for t in range(u.shape[1]):
            state = given.decay[:, t] * state + given.drive[:, t]
            states.append(state)
        return self.finish(torch.stack(states, dim=1), given)
