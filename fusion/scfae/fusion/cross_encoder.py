"""One stream hears another: the cross-modal transformer of MulT and of methods built of its parts.

Both streams are scaled and get the time code, each time that it is run; keys stay as they came in,
from the first layer to the last; a norm ends it. Deviation of all that use it: keys have a norm of
their own and no bias.

Shapes: B samples, T rows of the stream that hears, K of the one heard, W width.
"""

from torch import Tensor, nn

from .attention import CrossAttentionLayer, embed


class CrossEncoder(nn.Module):
    """Layers in which a stream attends to another, then a norm.

    Args:
        width: W, even, a multiple of `num_heads`.
        num_heads: Attention heads.
        num_layers: Layers.
        dropout: In each.
    """

    def __init__(self, width: int, num_heads: int, num_layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            CrossAttentionLayer(width, num_heads, dropout, activation="relu")
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self, tokens: Tensor, others: Tensor, valid: Tensor, *, is_causal: bool = False
    ) -> Tensor:
        """Return `[B, T, W]`.

        Args:
            tokens: The stream that hears, `[B, T, W]`.
            others: The one heard, `[B, K, W]`.
            valid: bool `[B, K]`.
            is_causal: Row t hears rows up to t alone.
        """
        tokens, others = embed(tokens), embed(others)
        for layer in self.layers:
            tokens = layer(tokens, others, valid, is_causal=is_causal)
        normed: Tensor = self.norm(tokens)
        return normed
