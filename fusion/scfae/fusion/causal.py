"""Causal self-attention, and a residual perceptron, as the MulT family has them.

Shapes: B samples, T rows, W width.
"""

from torch import Tensor, nn

from .attention import SelfAttentionLayer
from .perceptron import MLP


class CausalEncoder(nn.Module):
    """Self-attention layers in which a row hears itself and what came before.

    Args:
        width: W.
        num_heads: Attention heads.
        num_layers: Layers.
        dropout: In each.
    """

    def __init__(self, width: int, num_heads: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            SelfAttentionLayer(width, num_heads, dropout=dropout) for _ in range(num_layers)
        )

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        """Return `[B, T, W]`, zero where not valid."""
        for layer in self.layers:
            x = layer(x, valid, is_causal=True)
        return x.masked_fill(~valid[:, :, None], 0.0)


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
