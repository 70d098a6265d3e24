"""The Self-Consistent Field Autoencoder (arXiv 2410.15475v2, section 4 and appendix A).

For each modality m with the next modality k = (m + 1) mod M:

    expand    Z^_m = GELU(E_m swiglu(V_m)), n l_m wide, split at b_m: shared, specific (Eq. 3)
    exchange  shared_m = GELU(S_m Z^shared_k), l* wide; specific_m = GELU(P_m Z^specific_m)  (Eq. 4)
    output    z_m = swiglu([specific_m; shared_m]), l_m + l* wide
    rebuild   V^_m = act(R_m z_m); recon = sum over m of 1 - cos(V_m, V^_m)               (Eq. 5)

The paper is silent or contradictory in places; the defaults here and the switches for the other
readings: the sign of Eq. 5 (minimised as 1 - cos), GELU also after the reconstruction (not for MSE,
which it cannot fit: `recon_activation`), SwiGLU before expansion and after the exchange with the
latter read by head and reconstruction (`post_scope`), b as a share of n l_m, the input width of S_m
is b_k, what is absent has its parts zeroed and no reconstruction loss (`zero_absent_parts`).

Shapes: B samples, M modalities, l_m width of modality m, l* = min l_m, N = B or B * T samples.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .mapping import SwiGLU
from .output import FusionOutput
from .pooling import masked_mean
from .presence import Inputs

Parts = dict[str, dict[str, Tensor]]


class SCFAE(Fusion):
    """The paper's fusion block, with an optional head.

    Args:
        dims: Width l_m of each modality; the order of the dict is the cycle.
        expansion: n; the expanded width is `round(n * l_m)`.
        shared_ratio: b, the shared part's share of the expanded width; a number or one a modality.
        num_outputs: Outputs of a linear head on `fused`; None builds none.
        pooling: How `[B, T, D]` becomes `[B, D]`: `mean` or `attention`.
        head: `linear` or `mlp`.
        time: `pooled` fuses one vector a sample; `per_step` fuses every time step of inputs that
            share a clock, then takes the mean over time.
        order: The cycle, if it is not the order of `dims`.
        recon_metric: `cosine` (1 - cos) or `mse`.
        recon_activation: `gelu`, `none`, or `auto`: gelu for cosine, none for mse.
        reconstruct: False drops the reconstruction mapping and its loss.
        detach_target: Stop the gradient through the reconstruction's target.
        post_scope: `both`: head and reconstruction read the output SwiGLU; `head`: only the head.
        zero_absent_parts: Zero what comes from an absent modality after the exchange; False lets
            the biases flow.
        branches: `both`, or `shared` / `specific` alone, the other zeroed (Table 14). May be set
            on a trained model.
        check_finite: Refuse NaN and infinity in what is present.
    """

    input_rms: ClassVar[float] = 8.0
    """Two SwiGLUs in a row, no norm, no residual: small values enter z in their fourth power. With
    PyTorch's initialisation z deviates by 4e-5 for inputs of root mean square 1, by 0.2 for 8 and
    by 4 for 16, at any width."""

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        expansion: float = 2,
        shared_ratio: float | Mapping[str, float] = 0.5,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        time: str = "pooled",
        order: Sequence[str] | None = None,
        recon_metric: str = "cosine",
        recon_activation: str = "auto",
        reconstruct: bool = True,
        detach_target: bool = False,
        post_scope: str = "both",
        zero_absent_parts: bool = True,
        branches: str = "both",
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        _check("time", time, ("pooled", "per_step"))
        _check("recon_metric", recon_metric, ("cosine", "mse"))
        _check("recon_activation", recon_activation, ("auto", "gelu", "none"))
        _check("post_scope", post_scope, ("both", "head"))
        _check("branches", branches, ("both", "shared", "specific"))
        if expansion <= 0:
            raise ValueError(f"expansion: must be positive, not {expansion}")
        if time == "per_step":
            if pooling != "mean":
                raise ValueError(f"pooling: time='per_step' takes the mean, not {pooling!r}")
            del self.poolings  # the mean over time comes after fusion
        cycle = tuple(self.modalities if order is None else order)
        if sorted(cycle) != sorted(self.modalities):
            raise ValueError(f"order: must name each of {', '.join(dims)} once, not {cycle}")
        self.time = time
        self.recon_metric = recon_metric
        self.reconstruct = reconstruct
        self.detach_target = detach_target
        self.post_scope = post_scope
        self.zero_absent_parts = zero_absent_parts
        self.branches = branches
        self.next = {m: cycle[(i + 1) % len(cycle)] for i, m in enumerate(cycle)}
        is_gelu = {"auto": recon_metric == "cosine", "gelu": True, "none": False}
        self.recon_activation = nn.GELU() if is_gelu[recon_activation] else nn.Identity()

        self.shared_width = min(
            self.dims.values()
        )  # l*: of what is configured, not of what is here
        wide = {m: round(expansion * width) for m, width in self.dims.items()}
        self.boundary = {m: round(_ratio(shared_ratio, m) * wide[m]) for m in self.modalities}
        for m in self.modalities:
            if not 0 < self.boundary[m] < wide[m]:
                raise ValueError(
                    f"shared_ratio: gives {m!r} {self.boundary[m]} shared of {wide[m]} features; "
                    "both parts need at least one"
                )
        out = {m: width + self.shared_width for m, width in self.dims.items()}
        self.pre = nn.ModuleDict({m: SwiGLU(width) for m, width in self.dims.items()})
        self.expand = nn.ModuleDict({m: nn.Linear(d, wide[m]) for m, d in self.dims.items()})
        self.to_shared = nn.ModuleDict(
            {m: nn.Linear(self.boundary[self.next[m]], self.shared_width) for m in self.modalities}
        )
        self.to_specific = nn.ModuleDict(
            {m: nn.Linear(wide[m] - self.boundary[m], d) for m, d in self.dims.items()}
        )
        self.post = nn.ModuleDict({m: SwiGLU(out[m]) for m in self.modalities})
        if reconstruct:
            self.rebuild = nn.ModuleDict({m: nn.Linear(out[m], d) for m, d in self.dims.items()})
        self.add_head(sum(out.values()))

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return the fused vector `[B, sum of l_m + l*]` and every part of it."""
        if self.time == "per_step":
            return self._fuse_steps(inputs)
        vectors = self.pooled(inputs)
        parts = self._block(vectors, inputs.present)
        return self._output(parts, self._loss(vectors, parts["recon"], inputs.present))

    def _fuse_steps(self, inputs: Inputs) -> FusionOutput:
        shapes = {m: tuple(rows.shape[:2]) for m, rows in inputs.features.items()}
        if len(set(shapes.values())) != 1:
            raise ValueError(
                f"time='per_step' needs modalities on one clock, got [B, T] = {shapes}"
            )
        vectors = {m: rows.flatten(0, 1) for m, rows in inputs.features.items()}
        present = torch.stack([inputs.valid[m] for m in self.modalities], dim=-1).flatten(0, 1)
        parts = self._block(vectors, present)
        loss = self._loss(vectors, parts["recon"], present)
        batch_shape = next(iter(shapes.values()))
        counts = present.any(dim=1).view(batch_shape)
        means = {
            part: {
                m: masked_mean(x.view(*batch_shape, -1) * counts[:, :, None], counts)
                for m, x in by_name.items()
            }
            for part, by_name in parts.items()
        }
        return self._output(means, loss)

    def _block(self, vectors: Mapping[str, Tensor], present: Tensor) -> Parts:
        """Run Eq. 3 to 5 on vectors `[N, l_m]` with presence bool `[N, M]`."""
        hat_shared: dict[str, Tensor] = {}
        hat_specific: dict[str, Tensor] = {}
        for m in self.modalities:
            expanded = F.gelu(self.expand[m](self.pre[m](vectors[m])))
            hat_shared[m] = expanded[:, : self.boundary[m]]
            hat_specific[m] = expanded[:, self.boundary[m] :]
        parts: Parts = {name: {} for name in ("specific", "shared", "shared_from", "z", "recon")}
        here = {m: present[:, i, None] for i, m in enumerate(self.modalities)}
        for m in self.modalities:
            k = self.next[m]
            shared = F.gelu(self.to_shared[m](hat_shared[k]))
            specific = F.gelu(self.to_specific[m](hat_specific[m]))
            if self.zero_absent_parts:
                shared = shared.masked_fill(~here[k], 0.0)
                specific = specific.masked_fill(~here[m], 0.0)
            if self.branches == "specific":
                shared = torch.zeros_like(shared)
            elif self.branches == "shared":
                specific = torch.zeros_like(specific)
            parts["specific"][m] = specific
            parts["shared"][m] = shared
            parts["shared_from"][k] = shared
            joined = torch.cat([specific, shared], dim=1)
            parts["z"][m] = self.post[m](joined)
            if self.reconstruct:
                source = parts["z"][m] if self.post_scope == "both" else joined
                parts["recon"][m] = self.recon_activation(self.rebuild[m](source))
        return parts

    def _loss(
        self, vectors: Mapping[str, Tensor], recon: Mapping[str, Tensor], present: Tensor
    ) -> Tensor | None:
        """Return the sum over present modalities of the error, averaged over samples with any."""
        if not self.reconstruct:
            return None
        errors = []
        for i, m in enumerate(self.modalities):
            target = vectors[m].detach() if self.detach_target else vectors[m]
            if self.recon_metric == "cosine":
                error = 1.0 - F.cosine_similarity(target, recon[m], dim=1)
            else:
                error = F.mse_loss(recon[m], target, reduction="none").mean(dim=1)
            errors.append(error.masked_fill(~present[:, i], 0.0))
        count = present.any(dim=1).sum().clamp(min=1)
        return torch.stack(errors).sum() / count

    def _output(self, parts: Parts, loss: Tensor | None) -> FusionOutput:
        return FusionOutput(
            fused=torch.cat([parts["z"][m] for m in self.modalities], dim=1),
            losses={} if loss is None else {"recon": loss},
            z=parts["z"],
            specific=parts["specific"],
            shared=parts["shared"],
            shared_from=parts["shared_from"],
            recon=parts["recon"],
        )


def _check(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{option}: must be one of {', '.join(allowed)}, not {value!r}")


def _ratio(shared_ratio: float | Mapping[str, float], modality: str) -> float:
    if not isinstance(shared_ratio, Mapping):
        ratio = shared_ratio
    elif modality in shared_ratio:
        ratio = shared_ratio[modality]
    else:
        raise ValueError(f"shared_ratio: says nothing about {modality!r}")
    if not 0 < ratio < 1:
        raise ValueError(f"shared_ratio: must be between 0 and 1, not {ratio}")
    return ratio


INFOS = (
    FusionInfo(
        name="scfae",
        method=SCFAE,
        paper_row="SCFAE (Ours)",
        source="arXiv 2410.15475v2, section 4 and appendix A",
        faithfulness="text",
        missing="its specific part, and the shared part that comes from it, are zero; no loss",
        recipe=TrainingRecipe(
            lr=5e-4,
            stage_epochs=(125,),
            warmup_share=0.2,
            source="appendix A.2; batch size, weight decay and the rate per step are our reading",
        ),
    ),
)
