"""A Mamba block in plain PyTorch: the selective scan as a loop over time.

Gu and Dao, "Mamba" (arXiv 2312.00752), equations 1 to 3 and section 3.4:

    x, gate = split(linear(u));  x = SiLU(causal depthwise convolution(x))
    dt, B_t, C_t = linear(x);  dt = softplus(linear(dt))
    h_t = exp(dt_t A) h_(t-1) + dt_t B_t x_t;   y_t = C_t h_t + D x_t
    out = linear(y * SiLU(gate))

Causal: what comes after a step, padding too, cannot reach it. The loop is over T, meant for T of
some dozens; no `mamba-ssm` is needed. What is of size `[B, I, S]` is made step by step: for all
steps at once it would not fit a processor's cache, and a training step took twice as long.

Shapes: B samples, T steps, W width, I = expand W inner width, S states of each inner feature.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ScanInputs(NamedTuple):
    """What the scan of one stream needs; its methods are of one step t.

    Attributes:
        step: dt, `[B, T, I]`.
        rate: -A, `[I, S]`.
        drive: dt x, `[B, T, I]`.
        write: B, `[B, T, S]`.
        read: C, `[B, T, S]`.
        skip: D x, `[B, T, I]`.
        gate: SiLU of the gate, `[B, T, I]`.
    """

    step: Tensor
    rate: Tensor
    drive: Tensor
    write: Tensor
    read: Tensor
    skip: Tensor
    gate: Tensor

    def enters(self, t: int) -> Tensor:
        """Return dt B x, what the state gets, `[B, I, S]`."""
        return self.drive[:, t, :, None] * self.write[:, t, None, :]

    def decay(self, t: int) -> Tensor:
        """Return exp(dt A), what is left of the state, `[B, I, S]`."""
        return torch.exp(-self.step[:, t, :, None] * self.rate)

    def leaves(self, t: int, state: Tensor) -> Tensor:
        """Return C h, what a state `[B, I, S]` says, `[B, I]`."""
        return (state * self.read[:, t, None, :]).sum(dim=-1)


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
        return ScanInputs(
            step=step,
            rate=self.log_decay.float().exp(),
            drive=step * x,
            write=parts[1],
            read=parts[2],
            skip=self.through * x,
            gate=F.silu(gate),
        )

    def finish(self, said: Sequence[Tensor], given: ScanInputs) -> Tensor:
        """Return `[B, T, W]` from what the states of all steps said, T times `[B, I]`."""
        y = torch.stack(list(said), dim=1) + given.skip
        out: Tensor = self.out(y * given.gate)
        return out

    def forward(self, u: Tensor) -> Tensor:
        """Return `[B, T, W]` from u `[B, T, W]`."""
        given = self.prepare(u)
        state = given.enters(0)
        said = [given.leaves(0, state)]
        for t in range(1, u.shape[1]):
            state = given.decay(t) * state + given.enters(t)
            said.append(given.leaves(t, state))
        return self.finish(said, given)
