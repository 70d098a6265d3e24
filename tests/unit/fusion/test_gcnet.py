"""GCNet: the graph against loops over nodes, the dialogue as context, what is rebuilt."""

import pytest
import torch

from scfae.fusion import build_fusion
from scfae.fusion.gcnet import GCNet, RelationalGraph
from scfae.fusion.hiding import hide

DIMS = {"a": 6, "v": 10}
GROUPS = torch.tensor([0, 0, 0, 0, 1, 1])


def make(**options: object) -> GCNet:
    torch.manual_seed(0)
    small = {"width": 4, "graph_width": 3, "dropout": 0.0}
    model = build_fusion("gcnet", DIMS, num_outputs=2, **small, **options)
    assert isinstance(model, GCNet)
    return model


def test_the_graph_layers_are_sums_over_neighbours() -> None:
    model = make(window=1)
    edges = model._edges(torch.tensor([[True, True, True, False]]))
    torch.manual_seed(1)
    graph = RelationalGraph(5, 3, 3)
    nodes = torch.randn(1, 4, 5)
    neighbours = [[[], [0], [1]], [[0], [1], [2]], [[1], [2], []]]  # before, itself, after
    r = []
    for i in range(3):
        value = graph.root(nodes[0, i])
        for kind in range(3):
            near = [graph.relations[kind](nodes[0, j]) for j in neighbours[kind][i]]
            if near:
                value = value + torch.stack(near).mean(dim=0)
        r.append(value)
    out = graph(nodes, edges)[0]
    for i in range(3):
        near = [r[j] for kind in range(3) for j in neighbours[kind][i]]
        expected = graph.self_weight(r[i]) + graph.neighbours(torch.stack(near).sum(dim=0))
        assert torch.allclose(out[i], expected, atol=1e-6)


def test_only_the_same_dialogue_is_heard() -> None:
    model = make().eval()
    features = {m: torch.randn(6, d) for m, d in DIMS.items()}
    first = model(features, groups=GROUPS).fused
    changed = {m: x.clone() for m, x in features.items()}
    changed["a"][0] += 1.0
    second = model(changed, groups=GROUPS).fused
    assert torch.equal(first[4:], second[4:])
    assert (first[1:4] != second[1:4]).any(dim=1).all()


def test_the_loss_is_the_error_of_what_was_hidden() -> None:
    model = make(hidden_share=0.5)
    features = {m: torch.randn(6, d) for m, d in DIMS.items()}
    present = torch.tensor([[True, True]] * 5 + [[False, True]])
    torch.manual_seed(2)
    out = model(features, present, groups=GROUPS)
    torch.manual_seed(2)
    hidden = present & ~hide(present, 0.5)
    assert hidden.any()
    total = sum(
        (out.recon[m][b] - features[m][b]).square().mean().item()
        for b in range(6)
        for i, m in enumerate(DIMS)
        if hidden[b, i]
    )
    assert out.losses["recon"].item() == pytest.approx(total / 6, abs=1e-5)
    assert model.eval()(features, present, groups=GROUPS).losses["recon"].item() == 0.0


def test_training_without_dialogues_warns_once() -> None:
    model = make()
    features = {m: torch.randn(3, d) for m, d in DIMS.items()}
    with pytest.warns(UserWarning, match="dialogue of its own"):
        model(features)
    model(features)
