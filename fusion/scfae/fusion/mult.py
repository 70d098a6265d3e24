"""MulT: directed cross-modal transformers (Tsai et al., ACL 2019, arXiv 1906.00295).

    X_m      each modality's rows through a convolution of kernel 1, with a sinusoidal time code
    Z_k->m   layers in which X_m attends to X_k; keys stay the first layer's X_k (Eq. 2 to 6)
    Z_m      Z_k->m of all k side by side, through a self-attention transformer; its last row
    out      o + W2 relu(W1 o) on the last rows of all m side by side

Layers are pre-norm, their residuals not normed, as in the authors' code. Deviations: any number of
modalities; a modality alone attends to itself; keys and queries have a norm each, keys no bias; the
last row is the last valid one of each sample. Of the code's, these are left out: the mask of the
future (on by default), dropout of embeddings and of attention's weights (here one rate of what is
heard and of what is fed forward), Glorot initialisation.

Shapes: B samples, T rows, W model width (30), M modalities.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .attention import SelfAttentionLayer, check_width, embed
from .base import Fusion
from .cross_encoder import CrossEncoder
from .info import FusionInfo, TrainingRecipe
from .output import FusionOutput
from .perceptron import MLP
from .pooling import LastPooling
from .presence import Inputs


class MulT(Fusion):
    """A cross-modal transformer for each ordered pair, then one for each modality.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        head: `linear` or `mlp`.
        width: Model width W, even and a multiple of `num_heads`.
        num_layers: Layers of every transformer.
        num_heads: Attention heads.
        dropout: In every layer and before the head.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        head: str = "linear",
        width: int = 30,
        num_layers: int = 5,
        num_heads: int = 5,
        dropout: float = 0.1,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, head=head, check_finite=check_finite)
        del self.poolings  # the last row is read after the transformers
        check_width(width, num_heads)
        if num_layers < 1:
            raise ValueError(f"num_layers: must be at least 1, not {num_layers}")
        self.width = width
        # A convolution of kernel 1 is a linear map of each row.
        self.project = nn.ModuleDict(
            {m: nn.Linear(d, width, bias=False) for m, d in self.dims.items()}
        )
        self.others = {m: [k for k in self.dims if k != m] or [m] for m in self.dims}
        self.cross = nn.ModuleDict(
            {
                f"{k}|{m}": CrossEncoder(width, num_heads, num_layers, dropout)
                for m, others in self.others.items()
                for k in others
            }
        )
        joined = width * max(1, len(self.dims) - 1)
        self.memory = nn.ModuleDict(
            {
                m: nn.ModuleList(
                    SelfAttentionLayer(joined, num_heads, dropout=dropout, activation="relu")
                    for _ in range(num_layers)
                )
                for m in self.dims
            }
        )
        self.memory_norm = nn.ModuleDict({m: nn.LayerNorm(joined) for m in self.dims})
        self.last = LastPooling(joined)
        total = joined * len(self.dims)
        self.refine = MLP(total, total, total, activation="relu", dropout=dropout)
        self.add_head(total)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M (M-1) W]`; `z` holds each modality's last row, zero if absent."""
        streams = {m: self.project[m](inputs.features[m]) for m in self.modalities}
        z: dict[str, Tensor] = {}
        for m in self.modalities:
            heard = [
                self.cross[f"{k}|{m}"](streams[m], streams[k], inputs.valid[k])
                for k in self.others[m]
            ]
            tokens = embed(torch.cat(heard, dim=2))
            memory = self.memory[m]
            assert isinstance(memory, nn.ModuleList)
            for layer in memory:
                tokens = layer(tokens, inputs.valid[m])
            z[m] = self.last(self.memory_norm[m](tokens), inputs.valid[m])
        side_by_side = torch.cat([z[m] for m in self.modalities], dim=1)
        return FusionOutput(fused=side_by_side + self.refine(side_by_side), z=z)


INFOS = (
    FusionInfo(
        name="mult",
        method=MulT,
        paper_row="MulT",
        source="Tsai et al., ACL 2019, arXiv 1906.00295",
        faithfulness="text",
        missing="its rows are no keys, and its own stream's last row is zero",
        deviations=(
            "Any number of modalities; one alone attends to itself.",
            "Queries and keys have a norm each; keys have no bias.",
            "No mask of the future, which the authors' code has by default.",
            "One rate of dropout, none of embeddings or attention's weights.",
            "PyTorch's initialisation.",
            "The last valid row of each sample is read.",
        ),
        needs=("sequence",),
        recipe=TrainingRecipe(
            optimizer="adam",
            lr=1e-3,
            weight_decay=0.0,
            batch_size=24,
            stage_epochs=(40,),
            schedule="constant",
            clip_norm=0.8,
            source="defaults of the authors' code; it cuts the rate after 20 epochs without gain",
        ),
    ),
)
