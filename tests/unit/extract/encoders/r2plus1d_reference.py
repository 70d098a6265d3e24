"""R(2+1)D written down a second time, from tensors under torchvision's names."""

import torch.nn.functional as F
from torch import Tensor

from .official import State


def features(state: State, x: Tensor, *, eps: float, is_norm_first: bool = False) -> Tensor:
    """Return layer 4's map `[B, 512, T/8, H/16, W/16]` of normalised clips `[B, 3, T, H, W]`."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        scale = state[f"{name}.weight"] / (variance + eps).sqrt()
        shift = state[f"{name}.bias"] - mean * scale
        return x * scale.view(1, -1, 1, 1, 1) + shift.view(1, -1, 1, 1, 1)

    def normed(x: Tensor, name: str) -> Tensor:
        return norm(F.relu(x), name) if is_norm_first else F.relu(norm(x, name))

    def apart(x: Tensor, name: str, stride: int) -> Tensor:
        """Convolve space, then time; without the norm that follows."""
        x = F.conv3d(x, state[f"{name}.0.weight"], stride=(1, stride, stride), padding=(0, 1, 1))
        x = normed(x, f"{name}.1")
        return F.conv3d(x, state[f"{name}.3.weight"], stride=(stride, 1, 1), padding=(1, 0, 0))

    x = F.conv3d(x, state["stem.0.weight"], stride=(1, 2, 2), padding=(0, 3, 3))
    x = F.relu(norm(x, "stem.1"))
    x = F.relu(norm(F.conv3d(x, state["stem.3.weight"], padding=(1, 0, 0)), "stem.4"))
    for layer in range(1, 5):
        block = 0
        while f"layer{layer}.{block}.conv1.0.0.weight" in state:
            name = f"layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            y = F.relu(norm(apart(x, f"{name}.conv1.0", stride), f"{name}.conv1.1"))
            y = norm(apart(y, f"{name}.conv2.0", 1), f"{name}.conv2.1")
            if f"{name}.downsample.0.weight" in state:
                x = norm(
                    F.conv3d(x, state[f"{name}.downsample.0.weight"], stride=stride),
                    f"{name}.downsample.1",
                )
            x = F.relu(x + y)
            block += 1
    return x
