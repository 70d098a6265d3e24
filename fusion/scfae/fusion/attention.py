"""Attention over ragged sequences: padding is no key, and nothing present means nothing heard.

What is padding among the queries is computed all the same and is for the caller to drop; no key
that is masked gets any weight, whatever it holds.

No layer drops attention's weights: dropout is on what is heard, and in the feed-forward network.

Shapes: B samples, T queries, K keys, W model width.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .perceptron import MLP

NORMS = ("pre", "post")


class Attention(nn.Module):
    """Multi-head attention with a mask of keys, without norm or residual.

    Keys have no bias: it shifts all scores of a query alike, the softmax would cancel it, and it
    would never learn. A sample without any valid key hears zeros, then the output's bias.

    Args:
        width: Model width W, of queries and output.
        num_heads: Heads.
        key_width: Width of keys and values; None is W.
        inner_width: Width of all heads together; None is W.

    Raises:
        ValueError: If there is no head, or the inner width is no multiple of their number.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        key_width: int | None = None,
        inner_width: int | None = None,
    ) -> None:
        super().__init__()
        inner, key_width = inner_width or width, key_width or width
        _check_heads(num_heads)
        if inner % num_heads:
            raise ValueError(f"width: {inner} is no multiple of {num_heads} heads")
        self.num_heads = num_heads
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(key_width, inner, bias=False)
        self.value = nn.Linear(key_width, inner)
        self.out = nn.Linear(inner, width)

    def forward(
        self,
        queries: Tensor,
        keys: Tensor,
        valid: Tensor,
        *,
        values: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """Attend.

        Args:
            queries: `[B, T, W]`.
            keys: `[B, K, key_width]`.
            valid: bool `[B, K]`.
            values: `[B, K, key_width]`; None is `keys`.
            is_causal: Query t hears only keys up to t; where there are n more keys, up to t + n.

        Returns:
            `[B, T, W]`.
        """
        values = keys if values is None else values
        seen = valid[:, None, None, :]
        if is_causal:
            past = torch.ones(queries.shape[1], keys.shape[1], dtype=torch.bool, device=keys.device)
            seen = seen & past.tril(max(0, keys.shape[1] - queries.shape[1]))
        heads = [self.query(queries), self.key(keys), self.value(values)]
        query, key, value = (self._split(x) for x in heads)
        # A query without a key sees all of them, and what it heard is then dropped: softmax over
        # nothing is NaN.
        hears = seen.any(dim=-1, keepdim=True)
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=seen | ~hears)
        heard = heard.masked_fill(~hears, 0.0)
        attended: Tensor = self.out(heard.transpose(1, 2).flatten(2))
        return attended

    def _split(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], self.num_heads, -1).transpose(1, 2)


