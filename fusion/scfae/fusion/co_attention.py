"""Co-attention: a stream attends to itself, to the others, and is fed forward; norm of each sum.

The layer of METER (`BertCrossLayer`, itself first) and of AVoiD-DF's decoder (the others first).
Deviations from both: keys without bias; no dropout of attention weights.

Shapes: B samples, T tokens of the stream, K tokens of the others, W width.
"""

from torch import Tensor, nn

from .attention import Attention
from .perceptron import MLP


class CoAttentionLayer(nn.Module):
    """Self-attention, cross-attention and feed-forward network; residual, post-norm.

    Args:
        width: W.
        num_heads: Heads of both.
        dropout: After each of the three.
        cross_first: Cross-attention comes before self-attention.
    """

    def __init__(
        self, width: int, num_heads: int, dropout: float, *, cross_first: bool = False
    ) -> None:
        super().__init__()
        self.cross_first = cross_first
        self.own = Attention(width, num_heads)
        self.cross = Attention(width, num_heads)
        self.feed_forward = MLP(width, 4 * width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, valid: Tensor, others: Tensor, their: Tensor) -> Tensor:
        """Return `[B, T, W]` from tokens `[B, T, W]` and others `[B, K, W]`, each with its mask."""
        if self.cross_first:
            heard = self.norms[0](tokens + self.dropout(self.cross(tokens, others, their)))
            heard = self.norms[1](heard + self.dropout(self.own(heard, heard, valid)))
        else:
            heard = self.norms[0](tokens + self.dropout(self.own(tokens, tokens, valid)))
            heard = self.norms[1](heard + self.dropout(self.cross(heard, others, their)))
        refined: Tensor = self.norms[2](heard + self.dropout(self.feed_forward(heard)))
        return refined
