"""Which methods part what modalities share from what is each one's own, and how they say it."""

import pytest
import torch

from scfae.fusion import build_fusion

DIMS = {"audio": 6, "video": 8}
PARTED = ("scfae", "scfae+infonce", "scfae_stacked", "misa", "drfuse", "dlf")


@pytest.mark.parametrize("name", PARTED)
def test_a_method_with_parts_gives_both_of_each_modality(name: str) -> None:
    torch.manual_seed(0)
    model = build_fusion(name, DIMS, num_outputs=2).eval()
    features = {m: torch.randn(4, d) for m, d in DIMS.items()}
    output = model(features)
    assert output.has_parts
    assert list(output.specific) == list(output.shared_parts) == list(DIMS)
    widths = {x.shape[1] for x in output.shared_parts.values()}
    assert len(widths) == 1
    # What comes from the audio does not change with the video.
    other = model(features | {"video": torch.randn(4, 8)})
    assert torch.equal(output.shared_parts["audio"], other.shared_parts["audio"])
    if name != "scfae_stacked":  # its last block's, and that has seen both
        assert torch.equal(output.specific["audio"], other.specific["audio"])
    assert not torch.equal(output.shared_parts["video"], other.shared_parts["video"])


@pytest.mark.parametrize("name", ["concat", "cmmp", "layer_coupled"])
def test_a_method_without_them_says_so(name: str) -> None:
    model = build_fusion(name, DIMS, num_outputs=2).eval()
    assert not model({m: torch.randn(4, d) for m, d in DIMS.items()}).has_parts