class SelfAttentionLayer(nn.Module):
    """A transformer encoder layer: self-attention and a feed-forward network, both residual.

    Args:
        width: Model width W.
        num_heads: Attention heads.
        feed_forward: Width of the hidden layer; None is 4 W.
        dropout: After attention and in the feed-forward network.
        norm: `pre`: of what goes into a sublayer; `post`: of the sum that comes out, as in the
            first transformer and `nn.TransformerEncoderLayer`.
        activation: Of the feed-forward network.

    Raises:
        ValueError: If the norm is neither.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        feed_forward: int | None = None,
        dropout: float = 0.1,
        norm: str = "pre",
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        check_norm(norm)
        self.is_pre = norm == "pre"
        self.attention = Attention(width, num_heads)
        self.feed_forward = MLP(
            width, feed_forward or 4 * width, width, activation=activation, dropout=dropout
        )
        self.norm_attention = nn.LayerNorm(width)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, valid: Tensor, *, is_causal: bool = False) -> Tensor:
        """Return `[B, T, W]` from tokens `[B, T, W]` and valid bool `[B, T]`."""
        if self.is_pre:
            normed = self.norm_attention(tokens)
            heard = self.attention(normed, normed, valid, is_causal=is_causal)
            tokens = tokens + self.dropout(heard)
            refined: Tensor = tokens + self.dropout(
                self.feed_forward(self.norm_feed_forward(tokens))
            )
            return refined
        heard = self.attention(tokens, tokens, valid, is_causal=is_causal)
        tokens = self.norm_attention(tokens + self.dropout(heard))
        refined = self.norm_feed_forward(tokens + self.dropout(self.feed_forward(tokens)))
        return refined


class CrossAttentionLayer(nn.Module):
    """One stream attends to others, then a feed-forward network; both residual.

    Args:
        width: Model width W.
        num_heads: Attention heads.
        dropout: After attention and in the feed-forward network.
        feed_forward: Width of the hidden layer; None is 4 W.
        norm: `pre`: of queries and of keys before they meet, and of what is fed forward; `post`: of
            the sums that come out.
        null: A learned token among the keys, so that there is always something to attend to.
        activation: Of the feed-forward network.

    Raises:
        ValueError: If the norm is neither.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        dropout: float = 0.1,
        *,
        feed_forward: int | None = None,
        norm: str = "pre",
        null: bool = False,
        activation: str = "gelu",
    ) -> None:
        super().__init__()
        check_norm(norm)
        self.is_pre = norm == "pre"
        self.norm_query = nn.LayerNorm(width)
        if self.is_pre:
            self.norm_key = nn.LayerNorm(width)
        self.attention = Attention(width, num_heads)
        self.null = nn.Parameter(torch.randn(1, 1, width) * 0.02) if null else None
        self.dropout = nn.Dropout(dropout)
        self.norm_feed_forward = nn.LayerNorm(width)
        self.feed_forward = MLP(
            width, feed_forward or 4 * width, width, activation=activation, dropout=dropout
        )

    def forward(
        self, tokens: Tensor, others: Tensor, valid: Tensor, *, is_causal: bool = False
    ) -> Tensor:
        """Return `[B, T, W]` from tokens `[B, T, W]`, others `[B, K, W]`, valid bool `[B, K]`."""
        keys = others
        if self.null is not None:
            keys = torch.cat([self.null.expand(len(tokens), -1, -1).to(keys.dtype), keys], dim=1)
            valid = F.pad(valid, (1, 0), value=True)
        if self.is_pre:
            heard = self.attention(
                self.norm_query(tokens), self.norm_key(keys), valid, is_causal=is_causal
            )
            tokens = tokens + self.dropout(heard)
            refined: Tensor = tokens + self.dropout(
                self.feed_forward(self.norm_feed_forward(tokens))
            )
            return refined
        heard = self.attention(tokens, keys, valid, is_causal=is_causal)
        tokens = self.norm_query(tokens + self.dropout(heard))
        refined = self.norm_feed_forward(tokens + self.dropout(self.feed_forward(tokens)))
        return refined


def time_code(tokens: Tensor) -> Tensor:
    """Return the sinusoidal code of positions 0 .. T-1, `[T, W]` (Vaswani et al. 2017).

    Args:
        tokens: `[B, T, W]`, for shape, device and dtype; W even.
    """
    num_steps, width = tokens.shape[1:]
    half = torch.arange(width // 2, device=tokens.device, dtype=torch.float32)
    rates = torch.exp(half * (-math.log(10_000.0) / (width // 2)))
    angles = torch.arange(num_steps, device=tokens.device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1).to(tokens.dtype)


def embed(tokens: Tensor) -> Tensor:
    """Return tokens times the root of their width, and the time code added, `[B, T, W]`.

    What each transformer of MulT, and of methods built of its, begins with. Without the factor the
    code, whose square sum is W / 2 at every step, drowns tokens of a linear map's small outputs.

    Args:
        tokens: `[B, T, W]`, W even.
    """
    return tokens * math.sqrt(tokens.shape[2]) + time_code(tokens)


def even_width(width: int, num_heads: int) -> int:
    """Return the least multiple of twice the heads from `width` on; sines and cosines fill it.

    Raises:
        ValueError: If there is no head.
    """
    _check_heads(num_heads)
    unit = 2 * num_heads
    return math.ceil(width / unit) * unit


def check_width(width: int, num_heads: int) -> None:
    """Check the width of tokens that have a time code and are read by heads.

    Raises:
        ValueError: If there is no head, or the width is odd or no multiple of their number.
    """
    _check_heads(num_heads)
    if width < 1 or width % 2 or width % num_heads:
        raise ValueError(f"width: must be even and a multiple of {num_heads}, not {width}")


def _check_heads(num_heads: int) -> None:
    if num_heads < 1:
        raise ValueError(f"num_heads: must be at least 1, not {num_heads}")


def check_norm(norm: str) -> None:
    """Check the name of a place for norms.

    Raises:
        ValueError: If it is neither `pre` nor `post`.
    """
    if norm not in NORMS:
        raise ValueError(f"norm: must be one of {', '.join(NORMS)}, not {norm!r}")
