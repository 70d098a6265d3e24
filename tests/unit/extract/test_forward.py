"""Forward passes: precision is what is said, memory that runs out changes no row."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scfae.extract import Encoder, EncoderSpec, MediaKind, Recipe, load_encoder
from scfae.extract.batching import ShardBatcher
from scfae.extract.compute import Compute
from scfae.extract.forward import Forward, to_channels_last
from scfae.extract.plan import plan_columns
from scfae.store import ColumnInfo
from scfae.store.errors import ConfigError, EncoderError

from .test_batching import window


class Tight(Encoder):
    """An encoder whose device has room for `room` windows of width 3, and for fewer wider ones."""

    def __init__(self, room: int, error: type[Exception] = torch.OutOfMemoryError) -> None:
        spec = EncoderSpec("tight", "audio", ("audio",), 2, None, {}, "none", "here")
        super().__init__(spec, nn.Linear(1, 2), torch.device("cpu"))
        self.room = room
        self.error = error
        self.tried: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.tried.append(len(x))
        if len(x) * x.shape[1] > 3 * self.room:
            text = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"
            raise self.error(text)
        tokens: Tensor = self.module(x[:, :1])
        return tokens[:, None]

    def pool(self, tokens: Tensor) -> Tensor:
        return tokens.mean(dim=1)

    def recipe(self, kind: MediaKind) -> Recipe:
        raise NotImplementedError


def rows_of(encoder: Encoder, *, forward: Forward | None = None) -> list[Any]:
    shard = ShardBatcher(forward or Forward(encoder), batch_size=8, threads=1)
    for name in range(10):
        shard.add(str(name), [window(name + i / 4, rows=1) for i in range(3)])
    shard.finish()
    found = [shard.rows(str(name)) for name in range(10)]
    return [rows[0].tolist() for rows in found if rows is not None]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError, RuntimeError, MemoryError])
def test_a_batch_that_does_not_fit_is_halved_and_the_rows_are_the_same(
    error: type[Exception],
) -> None:
    torch.manual_seed(0)
    roomy, tight = Tight(8), Tight(3, error)
    tight.module = roomy.module
    forward = Forward(tight)
    assert rows_of(tight, forward=forward) == rows_of(roomy)
    # Only the first batch is tried in vain: 8, 4, then 2 at a time, in four batches.
    assert tight.tried == [8, 4] + [2] * 16
    assert forward.notices == [
        "tight: 8 windows of [3] do not fit into the memory of cpu; done 4 at a time",
        "tight: 4 windows of [3] do not fit into the memory of cpu; done 2 at a time",
    ]


def test_the_ceiling_is_that_of_a_shape() -> None:
    tight = Tight(4)
    forward = Forward(tight)
    shard = ShardBatcher(forward, batch_size=4, threads=1)
    shard.add("a", [window(i, width=6, rows=1) for i in range(4)])
    shard.add("b", [window(i, rows=1) for i in range(4)])
    shard.finish()
    assert tight.tried == [4, 2, 2, 4]


def test_a_window_that_never_fits_is_an_error_with_advice() -> None:
    with pytest.raises(EncoderError, match=r"tight: a single window of \[3\].*--precision bf16"):
        rows_of(Tight(0))


def test_other_errors_are_not_taken_for_lack_of_memory() -> None:
    tight = Tight(0, ValueError)
    with pytest.raises(ValueError, match="allocate"):
        rows_of(tight)
    assert tight.tried == [8]


def test_autocast_is_of_the_network_and_not_of_its_preparation() -> None:
    seen: dict[str, torch.dtype] = {}

    class Watched(Tight):
        def prepare(self, windows: Tensor) -> Tensor:
            seen["prepare"] = torch.mm(windows[:, :2], torch.ones(2, 1)).dtype
            return windows

        def forward(self, x: Tensor) -> Tensor:
            tokens = super().forward(x)
            seen["forward"] = tokens.dtype
            return tokens

        def pool(self, tokens: Tensor) -> Tensor:
            seen["pool"] = tokens.dtype
            return super().pool(tokens)

    encoder = Watched(8)
    exact = np.array(rows_of(encoder))
    assert seen["forward"] == torch.float32
    rough = np.array(rows_of(encoder, forward=Forward(encoder, Compute(precision="bf16"))))
    assert seen == {
        "prepare": torch.float32,
        "forward": torch.bfloat16,
        "pool": torch.float32,
    }
    error = np.linalg.norm(rough - exact) / np.linalg.norm(exact)
    assert 0 < error < 0.02


def test_channels_last_keeps_the_numbers() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(1, 2), nn.Conv1d(24, 2, 3)).eval()
    x = torch.rand(2, 3, 8, 8)
    before = net(x)
    to_channels_last(net)
    first = net[0]
    assert isinstance(first, nn.Conv2d)
    assert first.weight.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(net(x), before)
    deep = nn.Conv3d(2, 2, 3)
    to_channels_last(deep)
    assert deep.weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_what_changes_numbers_is_in_the_fingerprint_and_the_rest_is_recorded() -> None:
    encoder = load_encoder("ge2e@random:0")

    def info(compute: Compute | None = None, device: str = "cpu") -> ColumnInfo:
        plans = plan_columns(
            [encoder],
            dtype="float32",
            column_as=None,
            batch_size=2,
            threads=1,
            compute=compute,
            device=device,
        )
        return plans["ge2e"].info

    plain = info()
    assert info(Compute(precision="bf16")).fingerprint != plain.fingerprint
    assert info(Compute(precision="bf16")).recipe["precision"] == "bf16"
    assert info(Compute(tf32=True), "cuda").fingerprint != plain.fingerprint
    assert info(Compute(tf32=True)).fingerprint == plain.fingerprint  # a CPU has no TF32
    same = info(Compute(channels_last=True, compile=True))
    assert same.fingerprint == plain.fingerprint
    assert same.compute == plain.compute | {"channels_last": True, "compile": True}
    for compute in (Compute(), Compute("fp16", channels_last=True), Compute("bf16", compile=True)):
        assert Compute.recorded(info(compute)) == compute
    with pytest.raises(ConfigError, match="--precision must be one of fp32, bf16, fp16"):
        Compute(precision="int8").check()  # type: ignore[arg-type]


def test_compiling_is_asked_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: asked.append(module))
    encoder = Tight(8)
    Forward(encoder, Compute(compile=True))
    assert asked == [encoder.module]


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["ge2e@random:0", "efficientnet-lite0@random:0"])
def test_a_gpu_gives_the_numbers_of_the_cpu(name: str) -> None:
    shape: tuple[int, ...] = (8, 3, 224, 224) if "efficient" in name else (8, 160, 40)
    generator = torch.Generator().manual_seed(0)
    kind = torch.uint8 if "efficient" in name else torch.float32
    batch = (torch.rand(shape, generator=generator) * 200).to(kind)
    rows = {}
    for device, compute in (
        ("cpu", Compute()),
        ("cuda", Compute()),
        ("cuda:0", Compute(precision="bf16")),
    ):
        forward = Forward(load_encoder(name, device=device), compute)
        pinned = forward.buffer(shape, batch.numpy().dtype)
        pinned.copy_(batch)
        rows[device] = [forward.submit(pinned) for _ in range(2)][1]()
    scale = np.abs(rows["cpu"]).max()
    np.testing.assert_allclose(rows["cuda"], rows["cpu"], rtol=0, atol=1e-4 * scale)
    error = np.linalg.norm(rows["cuda:0"] - rows["cpu"]) / np.linalg.norm(rows["cpu"])
    assert error < 0.02
