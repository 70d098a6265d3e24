"""No fusion: each modality has its own network and head, and their logits are averaged.

`modality` keeps one of them alone, the paper's Table 6 row 0 ("standalone unimodal training"). All
of them together are the plainest late fusion: nothing is exchanged before the logits, and what is
missing has no vote. `late_fusion` weighs the votes by one learned number a modality.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .base import Fusion
from .heads import make_head
from .info import FusionInfo
from .output import FusionOutput
from .perceptron import MLP
from .pooling import make_poolings
from .presence import Inputs


class Unimodal(Fusion):
    """A perceptron and a head for each modality; the mean of the logits of those present.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of each head; None builds none.
        pooling: One of `POOLINGS`.
        head: `linear` or `mlp`.
        hidden: Width of each modality's embedding.
        dropout: In the perceptrons.
        modality: The only one that is used; None is all.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        hidden: int = 256,
        dropout: float = 0.1,
        modality: str | None = None,
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        if modality is not None and modality not in self.dims:
            raise ValueError(f"modality: must be one of {', '.join(self.dims)}, not {modality!r}")
        if hidden < 1:
            raise ValueError(f"hidden: must be at least 1, not {hidden}")
        self.used = self.modalities if modality is None else (modality,)
        widths = {m: self.dims[m] for m in self.used}
        self.poolings = make_poolings(pooling, widths)
        self.embed = nn.ModuleDict(
            {
                m: MLP(width, hidden, hidden, dropout=dropout, activate_last=True)
                for m, width in widths.items()
            }
        )
        self.output_dim = hidden * len(self.used)
        if num_outputs is not None:
            self.heads = nn.ModuleDict({m: make_head(head, hidden, num_outputs) for m in self.used})

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M hidden]`, the embeddings side by side, and the mean of the logits."""
        columns = [self.modalities.index(m) for m in self.used]
        present = inputs.present[:, columns]
        z: dict[str, Tensor] = {}
        for i, m in enumerate(self.used):
            vector = self.poolings[m](inputs.features[m], inputs.valid[m])
            z[m] = self.embed[m](vector).masked_fill(~present[:, i, None], 0.0)
        logits = None
        if self.num_outputs is not None:
            votes = torch.stack([self.heads[m](z[m]) for m in self.used], dim=1)
            weights = self.vote_weights(present).to(votes.dtype)
            logits = (votes * weights[:, :, None]).sum(dim=1)
        return FusionOutput(fused=torch.cat([z[m] for m in self.used], dim=1), z=z, logits=logits)

    def vote_weights(self, present: Tensor) -> Tensor:
        """Return each modality's share in the logits, `[B, M]`, from presence bool `[B, M]`."""
        return present / present.sum(dim=1, keepdim=True).clamp(min=1)


class LateFusion(Unimodal):
    """As `Unimodal`, with one learned weight a modality, a softmax over those present.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of each head; None builds none.
        pooling: One of `POOLINGS`.
        head: `linear` or `mlp`.
        hidden: Width of each modality's embedding.
        dropout: In the perceptrons.
        weights: `learned`, or `mean` of those present.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        hidden: int = 256,
        dropout: float = 0.1,
        weights: str = "learned",
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims,
            num_outputs=num_outputs,
            pooling=pooling,
            head=head,
            hidden=hidden,
            dropout=dropout,
            check_finite=check_finite,
        )
        if weights not in ("learned", "mean"):
            raise ValueError(f"weights: must be one of learned, mean, not {weights!r}")
        # One modality has all the weight, whatever it is.
        is_learned = weights == "learned" and len(self.dims) > 1 and num_outputs is not None
        self.scores = nn.Parameter(torch.zeros(len(self.dims))) if is_learned else None

    def vote_weights(self, present: Tensor) -> Tensor:
        """Return each modality's share in the logits, `[B, M]`, from presence bool `[B, M]`."""
        if self.scores is None:
            return super().vote_weights(present)
        lowest = torch.finfo(self.scores.dtype).min
        scores = self.scores.expand(present.shape).masked_fill(~present, lowest)
        return scores.softmax(dim=1).masked_fill(~present, 0.0)


INFOS = (
    FusionInfo(
        name="unimodal",
        method=Unimodal,
        paper_row="Standalone Unimodal Baseline",
        source="plain baseline",
        faithfulness="substitute",
        missing="it has no vote; with nothing present the logits are 0",
    ),
    FusionInfo(
        name="late_fusion",
        method=LateFusion,
        paper_row="Late Fusion",
        source="plain baseline",
        faithfulness="substitute",
        missing="it has no vote, and the others' weights grow to 1 in all",
    ),
)
