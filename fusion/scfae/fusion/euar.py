"""EUAR: a mixture of Gaussian experts that says how sure it is.

Gao et al., "Enhanced Experts with Uncertainty-Aware Routing for Multimodal Sentiment Analysis" (ACM
MM 2024), after a third party's re-implementation: the authors' partial release is no longer there.

    h_m = LN(GELU(linear(V_m)))
    g = softmax(gate h_m), the best `top_k` kept without renormalising
    y_m = sum over kept e of g_e (mu_e + sigma_e noise);  (mu_e, log sigma_e^2) = linear_e(h_m)
    fused = dropout(GELU(linear([y_1; ...; y_M])))

Losses over the modalities present: `kl` of the kept Gaussians to N(0, 1), by their gates;
`balance` of Switch, E sum over e of f_e P_e, f_e the share of places where e is the first choice
and P_e the mean gate; `uncertainty`, the gates times the mean variance, over E.

Readings: one gate and one set of experts serve every modality; means are over features; `kl` weighs
the kept experts and `uncertainty` all. There is noise in training only. An absent modality's y_m is
zero.

Shapes: B samples, M modalities, W width, E experts.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .losses import mean_over_present
from .output import FusionOutput
from .perceptron import make_encoders
from .presence import Inputs

LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE = -8.0, 5.0


class GaussianExperts(nn.Module):
    """Linear experts that each give a mean and a log-variance.

    Args:
        width: W, of inputs and outputs.
        num_experts: E.
    """

    def __init__(self, width: int, num_experts: int) -> None:
        super().__init__()
        self.num_experts = num_experts
        self.linear = nn.Linear(width, num_experts * 2 * width)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance `[..., E, W]` from h `[..., W]`."""
        both = self.linear(h).unflatten(-1, (self.num_experts, 2, -1))
        mean, log_variance = both.unbind(dim=-2)
        return mean, log_variance.clamp(LEAST_LOG_VARIANCE, MOST_LOG_VARIANCE)


class EUAR(Fusion):
    """Uncertainty-aware routing over Gaussian experts.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        pooling: `mean` or `attention`.
        head: `linear` or `mlp`.
        width: W.
        num_experts: E.
        top_k: Experts kept for each modality of each sample.
        dropout: Before the head.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        width: int = 128,
        num_experts: int = 8,
        top_k: int = 3,
        dropout: float = 0.15,
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        if not 1 <= top_k <= num_experts:
            raise ValueError(f"top_k: must be from 1 to num_experts = {num_experts}, not {top_k}")
        self.top_k = top_k
        self.encoders = make_encoders(self.dims, width, "gelu")
        self.gate = nn.Linear(width, num_experts)
        self.experts = GaussianExperts(width, num_experts)
        self.joint = nn.Sequential(
            nn.Linear(width * len(self.dims), width), nn.GELU(), nn.Dropout(dropout)
        )
        self.add_head(width)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, W]`; `z` holds each modality's mixture `[B, W]`."""
        vectors = self.pooled(inputs)
        hidden = torch.stack([self.encoders[m](vectors[m]) for m in self.modalities], dim=1)
        gates = self.gate(hidden).float().softmax(dim=-1)  # [B, M, E]
        best = gates.topk(self.top_k, dim=-1).indices
        kept = gates * torch.zeros_like(gates).scatter(-1, best, 1.0)
        mean, log_variance = self.experts(hidden)
        drawn = mean
        if self.training:
            drawn = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        mixed = (kept[..., None] * drawn).sum(dim=2)
        mixed = mixed.masked_fill(~inputs.present[:, :, None], 0.0)
        return FusionOutput(
            fused=self.joint(mixed.flatten(1)),
            z={m: mixed[:, i] for i, m in enumerate(self.modalities)},
            losses=self._losses(gates, kept, mean.float(), log_variance.float(), inputs.present),
        )

    def _losses(
        self, gates: Tensor, kept: Tensor, mean: Tensor, log_variance: Tensor, present: Tensor
    ) -> dict[str, Tensor]:
        num_experts = gates.shape[-1]
        variance = log_variance.exp()
        kl = 0.5 * (mean**2 + variance - 1 - log_variance).mean(dim=-1)  # [B, M, E]
        unsure = (gates * variance.mean(dim=-1)).sum(dim=-1) / num_experts
        here = present[:, :, None].to(gates.dtype)
        count = here.sum().clamp(min=1)
        first = torch.zeros_like(gates).scatter(-1, gates.argmax(dim=-1, keepdim=True), 1.0)
        share = (first * here).sum(dim=(0, 1)) / count
        probability = (gates * here).sum(dim=(0, 1)) / count
        return {
            "kl": mean_over_present((kept * kl).sum(dim=-1), present, present),
            "balance": num_experts * (share * probability).sum(),
            "uncertainty": mean_over_present(unsure, present, present),
        }


INFOS = (
    FusionInfo(
        name="euar",
        method=EUAR,
        paper_row="EUAR",
        source="Gao et al., ACM MM 2024, after a third party's code (the authors' is gone)",
        faithfulness="port",
        missing="its slot is zero, and it counts in no loss",
        deviations=("One gate and one set of experts serve every modality.",),
        recipe=TrainingRecipe(
            stage_epochs=(30,),
            loss_weights={"kl": 1e-3, "balance": 1e-5, "uncertainty": 1e-3},
            source="loss weights: the third party's code; the rest is ours",
        ),
        batch_losses=("balance",),
    ),
)
