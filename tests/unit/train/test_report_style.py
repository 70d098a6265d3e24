"""Every colour of a report can be read on its ground, light and dark: WCAG AA, 4.5 to 1."""

import re
from importlib import resources

import pytest

AA = 4.5
LARGEST_SHARE = 0.5  # of the first colour in a cell of a matrix


def colours(*, is_dark: bool) -> dict[str, str]:
    style = resources.files("scfae.train").joinpath("templates/style.css").read_text("utf-8")
    assert f"calc(var(--share) * {LARGEST_SHARE:.0%})" in style
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    return found | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark)) if is_dark else found


def channels(colour: str) -> list[float]:
    return [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]


def luminance(values: list[float]) -> float:
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: list[float], other: list[float]) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("is_dark", [False, True])
def test_text_stands_out_from_its_ground(is_dark: bool) -> None:
    found = {name: channels(colour) for name, colour in colours(is_dark=is_dark).items()}
    for name in ("ink", "quiet", "s0", "s1", "s2", "s3", "s4", "s5"):
        assert contrast(found[name], found["paper"]) >= AA, name
    assert contrast(found["warn"], found["warn-wash"]) >= AA
    cell = [
        LARGEST_SHARE * a + (1 - LARGEST_SHARE) * b
        for a, b in zip(found["s0"], found["paper"], strict=True)
    ]
    assert contrast(found["ink"], cell) >= AA


def test_tables_that_scroll_keep_words_whole() -> None:
    """On a phone the columns' names of compared runs stood there letter by letter."""
    style = resources.files("scfae.train").joinpath("templates/style.css").read_text("utf-8")
    assert ".scroll { overflow-x: auto;" in style
    assert style.index("code { font:") < style.index(".scroll code { overflow-wrap: break-word; }")
