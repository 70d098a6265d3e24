"""The co-attention layer against torch's decoder layer, and the order of its two attentions."""

import torch
from torch import nn

from scfae.fusion.attention import Attention
from scfae.fusion.co_attention import CoAttentionLayer

W, HEADS = 8, 2
VALID = torch.tensor([[True] * 4, [True, True, False, False]])
THEIR = torch.tensor([[True] * 3, [True, False, False]])


def copy(ours: Attention, theirs: nn.MultiheadAttention) -> None:
    maps = (ours.query.weight, ours.key.weight, ours.value.weight)
    theirs.in_proj_weight.copy_(torch.cat(maps))
    theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, torch.zeros(W), ours.value.bias]))
    theirs.out_proj.load_state_dict(ours.out.state_dict())


def test_it_is_torchs_decoder_layer_without_a_causal_mask() -> None:
    torch.manual_seed(0)
    ours = CoAttentionLayer(W, HEADS, 0.0).eval()
    theirs = nn.TransformerDecoderLayer(W, HEADS, 4 * W, 0.0, "gelu", batch_first=True).eval()
    with torch.no_grad():
        copy(ours.own, theirs.self_attn)
        copy(ours.cross, theirs.multihead_attn)
        for i, norm in enumerate(ours.norms):
            nn.init.uniform_(norm.get_parameter("weight"))
            theirs.get_submodule(f"norm{i + 1}").load_state_dict(norm.state_dict())
        theirs.linear1.load_state_dict(ours.feed_forward[0].state_dict())
        theirs.linear2.load_state_dict(ours.feed_forward[-1].state_dict())
    tokens, others = torch.randn(2, 4, W), torch.randn(2, 3, W)
    expected = theirs(tokens, others, tgt_key_padding_mask=~VALID, memory_key_padding_mask=~THEIR)
    torch.testing.assert_close(ours(tokens, VALID, others, THEIR)[VALID], expected[VALID])


def test_the_others_may_come_first() -> None:
    torch.manual_seed(0)
    layer = CoAttentionLayer(W, HEADS, 0.0, cross_first=True).eval()
    tokens, others = torch.randn(2, 4, W), torch.randn(2, 3, W)
    first, second, third = layer.norms
    x = first(tokens + layer.cross(tokens, others, THEIR))
    x = second(x + layer.own(x, x, VALID))
    torch.testing.assert_close(
        layer(tokens, VALID, others, THEIR), third(x + layer.feed_forward(x))
    )
