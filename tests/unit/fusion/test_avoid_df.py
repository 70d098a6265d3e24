"""AVoiD-DF: the most heard tokens are read once more; focal and margin losses."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from scfae.fusion.attention import Attention, time_code
from scfae.fusion.avoid_df import AVoiDDF, _weights_of_first, focal_errors

DIMS = {"audio": 6, "video": 10}
SMALL: dict[str, Any] = {"width": 16, "num_layers": 2, "num_selected": 2}


def test_focal_is_the_formula_for_each_output() -> None:
    logits = torch.tensor([[2.0, -1.0]])
    p = [1 / (1 + math.exp(-2.0)), 1 / (1 + math.exp(1.0))]
    wrong = -0.75 * p[0] ** 2 * math.log(1 - p[0])
    right = -0.25 * (1 - p[1]) ** 2 * math.log(p[1])
    expected = pytest.approx((wrong + right) / 2, rel=1e-5)
    assert focal_errors(logits, torch.tensor([1])).item() == expected
    assert focal_errors(logits, torch.tensor([[0.0, 1.0]])).item() == expected


def test_the_margin_loss_is_on_means_before_the_decoder() -> None:
    torch.manual_seed(0)
    model = AVoiDDF(DIMS, num_outputs=2, **SMALL).eval()
    features = {m: torch.randn(2, 3, d) for m, d in DIMS.items()}
    out = model(features, labels=torch.tensor([0, 1]))
    means = [model.project[m](x).mean(dim=1).detach().numpy() for m, x in features.items()]
    distance = np.linalg.norm(means[0] - means[1], axis=1)
    expected = (distance[0] ** 2 + max(0.0, 0.99 - distance[1]) ** 2) / 2
    assert out.losses["contrastive"].item() == pytest.approx(expected, rel=1e-4)
    assert set(model(features).losses) == set()


def test_masked_keys_are_not_heard_and_weights_sum_to_one() -> None:
    model = AVoiDDF(DIMS, **SMALL).eval()
    valid = torch.tensor([[True, False, True]])
    attention = model.layers[0].get_submodule("audio.cross")
    assert isinstance(attention, Attention)
    tokens, others = torch.randn(1, 4, 16), torch.randn(1, 3, 16)
    weights = _weights_of_first(attention, tokens, others, valid)
    assert weights[0, 1] == 0
    assert weights.sum().item() == pytest.approx(1.0)


def test_weights_are_those_of_torchs_attention() -> None:
    torch.manual_seed(0)
    ours, theirs = Attention(16, 4), torch.nn.MultiheadAttention(16, 4, batch_first=True)
    with torch.no_grad():
        maps = (ours.query.weight, ours.key.weight, ours.value.weight)
        theirs.in_proj_weight.copy_(torch.cat(maps))
        theirs.in_proj_bias.copy_(torch.cat([ours.query.bias, torch.zeros(16), ours.value.bias]))
    tokens, others = torch.randn(2, 4, 16), torch.randn(2, 3, 16)
    valid = torch.tensor([[True, False, True], [True, True, True]])
    _, expected = theirs(tokens, others, others, key_padding_mask=~valid)
    weights = _weights_of_first(ours, tokens, others, valid)
    torch.testing.assert_close(weights, expected[:, 0])


def test_every_layer_hears_the_other_stream_as_it_entered() -> None:
    model = AVoiDDF(DIMS, **SMALL).eval()
    keys: list[torch.Tensor] = []
    for layer in model.layers:
        attention = layer.get_submodule("audio.cross")
        attention.register_forward_pre_hook(lambda _, args: keys.append(args[1]))
    features = {m: torch.randn(2, 3, d) for m, d in DIMS.items()}
    model(features)
    rows = model.project["video"](features["video"])
    for heard in keys:
        assert torch.allclose(heard[:, 1:], rows + time_code(rows))
    assert len(keys) == 2


def test_only_the_most_heard_tokens_are_read_once_more() -> None:
    model = AVoiDDF(DIMS, **SMALL).eval()
    seen: list[int] = []
    model.last.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape[1]))
    model({m: torch.randn(2, 9, d) for m, d in DIMS.items()})
    model({"audio": torch.randn(2, 6), "video": torch.randn(2, 9, 10)})
    assert seen == [1 + 2 + 2, 1 + 1 + 2]
