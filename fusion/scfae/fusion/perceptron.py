"""The multi-layer perceptron that methods are made of, and encoders of one layer."""

from collections.abc import Mapping
from itertools import pairwise

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}


def make_encoders(dims: Mapping[str, int], width: int, activation: str) -> nn.ModuleDict:
    """Return for each modality a linear layer to `width`, an activation and a layer norm."""
    return nn.ModuleDict(
        {
            m: nn.Sequential(nn.Linear(d, width), ACTIVATIONS[activation](), nn.LayerNorm(width))
            for m, d in dims.items()
        }
    )


class MLP(nn.Sequential):
    """Linear layers with an activation between them: `[..., widths[0]]` to `[..., widths[-1]]`.

    Each hidden layer is linear, norm (if any), activation, dropout (if any).

    Args:
        *widths: Of input, hidden layers and output; at least two.
        activation: One of `ACTIVATIONS`.
        dropout: After each hidden activation.
        norm: A layer norm before each hidden activation.
        activate_last: Norm, activation and dropout follow the last layer too.

    Raises:
        ValueError: If there are fewer than two widths, no such activation, or no such dropout.
    """

    def __init__(
        self,
        *widths: int,
        activation: str = "gelu",
        dropout: float = 0.0,
        norm: bool = False,
        activate_last: bool = False,
    ) -> None:
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(f"widths: at least two, each at least 1, not {widths}")
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"activation: must be one of {', '.join(ACTIVATIONS)}, not {activation!r}"
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: must be from 0 to below 1, not {dropout}")
        layers: list[nn.Module] = []
        for i, (width_in, width_out) in enumerate(pairwise(widths)):
            layers.append(nn.Linear(width_in, width_out))
            if i == len(widths) - 2 and not activate_last:
                break
            if norm:
                layers.append(nn.LayerNorm(width_out))
            layers.append(ACTIVATIONS[activation]())
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
        super().__init__(*layers)
