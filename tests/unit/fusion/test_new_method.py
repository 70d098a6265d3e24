"""A method of one's own: one file with `INFOS` and one line of the registry."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import scfae.fusion
from scfae.fusion import build_fusion, fusion_info, list_fusions, registry

SOURCE = '''
"""The product of the modalities' projections."""

from collections.abc import Mapping

import torch
from torch import nn

from .base import Fusion
from .info import FusionInfo
from .output import FusionOutput
from .presence import Inputs


class Product(Fusion):
    """Args: dims, num_outputs, width: of the projections."""

    def __init__(self, dims: Mapping[str, int], *, num_outputs: int | None = None, width: int = 4):
        super().__init__(dims, num_outputs=num_outputs)
        self.project = nn.ModuleDict({m: nn.Linear(d, width) for m, d in self.dims.items()})
        self.add_head(width)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        z = {m: self.project[m](x) for m, x in self.pooled(inputs).items()}
        return FusionOutput(fused=torch.stack(list(z.values())).prod(dim=0), z=z)


INFOS = (
    FusionInfo(
        name="product",
        method=Product,
        paper_row="none",
        source="a test",
        faithfulness="substitute",
        missing="its bias is a factor",
    ),
)
'''


@pytest.fixture
def _product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "product_of_a_test.py").write_text(SOURCE)
    monkeypatch.setattr(scfae.fusion, "__path__", [*scfae.fusion.__path__, str(tmp_path)])
    line = (*registry._MODULES, "product_of_a_test")
    monkeypatch.setattr(registry, "_MODULES", line)
    list_fusions.cache_clear()
    yield
    list_fusions.cache_clear()
    sys.modules.pop("scfae.fusion.product_of_a_test", None)


@pytest.mark.usefixtures("_product")
def test_one_file_and_one_line_make_a_method() -> None:
    assert fusion_info("product").options == ("width",)
    model = build_fusion("product", {"a": 3, "v": 5}, num_outputs=2, width=6)
    out = model({"a": torch.randn(4, 3), "v": torch.randn(4, 7, 5)})
    assert out.fused.shape == (4, 6)
    assert out.logits is not None
    assert out.logits.shape == (4, 2)
    with pytest.raises(ValueError, match="features: batch sizes differ"):
        model({"a": torch.randn(4, 3), "v": torch.randn(3, 5)})
    with pytest.raises(
        ValueError, match=r"widht: product has no such option\. Did you mean 'width'"
    ):
        build_fusion("product", {"a": 3}, widht=6)


def test_and_without_them_there_is_none() -> None:
    with pytest.raises(ValueError, match="there is no method 'product'"):
        fusion_info("product")
