"""Causal self-attention, and a residual perceptron, as the MulT family has them.

A transformer scales what enters, adds the time code and ends with a norm, each time that it is run,
as in MulT's released code.

Shapes: B samples, T rows, W width.
"""

from torch import Tensor, nn

from .attention import SelfAttentionLayer, embed
from .perceptron import MLP


class CausalEncoder(nn.Module):
    """Self-attention layers in which a row hears itself and what came before.

    Args:
        width: W, even.
        num_heads: Attention heads.
        num_layers: Layers.
        dropout: In each.
    """

    def __init__(self, width: int, num_heads: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            SelfAttentionLayer(width, num_heads, dropout=dropout, activation="relu")
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Return `[B, T, W]`, zero where not valid."""
        x = embed(x)
        for layer in self.layers:
            x = layer(x, valid, is_causal=True)
        normed: Tensor = self.norm(x)
        return normed.masked_fill(~valid[:, :, None], 0.0)


class ResidualMLP(nn.Module):
    """`x + W2 relu(W1 x)`.

    Args:
        width: Of x.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = MLP(width, width, width, activation="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Return `[..., width]`."""
        y: Tensor = x + self.mlp(x)
        return y
