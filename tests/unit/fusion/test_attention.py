"""Attention blocks against torch's own, and the mask of keys."""

import pytest
import torch
from torch import Tensor, nn

from scfae.fusion.attention import (
    Attention,
    CrossAttentionLayer,
    SelfAttentionLayer,
    check_width,
    even_width,
    time_code,
)

W, HEADS = 8, 2


def tokens(num: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(3, num, W, generator=torch.Generator().manual_seed(seed))


VALID = torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]])


def as_torch(ours: Attention) -> dict[str, Tensor]:
    zeros = torch.zeros(W)
    return {
        "in_proj_weight": torch.cat([ours.query.weight, ours.key.weight, ours.value.weight]),
        "in_proj_bias": torch.cat([ours.query.bias, zeros, ours.value.bias]),
        "out_proj.weight": ours.out.weight,
        "out_proj.bias": ours.out.bias,
    }


def test_attention_is_torchs() -> None:
    torch.manual_seed(0)
    ours, theirs = Attention(W, HEADS), nn.MultiheadAttention(W, HEADS, batch_first=True)
    theirs.load_state_dict(as_torch(ours))
    queries, keys = tokens(5), tokens(4, seed=1)
    expected, _ = theirs(queries, keys, keys, key_padding_mask=~VALID)
    torch.testing.assert_close(ours(queries, keys, VALID), expected)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_layer_is_torchs_encoder_layer(norm: str) -> None:
    torch.manual_seed(0)
    ours = SelfAttentionLayer(W, HEADS, feed_forward=12, norm=norm, activation="relu").eval()
    theirs = nn.TransformerEncoderLayer(
        W, HEADS, dim_feedforward=12, batch_first=True, norm_first=norm == "pre"
    ).eval()
    state = {f"self_attn.{key}": value for key, value in as_torch(ours.attention).items()}
    names = {
        "linear1": ours.feed_forward[0],
        "linear2": ours.feed_forward[-1],
        "norm1": ours.norm_attention,
        "norm2": ours.norm_feed_forward,
    }
    state |= {f"{k}.{n}": p for k, module in names.items() for n, p in module.named_parameters()}
    theirs.load_state_dict(state)
    with torch.enable_grad():  # not torch's fused path, which drops padded queries
        expected = theirs(tokens(), src_key_padding_mask=~VALID)
    got = ours(tokens(), VALID)
    torch.testing.assert_close(got[VALID], expected[VALID])


@pytest.mark.parametrize("layer", [CrossAttentionLayer, SelfAttentionLayer])
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_masked_keys_get_no_weight(layer: type[nn.Module], norm: str) -> None:
    torch.manual_seed(0)
    block = layer(W, HEADS, norm=norm).eval()
    first, second = tokens(), tokens()
    second[~VALID] = 1e6
    if layer is CrossAttentionLayer:
        query = tokens(2, seed=1)
        assert torch.equal(block(query, first, VALID), block(query, second, VALID))
    else:
        assert torch.equal(block(first, VALID)[VALID], block(second, VALID)[VALID])


def test_without_a_key_nothing_is_heard() -> None:
    torch.manual_seed(0)
    attention = Attention(W, HEADS, key_width=5, inner_width=6)
    nothing = torch.zeros(3, 4, dtype=torch.bool)
    keys = torch.randn(3, 4, 5, requires_grad=True)
    heard = attention(tokens(), keys, nothing)
    torch.testing.assert_close(heard, attention.out.bias.expand_as(heard))
    assert (torch.autograd.grad(heard.sum(), keys)[0] == 0).all()


def test_a_null_token_is_a_key_that_is_always_there() -> None:
    torch.manual_seed(0)
    layer = CrossAttentionLayer(W, HEADS, null=True).eval()
    nothing = torch.zeros(3, 4, dtype=torch.bool)
    alone = layer(tokens(), tokens(seed=1), nothing)
    assert layer.null is not None
    torch.nn.init.ones_(layer.null)
    assert not torch.equal(alone, layer(tokens(), tokens(seed=1), nothing))


def test_causal_queries_hear_only_the_past() -> None:
    torch.manual_seed(0)
    attention = Attention(W, HEADS)
    first, second = tokens(), tokens()
    second[:, 2:] += 1
    everything = torch.ones(3, 4, dtype=torch.bool)
    a, b = (attention(x, x, everything, is_causal=True) for x in (first, second))
    torch.testing.assert_close(a[:, :2], b[:, :2])
    assert not torch.allclose(a[:, 2:], b[:, 2:])


def test_the_time_code_is_sines_and_cosines() -> None:
    code = time_code(torch.zeros(1, 6, 4))
    steps = torch.arange(6.0)
    expected = [steps.sin(), (steps / 100).sin(), steps.cos(), (steps / 100).cos()]
    torch.testing.assert_close(code, torch.stack(expected, dim=1))


def test_widths_are_checked() -> None:
    assert [even_width(w, 2) for w in (1, 4, 6, 10)] == [4, 4, 8, 12]
    with pytest.raises(ValueError, match="width: 8 is no multiple of 3 heads"):
        Attention(8, 3)
    for build in (lambda: Attention(8, 0), lambda: even_width(8, 0), lambda: check_width(8, 0)):
        with pytest.raises(ValueError, match="num_heads: must be at least 1, not 0"):
            build()
    for width in (0, -4, 3, 6):
        with pytest.raises(ValueError, match=f"width: must be even and .* of 4, not {width}"):
            check_width(width, 4)
    with pytest.raises(ValueError, match="norm: must be one of pre, post, not 'mid'"):
        SelfAttentionLayer(W, HEADS, norm="mid")
