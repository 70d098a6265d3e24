"""The path of evaluation as one traced program (`torch.export`), and compiled (`torch.compile`)."""

import shutil

import pytest
import torch
from torch import Tensor

from scfae.fusion import Fusion, FusionOutput, list_fusions

from .small import SMALL
from .test_every_method import NAMES, TWO, make, make_batch

NOT_EXPORTED = {
    "imder": "its sampler runs only on the rows that lack something, a number that data decides",
    "dicmor": "its flows run only on the rows that lack something, a number that data decides",
}
"""Methods whose evaluation `torch.export` cannot trace whole, and why."""

EXPORTED = [name for name in NAMES if name not in NOT_EXPORTED]
COMPILED = ("scfae", "concat")
LSTM = "ignore:The tensor attributes .*_flat_weights"  # of torch's own LSTM, in export


class Outputs(torch.nn.Module):
    """A method as a program of tensors alone."""

    def __init__(self, model: Fusion) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, features: dict[str, Tensor], present: Tensor, lengths: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        out: FusionOutput = self.model(features, present, lengths)
        return out.fused, out.logits


@pytest.mark.slow
@pytest.mark.filterwarnings(LSTM)
@pytest.mark.parametrize("name", EXPORTED)
def test_the_path_of_evaluation_exports(name: str) -> None:
    """`torch.export` traces it whole, and the program says the same of another batch."""
    model = Outputs(make(name, TWO))
    with torch.no_grad():
        program = torch.export.export(model, make_batch(TWO), strict=False).module()
        for seed in (0, 5):
            batch = make_batch(TWO, seed)
            for expected, got in zip(model(*batch), program(*batch), strict=True):
                torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NOT_EXPORTED)
def test_what_is_not_exported_has_a_number_of_rows_that_data_decides(name: str) -> None:
    model = Outputs(make(name, TWO))
    with torch.no_grad(), pytest.raises(Exception, match=r"data-dependent|unbacked|Eq\(u\d"):
        torch.export.export(model, make_batch(TWO), strict=False)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("c++") is None and shutil.which("g++") is None,
    reason="torch.compile needs a C++ compiler",
)
@pytest.mark.parametrize("name", COMPILED)
def test_the_compiled_path_of_evaluation_says_the_same(name: str) -> None:
    """`fullgraph`: a break in the graph is an error."""
    torch.compiler.reset()
    model = Outputs(make(name, TWO))
    compiled = torch.compile(model, fullgraph=True, dynamic=False)
    with torch.no_grad():
        for seed in (0, 5):
            batch = make_batch(TWO, seed)
            for expected, got in zip(model(*batch), compiled(*batch), strict=True):
                torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def test_the_lists_name_methods() -> None:
    assert set(NOT_EXPORTED) | set(COMPILED) | set(SMALL) <= {x.name for x in list_fusions()}
