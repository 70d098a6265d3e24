"""A gradient reaches all of an encoder that learns; checkpointing changes memory, not numbers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from scfae.extract.trainable import load_trainable
from scfae.train.encoder_config import EncoderConfig
from scfae.train.trained_encoder import TrainedEncoder

from ..extract.encoders import official
from ..extract.hf_kit import write_wav2vec2

ENCODERS = {
    "r2plus1d-18@random:1:every=8,side=14": 2,
    "resnetse34l@random:1:window_s=0.1": None,
    "resnetse34v2@random:1:window_s=0.1": None,
    "dinov3-vits16@random:1:side=64": None,
    "ge2e@random:1": None,
}
LARGE = {
    "videomaev2-s@random:1": None,
    "wavlm-base@random:1:window_s=0.2": None,
    "audiomae-vitb@random:1": None,
    "efficientnet-lite0@random:1:side=64": None,
    "c3d@random:1": None,
    "timm:resnet18@random:1:side=64": None,
}
# What has no influence: a shift that the softmax over time takes away; a layer not asked for.
VOID = {"resnetse34v2": ("attention.3.bias",), "c3d": ("fc7.",)}


@pytest.fixture(autouse=True, scope="module")
def _shallow() -> Iterator[None]:
    with official.shallow():
        yield


def rows_of(encoder: TrainedEncoder, *shape: int) -> Tensor:
    """Return windows as rows `[B, T, D]`: bytes, or sound of the full length."""
    form = encoder._form
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(*shape, form.dim, generator=generator)
    if form.values == "bytes":
        return (noise * 255).round()
    rows = noise * 0.5 - 0.25 if len(form.shape) == 1 else noise
    if form.has_count:
        rows[..., 0] = form.dim - 1
    return rows


def make(name: str, width: int | None = None, **config: Any) -> TrainedEncoder:
    settings = EncoderConfig(encoder=name, width=width, **config)
    return TrainedEncoder("m", settings, load_trainable(name, width=width).form.dim)


def every(rows: Tensor) -> Tensor:
    return torch.ones(rows.shape[:2], dtype=torch.bool)


def gradients(encoder: TrainedEncoder, rows: Tensor) -> dict[str, Tensor | None]:
    encoder.zero_grad()
    torch.manual_seed(0)
    features = encoder(rows, every(rows))
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(1))
    (features * weights).sum().backward()
    return {name: p.grad for name, p in encoder.network.named_parameters() if p.requires_grad}


@pytest.mark.parametrize(
    ("name", "width"),
    [*ENCODERS.items(), *(pytest.param(*one, marks=pytest.mark.slow) for one in LARGE.items())],
)
def test_a_gradient_reaches_every_parameter_that_learns(name: str, width: int | None) -> None:
    encoder = make(name, width)
    rows = rows_of(encoder, 2, 1)
    assert encoder(rows, every(rows)).shape == (2, 1, encoder.dim)
    void = VOID.get(name.partition("@")[0], ())
    for parameter, value in encoder.network.named_parameters():
        if parameter.endswith("se.fc.0.bias"):
            nn.init.constant_(value, 0.5)  # a gate that begins switched off has no gradient
        elif parameter.endswith("weight") and value.dim() == 1 and not value.any():
            nn.init.ones_(value)  # nor has a branch that begins at nothing
    found = gradients(encoder, rows)
    assert found
    for parameter, gradient in found.items():
        is_void = any(parameter.startswith(one) for one in void)
        assert is_void or (gradient is not None and bool(gradient.any())), parameter
    last = make(name, width, train="last:1")
    some = gradients(last, rows)
    assert 0 < len(some) <= len(found)


def statistics(encoder: TrainedEncoder) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in encoder.network.named_buffers()}


@pytest.mark.parametrize("name", list(ENCODERS)[:2])
def test_checkpointing_changes_no_number(name: str) -> None:
    results = []
    for checkpointing in (False, True):
        encoder = make(name, 2, checkpointing=checkpointing, chunk=3)
        rows = rows_of(encoder, 5, 1)
        results.append((gradients(encoder, rows), statistics(encoder)))
    (plain, counted), (again, same) = results
    assert all(torch.equal(plain[key], again[key]) for key in plain)  # type: ignore[arg-type]
    assert all(torch.equal(counted[key], same[key]) for key in counted)
    assert (
        int(
            counted[
                "layer1.0.bn1.num_batches_tracked"
                if "resnet" in name
                else "stem.1.num_batches_tracked"
            ]
        )
        == 2
    )


def kept_bytes(encoder: TrainedEncoder, rows: Tensor) -> int:
    """Return the bytes that a forward pass keeps for the backward pass, windows aside."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        encoder(rows, every(rows)).sum()
    kept.pop(rows.untyped_storage().data_ptr(), None)
    return sum(kept.values())


def test_checkpointing_keeps_no_more_for_more_windows() -> None:
    name = "r2plus1d-18@random:1:every=4,side=28"
    plain, checked = (make(name, 2, checkpointing=on, chunk=2) for on in (False, True))
    few, many = rows_of(plain, 4, 1), rows_of(plain, 8, 1)
    assert kept_bytes(plain, many) > 1.7 * kept_bytes(plain, few)
    assert kept_bytes(checked, many) < kept_bytes(plain, many) / 20


def test_windows_of_their_own_length_go_through_apart(tmp_path: Path) -> None:
    name = f"hf:{write_wav2vec2(tmp_path)}:feature=rows,window_s=0.5"
    encoder = make(name).eval()
    rows = rows_of(encoder, 3, 2)
    rows[0, 1, 0] = rows[2, 0, 0] = 3_000
    rows[0, 1, 3_001:] = rows[2, 0, 3_001:] = 0
    with torch.no_grad():
        together = encoder(rows, every(rows))
        sound = rows[2, 0, 1:3_001][None]
        alone = encoder._encoder.encode(sound).mean(dim=1)[0]
    torch.testing.assert_close(together[2, 0], alone, rtol=1e-4, atol=1e-5)


def test_what_is_not_valid_is_zero_and_not_computed() -> None:
    encoder = make("ge2e@random:1")
    rows = rows_of(encoder, 2, 3)
    valid = torch.tensor([[True, False, False], [True, True, False]])
    rows[~valid] = torch.nan
    features = encoder(rows, valid)
    assert torch.isfinite(features).all()
    assert not features[~valid].any()
    assert features[valid].any(dim=1).all()
