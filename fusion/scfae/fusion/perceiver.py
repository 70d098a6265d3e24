"""Perceiver: a few latent vectors read the tokens of all modalities, again and again.

After Jaegle et al. (ICML 2021), as in github.com/lucidrains/perceiver-pytorch. Learned latents; in
each of `depth` rounds they attend to all tokens (one head of width 64), then to one another (8
heads), each followed by a gated feed-forward network (GEGLU, times 4); all residual and pre-norm.
Then the mean over the latents, layer norm and a linear layer. A token is its features beside their
position in Fourier features, projected, plus a vector of its modality.

Deviations: modalities of unequal width need a projection each, and the vector that tells them apart
takes the place of padding to one width; positions run from -1 to 1 over a sample's own length, not
over the padded one; queries and values have biases; 32 latents of 256 by default, not 512 of 512. A
sample with nothing present hears zeros.

Shapes: B samples, T steps of a modality, K tokens of all, N latents, W their width.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention
from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .output import FusionOutput
from .pooling import masked_mean
from .presence import Inputs


class GatedFeedForward(nn.Module):
    """Layer norm, `(W1 x) * gelu(W2 x)` of width 4 W, and back to W.

    Args:
        width: W.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.enter = nn.Linear(width, 8 * width)
        self.leave = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return `[..., W]` from `[..., W]`."""
        value, gate = self.enter(self.norm(x)).chunk(2, dim=-1)
        y: Tensor = self.leave(value * F.gelu(gate))
        return y


class PerceiverRound(nn.Module):
    """Latents read tokens, then one another.

    Args:
        width: Width W of latents and tokens.
        num_self: Self-attention blocks after the one cross-attention.
        num_heads: Heads of self-attention.
        head_width: Width of each head, of cross-attention's one too.
    """

    def __init__(self, width: int, num_self: int, num_heads: int, head_width: int) -> None:
        super().__init__()
        self.norm_latents = nn.LayerNorm(width)
        self.norm_tokens = nn.LayerNorm(width)
        self.read = Attention(width, 1, inner_width=head_width)
        self.think = GatedFeedForward(width)
        self.self_norm = nn.ModuleList(nn.LayerNorm(width) for _ in range(num_self))
        self.self_attention = nn.ModuleList(
            Attention(width, num_heads, inner_width=num_heads * head_width) for _ in range(num_self)
        )
        self.self_think = nn.ModuleList(GatedFeedForward(width) for _ in range(num_self))

    def forward(self, latents: Tensor, tokens: Tensor, valid: Tensor) -> Tensor:
        """Return latents `[B, N, W]` from them, tokens `[B, K, W]` and valid bool `[B, K]`."""
        latents = latents + self.read(self.norm_latents(latents), self.norm_tokens(tokens), valid)
        latents = latents + self.think(latents)
        everyone = torch.ones(latents.shape[:2], dtype=torch.bool, device=latents.device)
        for norm, attention, think in zip(
            self.self_norm, self.self_attention, self.self_think, strict=True
        ):
            normed = norm(latents)
            latents = latents + attention(normed, normed, everyone)
            latents = latents + think(latents)
        return latents


class Perceiver(Fusion):
    """Latents over the tokens of all modalities.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        head: `linear` or `mlp`.
        width: Width W of latents and tokens.
        num_latents: Latents N.
        depth: Rounds; each has weights of its own.
        num_self: Self-attention blocks a round.
        num_heads: Heads of self-attention.
        head_width: Width of each head.
        num_bands: Frequencies of the position's Fourier features.
        max_frequency: Twice the highest of them, which is in periods over a sequence.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        head: str = "linear",
        width: int = 256,
        num_latents: int = 32,
        depth: int = 4,
        num_self: int = 1,
        num_heads: int = 8,
        head_width: int = 64,
        num_bands: int = 6,
        max_frequency: float = 10.0,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, head=head, check_finite=check_finite)
        del self.poolings  # the latents pool
        sizes = (width, num_latents, depth, num_heads, head_width, num_bands)
        if min(sizes) < 1 or num_self < 0:
            raise ValueError(f"width and the other sizes: must be at least 1, not {sizes}")
        if not 0 < max_frequency < math.inf:
            raise ValueError(f"max_frequency: must be positive, not {max_frequency}")
        self.num_bands = num_bands
        self.max_frequency = max_frequency
        code = 2 * num_bands + 1
        self.project = nn.ModuleDict({m: nn.Linear(d + code, width) for m, d in self.dims.items()})
        self.kind = nn.ParameterDict(
            {m: nn.Parameter(torch.randn(width) * 0.02) for m in self.modalities}
        )
        self.latents = nn.Parameter(torch.randn(num_latents, width))
        self.rounds = nn.ModuleList(
            PerceiverRound(width, num_self, num_heads, head_width) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.add_head(width)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, W]`; `z` holds the mean of each modality's tokens, zero if absent.

        For retrieval embed one modality at a time: `fused` with all others absent.
        """
        streams = {m: self._tokens(m, inputs) for m in self.modalities}
        tokens = torch.cat(list(streams.values()), dim=1)
        valid = torch.cat([inputs.valid[m] for m in self.modalities], dim=1)
        latents = self.latents.expand(len(tokens), -1, -1)
        for layer in self.rounds:
            latents = layer(latents, tokens, valid)
        z = {m: masked_mean(x, inputs.valid[m]) for m, x in streams.items()}
        return FusionOutput(fused=self.norm(latents.mean(dim=1)), z=z)

    def _tokens(self, m: str, inputs: Inputs) -> Tensor:
        rows, valid = inputs.features[m], inputs.valid[m]
        code = position_code(valid, self.num_bands, self.max_frequency).to(rows.dtype)
        tokens = self.project[m](torch.cat([rows, code], dim=2)) + self.kind[m]
        kept: Tensor = tokens.masked_fill(~valid[:, :, None], 0.0)
        return kept


def position_code(valid: Tensor, num_bands: int, max_frequency: float) -> Tensor:
    """Return `[B, T, 2 num_bands + 1]`: sines, cosines and the position itself.

    The position goes from -1 at the first to 1 at the last valid step of each sample; a sequence of
    one step is at -1. Frequencies rise evenly from 1 to half of `max_frequency`.

    Args:
        valid: bool `[B, T]`.
        num_bands: Frequencies.
        max_frequency: Twice the highest.
    """
    last = (valid.sum(dim=1, keepdim=True) - 1).clamp(min=1)
    steps = torch.arange(valid.shape[1], device=valid.device)
    position = (2.0 * steps / last - 1.0)[:, :, None]
    rates = torch.linspace(1.0, max_frequency / 2, num_bands, device=valid.device)
    angles = position * rates * math.pi
    return torch.cat([angles.sin(), angles.cos(), position], dim=2)


INFOS = (
    FusionInfo(
        name="perceiver",
        method=Perceiver,
        paper_row="Perceiver",
        source="Jaegle et al., ICML 2021, as ported in lucidrains/perceiver-pytorch",
        faithfulness="port",
        missing="its tokens are not read",
        deviations=(
            "A projection and a vector for each modality in place of padding to one width.",
            "Positions over a sample's own length.",
            "Queries and values have biases.",
            "32 latents of width 256 by default, not 512 of 512.",
        ),
        recipe=TrainingRecipe(lr=1e-3, weight_decay=0.01, source="ours"),
    ),
)
