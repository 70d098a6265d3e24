"""Table 12: what SCFAE's maps cost by the paper's formulas, and what the model really has.

Formulas are evaluated exactly, in thirds; the model's parameters are counted matrix by matrix.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch

from scfae.fusion import SCFAE, count_flops, count_parameters

from .tables import read_published

WIDTHS: dict[str, dict[str, int]] = {
    "FakeAVCeleb, 512 / 512": {"audio": 512, "video": 512},
    "ActivityNet, 4096 / 128": {"video": 4096, "image": 128},
    "CMU-MOSEI, 512 / 1024 / 1024": {"audio": 512, "video": 1024, "text": 1024},
}
"""Widths of the paper's data sets."""
SHOWN = "FakeAVCeleb, 512 / 512"
"""The one whose maps are shown one by one."""


@dataclass(frozen=True, slots=True)
class CostRow:
    """A row of Table 12 or 13.

    Attributes:
        name: As printed, or of ours.
        printed: Figures as printed; empty for a row of ours.
        ours: Figures of ours, as text.
        values: The same as numbers.
    """

    name: str
    printed: tuple[str, ...]
    ours: tuple[str, ...]
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CostTable:
    """Table 12 or 13.

    Attributes:
        name: As `scfae reproduce` takes it.
        number: In the paper.
        title: What it is about.
        heads: Names of the figures; printed ones come first.
        rows: In order.
        notes: What a reader must know.
    """

    name: str
    number: int
    title: str
    heads: tuple[str, ...]
    rows: tuple[CostRow, ...]
    notes: tuple[str, ...]

    @property
    def caption(self) -> str:
        """Its number and its title."""
        return f"Table {self.number}: {self.title}"

    @property
    def conclusion(self) -> str:
        """What is more than noise; empty for nothing."""
        return ""

    def as_dict(self) -> dict[str, Any]:
        """Return the table as plain JSON values."""
        rows = [
            {"name": row.name, "printed": list(row.printed), "ours": dict(row.values)}
            for row in self.rows
        ]
        return {"table": self.name, "title": self.title, "rows": rows, "notes": list(self.notes)}


@dataclass(frozen=True, slots=True)
class MapCost:
    """What one map costs by its formula.

    Attributes:
        name: As in Table 12.
        parameters: Exactly.
        flops: Exactly.
    """

    name: str
    parameters: Fraction
    flops: Fraction


def formula_costs(
    dims: Mapping[str, int], modality: str, *, expansion: int = 2, ratio: float = 0.5
) -> tuple[MapCost, ...]:
    """Return what the maps of one modality cost, by Table 12.

    Args:
        dims: Width l of each modality.
        modality: Which; its successor's shared part is what its own P shared reads.
        expansion: n.
        ratio: The shared part's share of the n l expanded features.
    """
    order = list(dims)
    following = order[(order.index(modality) + 1) % len(order)]
    width, least = dims[modality], min(dims.values())
    wide = expansion * width
    shared, own = round(ratio * expansion * dims[following]), wide - round(ratio * wide)
    both = width + least

    def gated(size: int, square: int) -> Fraction:
        return square * size * size + Fraction(19, 3) * size

    def linear(inputs: int, outputs: int) -> tuple[Fraction, Fraction]:
        # Printed with a bias for each input; a linear map has one for each output.
        product = inputs * outputs
        return Fraction(product + outputs), Fraction(2 * product + outputs)

    return (
        MapCost("SwiGLU (pre)", gated(width, 8), gated(width, 16)),
        MapCost("P expand", *linear(width, wide)),
        MapCost("P shared", *linear(shared, least)),
        MapCost("P specific", *linear(own, width)),
        MapCost("P recon", *linear(both, width)),
        MapCost("SwiGLU (post)", gated(both, 8), gated(both, 16)),
    )


def formula_total(dims: Mapping[str, int]) -> MapCost:
    """Return what SCFAE costs by Table 12, all modalities together."""
    every = [cost for modality in dims for cost in formula_costs(dims, modality)]
    return MapCost(
        "all",
        sum((one.parameters for one in every), Fraction()),
        sum((one.flops for one in every), Fraction()),
    )


_MAPS = {
    "SwiGLU (pre)": "pre",
    "P expand": "expand",
    "P shared": "to_shared",
    "P specific": "to_specific",
    "P recon": "rebuild",
    "SwiGLU (post)": "post",
}
"""The model's own name of each map."""


def counted_parameters(model: SCFAE, modality: str) -> dict[str, int]:
    """Return the parameters of each map of one modality, as the model has them."""
    return {
        name: sum(
            one.numel()
            for key, one in model.named_parameters()
            if key.startswith(f"{own}.{modality}.")
        )
        for name, own in _MAPS.items()
    }


def table_12() -> CostTable:
    """Return Table 12, evaluated and counted."""
    published = read_published("table12")
    with torch.device("meta"):
        models = {name: SCFAE(dims) for name, dims in WIDTHS.items()}
    dims = WIDTHS[SHOWN]
    counted = counted_parameters(models[SHOWN], "audio")
    rows = [
        _row(one["name"], tuple(one["printed"]), cost, counted[cost.name])
        for one, cost in zip(published["rows"], formula_costs(dims, "audio"), strict=True)
    ]
    for name, widths in WIDTHS.items():
        total, model = formula_total(widths), models[name]
        printed = ("24.14M (Table 13)", "0.048 GFLOPs") if name == SHOWN else ()
        row = _row(f"all of SCFAE, {name}", printed, total, count_parameters(model))
        products = count_flops(model)
        rows.append(
            CostRow(row.name, row.printed, row.ours, {**row.values, "flops_of_products": products})
        )
    return CostTable(
        "table12",
        published["number"],
        published["title"],
        (*published["heads"], "Parameters by formula", "in the model", "FLOPs by formula"),
        tuple(rows),
        (f"Evaluated for one modality of {SHOWN}, then for all.", *published["footnotes"]),
    )


def _row(name: str, printed: Sequence[str], cost: MapCost, counted: int) -> CostRow:
    parameters, flops = float(cost.parameters), float(cost.flops)
    return CostRow(
        name,
        tuple(printed),
        (f"{parameters:,.0f}", f"{counted:,}", f"{flops:,.0f}"),
        {"parameters_by_formula": parameters, "parameters": counted, "flops_by_formula": flops},
    )
