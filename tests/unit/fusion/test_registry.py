"""Methods by name: each is described, built with its options, and refuses others."""

from pathlib import Path

import pytest

from scfae.fusion import Fusion, FusionInfo, build_fusion, fusion_info, list_fusions

DIMS = {"a": 6, "v": 8}


def test_the_papers_method_and_its_baselines_are_there() -> None:
    names = [info.name for info in list_fusions()]
    assert names[0] == "scfae"
    assert {"scfae", "concat", "cross_attention"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("info", list_fusions(), ids=lambda info: info.name)
def test_every_method_is_described_and_built(info: FusionInfo) -> None:
    assert fusion_info(info.name) is info
    assert all((info.paper_row, info.source, info.faithfulness, info.missing))
    model = build_fusion(info.name, DIMS, num_outputs=2)
    assert isinstance(model, info.method)
    assert isinstance(model, Fusion)
    assert model.modalities == ("a", "v")
    assert model.num_outputs == 2


@pytest.mark.parametrize("info", list_fusions(), ids=lambda info: info.name)
def test_options_are_those_of_the_class_and_all_documented(info: FusionInfo) -> None:
    assert "num_outputs" not in info.options
    assert "dims" not in info.options
    # A variant with its parent's options is documented there.
    documented = "".join(cls.__doc__ or "" for cls in info.method.__mro__[:-1])
    for option in info.options:
        assert f"{option}:" in documented, option
    build_fusion(info.name, DIMS, **info.defaults)


def test_unknown_names_are_refused_with_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"no method 'mamba'\. Known: scfae, "):
        fusion_info("mamba")
    with pytest.raises(ValueError, match=r"depth: concat has no such option\. Known: pooling, "):
        build_fusion("concat", DIMS, depth=3)


@pytest.mark.parametrize(
    ("dims", "needle"),
    [
        ({}, "at least one"),
        ({"": 3}, "cannot name"),
        ({"a.b": 3}, "cannot name"),
        ({"a": 2.5}, "a"),
    ],
)
def test_modalities_that_cannot_be_are_named(dims: dict[str, int], needle: str) -> None:
    for info in list_fusions():
        others = {f"other{i}": 3 for i in range(info.min_modalities - 1)}
        with pytest.raises(ValueError, match=rf"dims.*{needle}"):
            build_fusion(info.name, dims | others if dims else dims)


def test_the_readme_names_every_method() -> None:
    text = (Path(__file__).resolve().parents[3] / "fusion" / "README.md").read_text()
    assert [info.name for info in list_fusions() if f"`{info.name}`" not in text] == []
