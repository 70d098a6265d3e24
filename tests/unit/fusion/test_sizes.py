"""Parameter counts of SCFAE, by Tables 12 and 13; `test_author_sizes.py` has other methods'.

The paper prints 24.14 M (Table 13) and 24.01 M (appendix A) for SCFAE at 512 / 512, and nothing for
other methods but that the cross-attention is of SCFAE's size.
"""

from typing import Any

import pytest
import torch

from scfae.fusion import SCFAE, count_flops, count_parameters

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
    # Ours, between blocks: a linear map, and the scale of a norm.
    rows += [linear(d + least, d) for d in dims.values()] * (layers - 1)
    rows += [(0, d) for d in dims.values()] * (layers - 1)
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
