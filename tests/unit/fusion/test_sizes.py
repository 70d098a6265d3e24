"""Parameter counts: SCFAE's by Table 12 and 13, others' by their authors' sizes and torch's layers.

The paper prints 24.14 M (Table 13) and 24.01 M (appendix A) for SCFAE at 512 / 512, and nothing for
other methods but that the cross-attention is of SCFAE's size. Where a code fixes an architecture,
its size is counted here from torch's own layers, not from ours.
"""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from scfae.fusion import SCFAE, build_fusion, count_flops, count_parameters

TWO = {"audio": 512, "video": 512}
MOSEI = {"audio": 512, "text": 1024, "vision": 1024}


def linear(width_in: int, width_out: int) -> tuple[int, int]:
    """Return weights and biases."""
    return width_in * width_out, width_out


def table_12(
    dims: dict[str, int], n: float, b: float, reconstruct: bool, layers: int
) -> tuple[int, int]:
    """Return the parameters, and those of them that are weights, by the rows of Table 12."""
    names, least = list(dims), min(dims.values())
    rows = []
    for i, m in enumerate(names):
        d, following = dims[m], dims[names[(i + 1) % len(names)]]
        wide = round(n * d)
        for width in (d, d + least):  # SwiGLU before and after
            hidden = int(8 * width / 3)
            rows += [linear(width, hidden), linear(width, hidden), linear(hidden, width)]
        rows += [
            linear(d, wide),
            linear(round(b * round(n * following)), least),
            linear(wide - round(b * wide), d),
        ]
        rows += [linear(d + least, d)] if reconstruct else []
    rows *= layers
    rows += [linear(d + least, d) for d in dims.values()] * (layers - 1)  # ours, between blocks
    weights = sum(row[0] for row in rows)
    return weights + sum(row[1] for row in rows), weights


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"n": 1},
        {"n": 4, "b": 0.25},
        {"b": 0.75},
        {"reconstruct": False},
        {"layers": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("dims", [TWO, MOSEI, {"video": 4096, "image": 128}, {"a": 36}], ids=str)
def test_scfaes_parameters_and_operations_are_table_12s(
    dims: dict[str, int], options: dict[str, Any]
) -> None:
    given = {"n": 2.0, "b": 0.5, "reconstruct": True, "layers": 1} | options
    parameters, weights = table_12(dims, **given)
    with torch.device("meta"):
        model = SCFAE(
            dims,
            expansion=given["n"],
            shared_ratio=given["b"],
            reconstruct=given["reconstruct"],
            num_layers=given["layers"],
        )
    assert count_parameters(model) == parameters
    assert count_flops(model) == 2 * weights  # Table 12's without the one a bias


def size(*layers: nn.Module) -> int:
    return sum(p.numel() for layer in layers for p in layer.parameters())


def uavm() -> int:
    # 3 blocks a modality and 3 shared, width 1024, MLP of 4 times that; no bias on q, k and v.
    block = size(nn.TransformerEncoderLayer(1024, 4, 4096)) - 3 * 1024
    enter = 2 * (size(nn.LayerNorm(512), nn.Linear(512, 1024)) + 30 * 1024)
    return 9 * block + enter + size(nn.LayerNorm(1024), nn.Linear(1024, 3))


def meter() -> int:
    # BERT's cross layer, 6 a stream, width 768; a key's bias cannot change a softmax and is left.
    attend = size(nn.MultiheadAttention(768, 12)) - 768
    feed = size(nn.Linear(768, 3072), nn.Linear(3072, 768))
    layer = 2 * attend + feed + 3 * size(nn.LayerNorm(768))
    stream = 6 * layer + size(nn.Linear(512, 768), nn.Linear(768, 768)) + 2 * 768
    return 2 * stream + size(nn.Linear(2 * 768, 2), nn.Linear(2 * 768, 3))


def mmin() -> int:
    # Two cascades of 5 autoencoders 256-128-64 on the joint embedding, and their ways in and out.
    chain = (2 * 128, 256, 128, 64)
    down = [nn.Linear(a, b) for a, b in pairwise(chain)]
    up = [nn.Linear(b, a) for a, b in pairwise(chain)]
    cascade = 5 * size(*down, *up) + size(nn.Linear(256, 256), nn.Linear(256, 256))
    encoder = size(nn.Linear(512, 128), nn.Linear(128, 128), nn.Linear(128, 128))
    classify = [
        size(nn.Linear(width, 128), nn.Linear(128, 128), nn.Linear(128, 3))
        for width in (5 * 64, 2 * 128)
    ]
    return 2 * cascade + 4 * encoder + sum(classify)


def gcnet() -> int:
    # A BiLSTM of 200, two graph branches to 100 (3 relations of time, 1 speaker), a BiLSTM on each.
    total, node, out = 1024, 400, 500
    branches = 0
    for relations in (3, 1):
        graph = size(nn.Linear(node, 100)) + relations * node * 100
        graph += size(nn.Linear(100, 100)) + 100 * 100
        lstm = size(nn.LSTM(out, out, num_layers=2, bidirectional=True))
        branches += graph + lstm + size(nn.Linear(2 * out, out))
    first = size(nn.LSTM(total, 200, num_layers=2, bidirectional=True))
    return first + branches + size(nn.Linear(out, total), nn.Linear(out, 3))


AUTHORS: dict[str, tuple[Any, dict[str, Any]]] = {
    "uavm": (uavm, {"width": 1024, "max_steps": 30}),
    "meter": (meter, {"width": 768, "num_layers": 6, "num_heads": 12}),
    "mmin": (mmin, {}),
    "gcnet": (gcnet, {}),
}


@pytest.mark.parametrize("name", AUTHORS)
def test_a_method_at_its_authors_sizes_is_as_large_as_their_layers(name: str) -> None:
    count, options = AUTHORS[name]
    torch.manual_seed(0)
    with torch.device("meta" if name in ("uavm", "meter") else "cpu"):
        model = build_fusion(name, TWO, num_outputs=3, **options)
    with torch.device("meta"):
        expected = count()
    assert sum(p.numel() for p in model.parameters()) == expected
