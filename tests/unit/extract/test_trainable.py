"""Encoders that learn: every layer in place, blocks by name, networks of reduced size."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from scfae.extract import load_encoder
from scfae.extract.trainable import blocks_of, choose_blocks, load_trainable
from scfae.store.errors import ConfigError

from .encoders import official
from .hf_kit import write_vit

BLOCKS = {
    "r2plus1d-18": ["stem", "layer1", "layer2", "layer3", "layer4"],
    "resnetse34l": ["conv1", "layer1", "layer2", "layer3", "layer4"],
    "resnetse34v2": ["conv1", "layer1", "layer2", "layer3", "layer4"],
    "dinov3-vits16": ["patch_embed", "blocks.0", "blocks.1"],
    "ge2e": ["lstm"],
}


@pytest.fixture(autouse=True, scope="module")
def _shallow() -> Iterator[None]:
    with official.shallow():
        yield


@pytest.mark.parametrize("name", BLOCKS)
def test_every_parameter_that_learns_is_in_one_block(name: str) -> None:
    encoder = load_trainable(f"{name}@random:0").encoder
    blocks = blocks_of(encoder)
    assert [block.name for block in blocks] == BLOCKS[name]
    for parameter, _ in encoder.module.named_parameters():
        count = sum(block.holds(parameter) for block in blocks)
        assert count == (parameter.partition(".")[0] not in encoder.unused), parameter


def test_blocks_of_an_unknown_network_are_its_longest_list(tmp_path: Path) -> None:
    encoder = load_trainable(f"hf:{write_vit(tmp_path)}").encoder
    names = [block.name for block in blocks_of(encoder)]
    assert len(names) == len(set(names)) >= 2
    assert all("layer" in name for name in names)
    last = choose_blocks(encoder, "last:1")[0]
    assert last.name == names[-1]
    assert last.holds("layernorm.weight")
    assert not last.holds("embeddings.cls_token")


def test_batch_norms_stay_where_training_needs_them() -> None:
    trained = load_trainable("r2plus1d-18@random:3:every=4,side=28")
    frozen = load_encoder("r2plus1d-18", weights="random:3")
    norms = [m for m in trained.encoder.module.modules() if isinstance(m, nn.BatchNorm3d)]
    assert len(norms) == 37
    assert not any(isinstance(m, nn.BatchNorm3d) for m in frozen.module.modules())
    assert trained.form.shape == (3, 4, 28, 28)
    x = torch.randn(1, 3, 4, 28, 28)
    with torch.no_grad():
        torch.testing.assert_close(
            trained.encoder.forward(x), frozen.forward(x), rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    ("name", "width", "dim", "x"),
    [
        ("r2plus1d-18", 4, 32, torch.randn(2, 3, 4, 16, 16)),
        ("resnetse34l", 4, 128, torch.randn(2, 4_000)),
        ("resnetse34v2", 4, 64, torch.randn(2, 4_000)),
    ],
)
def test_a_network_of_reduced_size_is_the_same_network(
    name: str, width: int, dim: int, x: torch.Tensor
) -> None:
    whole = load_trainable(f"{name}@random:0").encoder
    small = load_trainable(f"{name}@random:0", width=width).encoder
    assert list(small.module.state_dict()) == list(whole.module.state_dict())
    ranks = [[v.dim() for v in one.module.state_dict().values()] for one in (small, whole)]
    assert ranks[0] == ranks[1]
    assert small.spec.dim == dim
    tokens = small.forward(x)
    pooled = small.pool(tokens)
    assert pooled.shape == (2, dim)
    again = load_trainable(f"{name}@random:0", width=width).encoder
    assert torch.equal(again.pool(again.forward(x)), pooled)


def test_the_published_width_is_the_published_network() -> None:
    whole = load_trainable("r2plus1d-18@random:0").encoder.module.state_dict()
    same = load_trainable("r2plus1d-18@random:0", width=64).encoder.module.state_dict()
    assert {k: v.shape for k, v in same.items()} == {k: v.shape for k, v in whole.items()}


def test_what_cannot_be_trained_so_is_refused() -> None:
    with pytest.raises(ConfigError, match="no reduced network of it; there is of r2plus1d-18, res"):
        load_trainable("ge2e@random:0", width=4)
    with pytest.raises(ConfigError, match="width 4 has no published weights; give random:SEED"):
        load_trainable("resnetse34l", width=4)
    with pytest.raises(ConfigError, match="option every must be at least 1, not 0"):
        load_trainable("r2plus1d-18@random:0:every=0")
    encoder = load_trainable("resnetse34l@random:0").encoder
    with pytest.raises(ConfigError, match=r"last:9 is more than its 5 blocks: conv1, layer1"):
        choose_blocks(encoder, "last:9")
    assert choose_blocks(encoder, "frozen") == ()
