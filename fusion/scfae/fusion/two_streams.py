"""MCULoRA's layers: the shared stream as MoMKE's, the specific one by low-rank matrices alone.

Shapes: N sequences of L places, W model width, K combinations.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from .lora import LowRank, LowRankChoice
from .momke import ExpertLayer


class TwoStreamLayer(ExpertLayer):
    """An expert's layer whose MLP has a shared update, and a low-rank MLP for the second stream.

    Args:
        width: Model width W.
        num_heads: Attention heads.
        dropout: In the shared stream's MLP.
        rank: Of its updates.
        low_rank_dropout: Of what the shared updates read.
        num_choices: Combinations K.
        up_std: See `LowRankChoice`.
    """

    def __init__(
        self,
        width: int,
        num_heads: int,
        dropout: float,
        rank: int,
        low_rank_dropout: float,
        num_choices: int,
        up_std: float,
    ) -> None:
        super().__init__(width, num_heads, dropout)
        self.shared_in = LowRank(width, width, rank, low_rank_dropout)
        self.shared_out = LowRank(width, width, rank, low_rank_dropout)
        self.choice_in = LowRankChoice(width, width, rank, num_choices, up_std)
        self.choice_out = LowRankChoice(width, width, rank, num_choices, up_std)

    def both(self, x: Tensor, s: Tensor, valid: Tensor, choice: Tensor) -> tuple[Tensor, Tensor]:
        """Return both streams `[N, L, W]`, from x, s `[N, L, W]`; zero where not valid."""
        heard = self.attend(x, valid)
        first, act, drop, second, _ = self.mlp
        hidden = drop(act(first(heard) + self.shared_in(heard)))
        x = x + heard + drop(second(hidden) + self.shared_out(hidden))
        # No bias in the second stream: zero stays zero, as in the released code.
        query, key, value = (
            F.linear(s, layer.weight) for layer in (self.query, self.key, self.value)
        )
        seen = _attention(query, key, value, valid, self.num_heads)
        s = s + seen + self.choice_out(act(self.choice_in(seen, choice)), choice)
        gone = ~valid[:, :, None]
        return x.masked_fill(gone, 0.0), s.masked_fill(gone, 0.0)


class CrossModality(nn.Module):
    """Attention of one specific stream to another, without bias.

    Args:
        width: Model width W.
        num_heads: Attention heads.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(self, s: Tensor, other: Tensor, valid: Tensor) -> Tensor:
        """Return `[N, L, W]` from s `[N, L, W]`, other `[N, K, W]` and its valid `[N, K]`."""
        query, key, value = self.query(s), self.key(other), self.value(other)
        heard: Tensor = self.out(_attention(query, key, value, valid, self.num_heads))
        return heard


def _attention(query: Tensor, key: Tensor, value: Tensor, valid: Tensor, heads: int) -> Tensor:
    """Return the attention `[N, L, W]`; zero where no key is valid."""
    query, key, value = (
        x.view(*x.shape[:2], heads, -1).transpose(1, 2) for x in (query, key, value)
    )
    none = ~valid.any(dim=1, keepdim=True)
    seen = (valid | none)[:, None, None]  # without keys it would be NaN
    heard = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    return heard.transpose(1, 2).flatten(2).masked_fill(none[:, :, None], 0.0)
