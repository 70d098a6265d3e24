"""Alignment and masked reconstruction: streams match and fill each other's gaps. Ours.

Stands in for CAFR (Wang et al., ACM MM 2025), of which neither code nor enough text is public: it
is no reproduction. Tokens of each modality are projected; where two modalities are there, their
tokens are matched by cosine and the matched ones drawn together; then, in training, some tokens are
hidden behind a learned one, all streams go through a transformer, and the hidden features are
rebuilt from what is left of both.

    align   sum of P_ts (1 - cos) over a sample's tokens, P its softened best matching
    recon   1 - cos of hidden features and what is rebuilt of them; 0 in evaluation, where
            nothing is hidden

The matching is the entropic relaxation of the assignment that the Hungarian method solves, by
Sinkhorn's iterations (Cuturi, NeurIPS 2013), and is held constant in the gradient. With labels only
genuine samples are aligned (`matched_label`): a forged one's streams need not agree.

Shapes: B samples, T tokens of one modality, S of another, W model width.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import SelfAttentionLayer, time_code
from .base import Fusion
from .info import FusionInfo
from .losses import mean_over_present
from .matching import check_matched_label, matched_samples, modality_pairs
from .output import FusionOutput
from .pooling import masked_mean
from .presence import Inputs


class AlignMaskRecon(Fusion):
    """Token alignment, masked reconstruction, and the mean over each stream.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        head: `linear` or `mlp`.
        width: Model width W, a multiple of `2 * num_heads`.
        num_layers: Layers over all streams together.
        num_heads: Attention heads.
        dropout: In every layer.
        hidden_share: Share of tokens hidden in training.
        sharpness: How near the matching is to a hard one; cosines are multiplied by it.
        num_iterations: Of Sinkhorn.
        matched_label: Index of the genuine class; None takes every sample for genuine.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        head: str = "linear",
        width: int = 256,
        num_layers: int = 2,
        num_heads: int = 4,
        dropout: float = 0.1,
        hidden_share: float = 0.3,
        sharpness: float = 10.0,
        num_iterations: int = 20,
        matched_label: int | None = 0,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, head=head, check_finite=check_finite)
        del self.poolings  # the mean over each stream comes after the layers
        if min(width, num_layers, num_heads, num_iterations) < 1 or width % (2 * num_heads):
            raise ValueError(
                "width: must be a multiple of 2 * num_heads and every size at least 1, not "
                f"{width}, {num_heads}, {num_layers}, {num_iterations}"
            )
        if not 0 < hidden_share < 1 or sharpness <= 0:
            raise ValueError(
                "hidden_share, sharpness: between 0 and 1, and positive, not "
                f"{hidden_share} and {sharpness}"
            )
        self.hidden_share = hidden_share
        self.sharpness = sharpness
        self.num_iterations = num_iterations
        check_matched_label(matched_label, num_outputs)
        self.matched_label = matched_label
        self.project = nn.ModuleDict({m: nn.Linear(d, width) for m, d in self.dims.items()})
        self.hidden = nn.ParameterDict(
            {m: nn.Parameter(torch.randn(width) * 0.02) for m in self.modalities}
        )
        self.kind = nn.ParameterDict(
            {m: nn.Parameter(torch.randn(width) * 0.02) for m in self.modalities}
        )
        self.layers = nn.ModuleList(
            SelfAttentionLayer(width, num_heads, dropout=dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.rebuild = nn.ModuleDict({m: nn.Linear(width, d) for m, d in self.dims.items()})
        self.add_head(width * len(self.modalities))

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M W]`; `z` holds each stream's mean `[B, W]`, zero if absent.

        It has heard the other modalities, so it is no embedding for retrieval.
        """
        rows = {m: self.project[m](inputs.features[m]) for m in self.modalities}
        gaps = {m: self._gaps(inputs.valid[m]) for m in self.modalities}
        tokens = [
            torch.where(gaps[m][:, :, None], self.hidden[m].to(x.dtype), x)
            + self.kind[m]
            + time_code(x)
            for m, x in rows.items()
        ]
        whole = torch.cat(tokens, dim=1)
        seen = torch.cat([inputs.valid[m] for m in self.modalities], dim=1)
        for layer in self.layers:
            whole = layer(whole, seen)
        whole = self.norm(whole)
        z, rebuilt, start = {}, {}, 0
        for m in self.modalities:
            valid = inputs.valid[m]
            stream = whole[:, start : start + valid.shape[1]]
            start += valid.shape[1]
            z[m] = masked_mean(stream.masked_fill(~valid[:, :, None], 0.0), valid)
            rebuilt[m] = self.rebuild[m](stream)
        losses = {
            "align": self._align_loss(rows, inputs),
            "recon": self._recon_loss(rebuilt, gaps, inputs),
        }
        return FusionOutput(fused=torch.cat(list(z.values()), dim=1), z=z, losses=losses)

    def _gaps(self, valid: Tensor) -> Tensor:
        """Return bool `[B, T]`: tokens hidden in training, none else."""
        if not self.training:
            return torch.zeros_like(valid)
        return valid & (torch.rand(valid.shape, device=valid.device) < self.hidden_share)

    def _align_loss(self, rows: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        genuine = inputs.present.any(dim=1)
        if inputs.labels is not None:
            genuine = genuine & matched_samples(inputs.labels, self.matched_label)
        parts = []
        for a, b, both in modality_pairs(self.modalities, inputs.present):
            cosines = F.normalize(rows[a], dim=2) @ F.normalize(rows[b], dim=2).transpose(1, 2)
            with torch.no_grad():
                matching = soft_matching(
                    self.sharpness * cosines, inputs.valid[a], inputs.valid[b], self.num_iterations
                )
            errors = (matching * (1 - cosines)).sum(dim=(1, 2))
            parts.append(mean_over_present(errors, both & genuine, inputs.present))
        return torch.stack(parts).sum()

    def _recon_loss(
        self, rebuilt: Mapping[str, Tensor], gaps: Mapping[str, Tensor], inputs: Inputs
    ) -> Tensor:
        parts = []
        for m in self.modalities:
            errors = 1 - F.cosine_similarity(rebuilt[m], inputs.features[m], dim=2)
            count = gaps[m].sum(dim=1)
            mean = errors.masked_fill(~gaps[m], 0.0).sum(dim=1) / count.clamp(min=1)
            parts.append(mean_over_present(mean, count > 0, inputs.present))
        return torch.stack(parts).sum()


def soft_matching(scores: Tensor, valid: Tensor, their: Tensor, num_iterations: int) -> Tensor:
    """Return the entropic matching of each sample's tokens, `[B, T, S]`, which sums to 1.

    Rows sum to 1 / (valid tokens) and columns nearly so; what is not valid has none.

    Args:
        scores: `[B, T, S]`, cosines times sharpness.
        valid: bool `[B, T]`.
        their: bool `[B, S]`.
        num_iterations: Of Sinkhorn, each of columns, then rows.
    """
    scores = scores.float()
    ignored = ~(valid[:, :, None] & their[:, None, :])
    scores = scores.masked_fill(ignored, -1e9)
    own = -valid.sum(dim=1, keepdim=True).clamp(min=1).log()
    other = -their.sum(dim=1, keepdim=True).clamp(min=1).log()
    for_rows = torch.zeros_like(scores[:, :, 0])
    for_columns = torch.zeros_like(scores[:, 0, :])
    for _ in range(num_iterations):
        for_columns = other - (scores + for_rows[:, :, None]).logsumexp(dim=1)
        for_columns = for_columns.masked_fill(~their, 0.0)
        for_rows = own - (scores + for_columns[:, None, :]).logsumexp(dim=2)
        for_rows = for_rows.masked_fill(~valid, 0.0)
    matching = (scores + for_rows[:, :, None] + for_columns[:, None, :]).exp()
    return matching.masked_fill(ignored, 0.0)


INFOS = (
    FusionInfo(
        name="align_maskrecon",
        method=AlignMaskRecon,
        paper_row="CAFR",
        source="ours, in place of Wang et al., ACM MM 2025, which is not public in enough detail",
        faithfulness="substitute",
        missing="its tokens are no keys, its stream's mean is zero, it is in no loss",
        deviations=("No reproduction of CAFR: softened token matching and masked tokens.",),
        needs=("sequence", "labels"),
        min_modalities=2,
        is_ours=True,
    ),
)
