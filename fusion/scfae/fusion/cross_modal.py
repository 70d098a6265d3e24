"""The body of MulT: every modality hears each other one, then itself; the last steps side by side.

Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences" (ACL 2019), on
streams of one width that are already there. Deviations: keys have a norm of their own and no bias;
no transformer is causal; one rate of dropout, none of embeddings or attention's weights.

Shapes: B samples, T steps of one stream, W width, M modalities.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from .attention import SelfAttentionLayer, embed
from .cross_encoder import CrossEncoder
from .perceptron import MLP


class CrossModalBody(nn.Module):
    """Cross-modal transformers of each ordered pair, a transformer of each modality, an MLP.

    Args:
        modalities: Names, at least two.
        width: W, even, a multiple of `num_heads`.
        num_heads: Attention heads.
        num_layers: Layers of each cross-modal transformer; those of a modality have at least 3.
        dropout: In every layer.

    Attributes:
        output_dim: M (M - 1) W.
    """

    def __init__(
        self,
        modalities: Sequence[str],
        width: int,
        *,
        num_heads: int = 8,
        num_layers: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        wide = (len(self.modalities) - 1) * width
        self.output_dim = len(self.modalities) * wide
        self.cross = nn.ModuleDict(
            {
                f"{k}->{m}": CrossEncoder(width, num_heads, num_layers, dropout)
                for m in self.modalities
                for k in self.modalities
                if k != m
            }
        )
        self.own = nn.ModuleDict(
            {
                m: nn.ModuleList(
                    SelfAttentionLayer(wide, num_heads, dropout=dropout, activation="relu")
                    for _ in range(max(num_layers, 3))
                )
                for m in self.modalities
            }
        )
        self.own_norm = nn.ModuleDict({m: nn.LayerNorm(wide) for m in self.modalities})
        self.mlp = MLP(
            self.output_dim, self.output_dim, self.output_dim, activation="relu", dropout=dropout
        )

    def forward(
        self, streams: Mapping[str, Tensor], valid: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return `[B, M (M - 1) W]`, and each modality's last step `[B, (M - 1) W]`.

        Args:
            streams: For each modality `[B, T, W]`, zero where not valid.
            valid: For each modality bool `[B, T]`, a prefix of each row.
        """
        last = {}
        for m in self.modalities:
            heard = [
                self.cross[f"{k}->{m}"](streams[m], streams[k], valid[k])
                for k in self.modalities
                if k != m
            ]
            x = embed(torch.cat(heard, dim=2))
            own = self.own[m]
            assert isinstance(own, nn.ModuleList)
            for layer in own:
                x = layer(x, valid[m])
            x = self.own_norm[m](x)
            place = (valid[m].sum(dim=1) - 1).clamp(min=0)
            end = x[torch.arange(len(x), device=x.device), place]
            last[m] = end.masked_fill(~valid[m].any(dim=1)[:, None], 0.0)
        joined = torch.cat([last[m] for m in self.modalities], dim=1)
        return joined + self.mlp(joined), last
