"""METER: streams hear each other; true pairings are told from wrong ones."""

from typing import Any

import numpy as np
import pytest
import torch

from scfae.fusion.meter import METER

DIMS = {"image": 6, "text": 10}
SMALL: dict[str, Any] = {"width": 16, "num_layers": 2}


def test_the_matching_loss_is_the_mean_over_true_and_wrong_pairings() -> None:
    torch.manual_seed(0)
    model = METER(DIMS, **SMALL).eval()
    features = {"image": torch.randn(3, 2, 6), "text": torch.randn(3, 4, 10)}
    present = torch.tensor([[True, True], [True, False], [True, True]])
    loss = model(features, present).losses["itm"].item()
    # True: samples 0 and 2. Wrong: image 0 with text 2, image 1 with text 0; 2 would get none.
    pairings = [((0, 0), 1), ((2, 2), 1), ((0, 2), 0), ((1, 0), 0)]
    errors = []
    for (i, j), truth in pairings:
        out = model({"image": features["image"][[i]], "text": features["text"][[j]]})
        x = model.match(out.fused)[0].detach().numpy()
        errors.append(np.log(np.exp(x).sum()) - x[truth])
    assert loss == pytest.approx(np.mean(errors), rel=1e-4)
    alone = model({m: x[:1] for m, x in features.items()}, torch.tensor([[True, False]]))
    assert alone.losses["itm"].item() == 0


def test_scores_of_all_pairs_are_those_of_one_pair_at_a_time() -> None:
    model = METER(DIMS, **SMALL).eval()
    images, texts = torch.randn(2, 6), torch.randn(5, 4, 10)
    lengths = {"text": torch.tensor([4, 1, 2, 3, 4])}
    scores = model.match_scores({"image": images}, {"text": texts}, lengths, chunk_size=2)
    assert scores.shape == (2, 5)
    logits = model.match(model({"image": images[1:], "text": texts[3:4, :3]}).fused)[0]
    assert scores[1, 3].item() == pytest.approx((logits[1] - logits[0]).item(), abs=1e-5)
    with pytest.raises(ValueError, match="each needs modalities of its own, not image and none"):
        model.match_scores({"image": images}, {})
    with pytest.raises(ValueError, match="each needs modalities of its own, not image and image"):
        model.match_scores({"image": images}, {"image": images})
    with pytest.raises(ValueError, match="chunk_size: must be at least 1, not 0"):
        model.match_scores({"image": images}, {"text": texts}, chunk_size=0)


def test_the_other_stream_changes_a_pooled_token_only_where_it_is_there() -> None:
    model = METER(DIMS, **SMALL).eval()
    features = {"image": torch.randn(1, 3, 6), "text": torch.randn(1, 3, 10)}
    other = features | {"text": torch.randn(1, 3, 10)}
    assert not torch.equal(model(features).z["image"], model(other).z["image"])
    alone = torch.tensor([[True, False]])
    assert torch.equal(model(features, alone).z["image"], model(other, alone).z["image"])
    assert (model(features, alone).z["text"] == 0).all()


def test_the_size_is_that_of_its_layers() -> None:
    w = 16
    count = sum(p.numel() for p in METER(DIMS, **SMALL).parameters())
    attention = 4 * w * w + 3 * w
    layer = 2 * attention + 8 * w * w + 5 * w + 6 * w
    stream = 2 * w + 2 * layer + w * w + w
    assert count == 2 * stream + 16 * w + 2 * w + 2 * (2 * w + 1)
