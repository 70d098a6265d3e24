"""Weight merging: one averaged network, and alpha where the answers change least."""

import pytest
import torch

from scfae.fusion import build_fusion
from scfae.fusion.weight_merge import WeightMerge

DIMS = {"a": 6, "v": 10}


def make(num_outputs: int = 3) -> WeightMerge:
    torch.manual_seed(0)
    model = build_fusion("weight_merge", DIMS, num_outputs=num_outputs, width=8)
    assert isinstance(model, WeightMerge)
    return model


def disturb(model: WeightMerge) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)


def test_copies_begin_alike_so_that_merging_changes_nothing_at_first() -> None:
    model = make()
    features = {m: torch.randn(4, d) for m, d in DIMS.items()}
    own = model(features).logits
    assert torch.allclose(own, model.eval()(features).logits, atol=1e-6)
    disturb(model)
    merged = model(features).logits
    assert not torch.allclose(model.train()(features).logits, merged, atol=1e-3)


def test_each_copy_learns_from_its_own_modality() -> None:
    model = make()
    features = {m: torch.randn(4, d) for m, d in DIMS.items()}
    labels = torch.tensor([0, 1, 2, 0])
    present = torch.tensor([[True, True]] * 3 + [[False, True]])
    disturb(model)
    expected = 0.0
    for i, (m, rows) in enumerate((("a", [0, 1, 2]), ("v", [0, 1, 2, 3]))):
        x = torch.nn.functional.gelu(model.project[m](features[m][rows]))
        x = torch.nn.functional.gelu(x @ model.hidden_weight[i].T + model.hidden_bias[i])
        logits = x @ model.out_weight[i].T + model.out_bias[i]
        own = torch.nn.functional.cross_entropy(logits, labels[rows], reduction="sum")
        expected += own.item() / 4
    found = model(features, present, labels=labels).losses["copies"].item()
    assert found == pytest.approx(expected, rel=1e-5)
    present = torch.tensor([[True, False]] * 4)
    model(features, present, labels=labels).losses["copies"].backward()
    assert model.hidden_weight.grad is not None
    assert model.hidden_weight.grad[0].abs().max() > 0
    assert model.hidden_weight.grad[1].abs().max() == 0


@pytest.mark.parametrize("num_outputs", [3, 1])
def test_alpha_is_where_the_answers_change_least(num_outputs: int) -> None:
    model = make(num_outputs)
    disturb(model)
    batch = {m: torch.randn(16, d) for m, d in DIMS.items()}
    model.eval().settle(lambda: [model(batch)])
    chosen = model.alpha.clone()
    answers = []
    for step in range(11):
        model.alpha.copy_(torch.tensor([1 - step / 10, step / 10]))
        logits = model(batch).logits.detach()
        answers.append(logits.softmax(dim=1) if num_outputs > 1 else logits)
    change = [
        (answers[i] - answers[i - 1]).abs().mean() + (answers[i + 1] - answers[i]).abs().mean()
        for i in range(1, 10)
    ]
    best = min(range(9), key=lambda i: change[i].item()) + 1
    assert best > 1  # not the first, which is what no difference at all would choose
    assert torch.allclose(chosen, torch.tensor([1 - best / 10, best / 10]))


def test_alpha_wants_answers() -> None:
    with pytest.raises(ValueError, match="answers: at least one batch"):
        make().settle(list)
