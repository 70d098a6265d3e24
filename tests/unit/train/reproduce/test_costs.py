"""Tables 12 and 13: formulas by hand, the model's own counts, and times that can be."""

import re
from fractions import Fraction

import pytest

from scfae.train.reproduce.costs import (
    WIDTHS,
    counted_parameters,
    formula_costs,
    formula_total,
    table_12,
)
from scfae.train.reproduce.exports import costs_to_csv, sheet_of_costs, to_latex, to_markdown
from scfae.train.reproduce.tables import read_published
from scfae.train.reproduce.timing import median, table_13


def test_formulas_by_hand() -> None:
    """Widths 3 and 6, n = 2, b = half: 3 and 6 shared of 6 and 12."""
    first, second = (
        {
            one.name: (float(one.parameters), float(one.flops))
            for one in formula_costs({"i": 3, "v": 6}, m)
        }
        for m in ("i", "v")
    )
    assert first == {
        "SwiGLU (pre)": (8 * 9 + 19, 16 * 9 + 19),
        "P expand": (3 * 6 + 6, 2 * 18 + 6),
        "P shared": (6 * 3 + 3, 2 * 18 + 3),  # reads the video's six
        "P specific": (3 * 3 + 3, 2 * 9 + 3),
        "P recon": (6 * 3 + 3, 2 * 18 + 3),
        "SwiGLU (post)": (8 * 36 + 38, 16 * 36 + 38),
    }
    assert second["P shared"] == (3 * 3 + 3, 2 * 9 + 3)  # reads the image's three
    assert second["P specific"] == (6 * 6 + 6, 2 * 36 + 6)
    assert second["SwiGLU (post)"] == (8 * 81 + 57, 16 * 81 + 57)


def test_the_paper_s_sizes() -> None:
    totals = {name: formula_total(dims) for name, dims in WIDTHS.items()}
    small = totals["FakeAVCeleb, 512 / 512"]
    assert small.parameters == Fraction(72_425_472, 3)  # 24.1418 M; Table 13 prints 24.14 M
    assert f"{float(small.parameters) / 1e6:.2f}" == "24.14"
    assert f"{float(small.flops) / 1e9:.3f}" == "0.048"
    assert round(float(totals["ActivityNet, 4096 / 128"].parameters) / 1e6) == 346
    assert round(float(totals["CMU-MOSEI, 512 / 1024 / 1024"].parameters) / 1e6) == 77


def test_table_12_counts_the_model_matrix_by_matrix() -> None:
    table = table_12()
    maps, wholes = table.rows[:6], table.rows[6:]
    for row in maps:
        by_formula, counted = row.values["parameters_by_formula"], row.values["parameters"]
        if row.name.startswith("SwiGLU"):  # 1365 of 1365.3 hidden features, or 2730 of 2730.7
            assert 0 < by_formula - counted < 3 * 1024
        else:
            assert by_formula == counted
    for row in wholes:
        assert row.values["parameters"] == pytest.approx(
            row.values["parameters_by_formula"], rel=3e-4
        )
        products = row.values["flops_of_products"]
        assert products == pytest.approx(row.values["flops_by_formula"], rel=2e-3)
    assert wholes[0].printed == ("24.14M (Table 13)", "0.048 GFLOPs")


def test_parameters_of_maps_are_all_of_the_model() -> None:
    from scfae.fusion import SCFAE, count_parameters

    model = SCFAE({"i": 4, "v": 6})
    every = [counted_parameters(model, m) for m in ("i", "v")]
    assert sum(sum(one.values()) for one in every) == count_parameters(model)


@pytest.mark.parametrize(
    ("length", "least", "shared"), [(512, 512, 512), (3, 3, 6), (6, 3, 3), (1024, 128, 256)]
)
def test_every_printed_formula_is_what_is_computed(length: int, least: int, shared: int) -> None:
    """Table 12 as printed, evaluated; b is the shared part that a map reads, n l - b the own one.

    Where it is printed that a map has a bias for each input (b, or n l - b), a linear map has one
    for each output; that is the only difference, and none at 512 / 512.
    """
    n = 2
    dims = {"own": length, "next": shared // (n // 2), "least": least}
    for printed, ours in zip(
        read_published("table12")["rows"], formula_costs(dims, "own"), strict=True
    ):
        b = n * length // 2 if ours.name == "P specific" else shared
        values = {"n": n, "l": length, "s": least, "b": b}
        inputs = {"P shared": b, "P specific": n * length - b}.get(ours.name, 0)
        outputs = {"P shared": least, "P specific": length}.get(ours.name, 0)
        for text, computed in zip(printed["printed"], (ours.parameters, ours.flops), strict=True):
            assert evaluated(text, values) == computed + inputs - outputs, (ours.name, text)
            if length == least == shared:
                assert inputs == outputs


def evaluated(formula: str, values: dict[str, int]) -> Fraction:
    """Return what a printed formula is worth; `l*` is `s`."""
    text = formula.replace("l*", "s").replace("\N{MULTIPLICATION SIGN}", " ").replace("²", "**2")
    text = re.sub(r"(\d+)/(\d+)", r"Fraction(\1,\2)", text)
    # What stands side by side is multiplied.
    text = re.sub(r"(?<=[\w)])\s+(?=[\w(])", " * ", text)
    found = eval(text, {"Fraction": Fraction, **values})
    return Fraction(found)


@pytest.mark.slow
def test_table_13_has_times_shares_and_memory() -> None:
    table = table_13(device="cpu", rounds=7)
    values = {row.name: row.values for row in table.rows}
    assert values["SCFAE only"]["parameters"] / 1e6 == pytest.approx(24.14, abs=0.01)
    low, high = values["SCFAE only"]["share_ci95"]
    assert 0 < low <= values["SCFAE only"]["share"] <= high < 0.5
    assert values["Full SCFAE train step"]["share"] == 1.0
    assert "adds to a train step" in to_markdown(sheet_of_costs(table))
    taken = {name: one["added_mb"] for name, one in values.items() if "added_mb" in one}
    if taken:  # the system tells
        # Gradients and two moments of every weight, at least, and SCFAE has 24.14 M weights more.
        for name in ("Baseline train step", "Full SCFAE train step"):
            weights_mb = 4 * values[name]["parameters"] / 2**20
            assert 3 * weights_mb < taken[name] < 12 * weights_mb
        more = taken["Full SCFAE train step"] - taken["Baseline train step"]
        assert more == pytest.approx(3 * 4 * 24.14e6 / 2**20, rel=0.5)
        assert taken["SCFAE only"] < taken["Visual encoder only"] + 50


def test_a_median_has_the_interval_of_its_order() -> None:
    """Of 21 values the sixth and the sixteenth hold the median with 95 %."""
    middle, (low, high) = median([float(i) for i in range(1, 22)])
    assert (middle, low, high) == (11.0, 6.0, 16.0)
    assert median([3.0, 1.0, 2.0]) == (2.0, (1.0, 3.0))


def test_costs_as_text() -> None:
    sheet = sheet_of_costs(table_12())
    line = "| P expand |  | n l \N{MULTIPLICATION SIGN} l + n l | 2 n l² + n l | 525,312 |"
    assert line in to_markdown(sheet)
    assert r"n l $\times$ l + n l" in to_latex(sheet)
    assert costs_to_csv(table_12()).startswith("table,row,Parameters,FLOPs,Parameters by formula")
