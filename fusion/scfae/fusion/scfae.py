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

Three options are ours: `num_layers`, the stack that the paper leaves to future work, `map_groups`,
maps in groups in expansion and SwiGLUs, which hold nine tenths of the parameters, and `post_groups`
in the output SwiGLU alone, which holds seven.

Shapes: B samples, M modalities, l_m width of modality m, l* = min l_m, N = B or B * T samples.
"""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fusion
from .constraints import CONSTRAINTS
from .output import FusionOutput
from .pooling import masked_mean
from .presence import Inputs
from .scfae_block import BlockMaps, BlockPlan, DeeperBlock, Parts


class SCFAE(BlockMaps, Fusion):
    """The paper's fusion block, with an optional head.

    Args:
        dims: Width l_m of each modality; the order of the dict is the cycle.
        expansion: n; the expanded width is `round(n * l_m)`. 1 is Table 8's "no expansion".
        shared_ratio: b, the shared part's share of the expanded width; a number or one a modality.
        num_outputs: Outputs of a linear head on `fused`; None builds none.
        pooling: How `[B, T, D]` becomes `[B, D]`, one of `POOLINGS`.
        head: `linear` or `mlp`.
        time: `pooled` fuses one vector a sample; `per_step` fuses every time step of inputs that
            share a clock, then takes the mean over time; its losses are means over steps.
        order: The cycle, if it is not the order of `dims`.
        recon_metric: `cosine` (1 - cos) or `mse`.
        recon_activation: `gelu`, `none`, or `auto`: gelu for cosine, none for mse.
        reconstruct: False drops the reconstruction mapping and its loss; None: only where there is
            a constraint in its place.
        constraint: `none`, or losses on the parts: `infonce`, `misa_drfuse` or `club`.
        detach_target: Stop the gradient through the reconstruction's target.
        post_scope: `both`: head and reconstruction read the output SwiGLU; `head`: only the head.
        zero_absent_parts: Zero what comes from an absent modality after the exchange; False lets
            the biases flow.
        branches: `both`, or `shared` / `specific` alone, the other zeroed (Table 14). May be set
            on a trained model.
        num_layers: Blocks, one after the other; each rebuilds the input features, and `recon` is
            the mean over blocks. `shared_from` is of the first, the only one that is not mixed.
        map_groups: Groups of the maps in expansion and SwiGLUs; 2 halves their parameters.
        post_groups: Groups of the maps in the output SwiGLU, if not `map_groups`.
        batched: Whether branches of equal widths run as batched products: `always`, `never`, or
            `auto`, where it is faster: without gradients at small batches.
        check_finite: Refuse NaN and infinity in what is present.
    """

    input_rms: ClassVar[float] = 8.0
    """Two SwiGLUs in a row, no norm, no residual: small values enter z in their fourth power. With
    PyTorch's initialisation z deviates by 4e-5 for inputs of root mean square 1, by 0.2 for 8 and
    by 4 for 16, at any width."""

    default_constraint: ClassVar[str] = "none"
    default_layers: ClassVar[int] = 1
    default_post_groups: ClassVar[int | None] = None
    default_reconstruct: ClassVar[bool] = True

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
        reconstruct: bool | None = None,
        constraint: str | None = None,
        detach_target: bool = False,
        post_scope: str = "both",
        zero_absent_parts: bool = True,
        branches: str = "both",
        num_layers: int | None = None,
        map_groups: int = 1,
        post_groups: int | None = None,
        batched: str = "auto",
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        constraint = self.default_constraint if constraint is None else constraint
        layers = self.default_layers if num_layers is None else num_layers
        if reconstruct is None:
            reconstruct = self.default_reconstruct and constraint == "none"
        _check("time", time, ("pooled", "per_step"))
        _check("recon_metric", recon_metric, ("cosine", "mse"))
        _check("recon_activation", recon_activation, ("auto", "gelu", "none"))
        _check("post_scope", post_scope, ("both", "head"))
        _check("branches", branches, ("both", "shared", "specific"))
        _check("constraint", constraint, ("none", *CONSTRAINTS))
        _check("batched", batched, ("auto", "always", "never"))
        if not 0 < expansion < math.inf:
            raise ValueError(f"expansion: must be positive, not {expansion}")
        if layers < 1:
            raise ValueError(f"num_layers: must be at least 1, not {layers}")
        least = min(self.dims.values())
        if post_groups is None:
            post_groups = min(self.default_post_groups or map_groups, least)
        for option, groups in (("map_groups", map_groups), ("post_groups", post_groups)):
            if not 1 <= groups <= least:
                raise ValueError(
                    f"{option}: must be from 1 to the least width, {least}, not {groups}"
                )
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
        self.branches = branches
        wide = {m: round(expansion * width) for m, width in self.dims.items()}
        self.build_maps(
            BlockPlan(
                dims=self.dims,
                next={m: cycle[(i + 1) % len(cycle)] for i, m in enumerate(cycle)},
                wide=wide,
                boundary=_boundaries(shared_ratio, wide),
                reconstruct=reconstruct,
                is_gelu={"auto": recon_metric == "cosine", "gelu": True}.get(
                    recon_activation, False
                ),
                post_scope=post_scope,
                zero_absent=zero_absent_parts,
                map_groups=map_groups,
                post_groups=post_groups,
                batched=batched,
            )
        )
        self.next, self.boundary = self.plan.next, self.plan.boundary
        self.shared_width = self.plan.shared_width
        self.deeper = nn.ModuleList(
            DeeperBlock(self.plan, self.input_rms) for _ in range(layers - 1)
        )
        self.constraint = None if constraint == "none" else CONSTRAINTS[constraint](self.dims)
        self.add_head(sum(self.dims.values()) + len(self.dims) * self.shared_width)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return the fused vector `[B, sum of l_m + l*]` and every part of it."""
        if self.time == "per_step":
            return self._fuse_steps(inputs)
        vectors = self.pooled(inputs)
        parts, losses = self._run(vectors, inputs.present)
        return self._output(parts, losses)

    def _fuse_steps(self, inputs: Inputs) -> FusionOutput:
        shapes = {m: tuple(rows.shape[:2]) for m, rows in inputs.features.items()}
        if len(set(shapes.values())) != 1:
            raise ValueError(
                f"time='per_step' needs modalities on one clock, got [B, T] = {shapes}"
            )
        vectors = {m: rows.flatten(0, 1) for m, rows in inputs.features.items()}
        present = torch.stack([inputs.valid[m] for m in self.modalities], dim=-1).flatten(0, 1)
        parts, losses = self._run(vectors, present)
        batch_shape = next(iter(shapes.values()))
        counts = present.any(dim=1).view(batch_shape)
        means = {
            part: {
                m: masked_mean(x.view(*batch_shape, -1) * counts[:, :, None], counts)
                for m, x in by_name.items()
            }
            for part, by_name in parts.items()
        }
        return self._output(means, losses)

    def _run(
        self, vectors: Mapping[str, Tensor], present: Tensor
    ) -> tuple[Parts, dict[str, Tensor]]:
        """Run all blocks on vectors `[N, l_m]` with presence bool `[N, M]`."""
        parts = self.run_maps(vectors, present, self.branches)
        own = parts["shared_from"]
        rebuilt = [parts["recon"]]
        for block in self.deeper:
            parts = block(parts["z"], present, self.branches) | {"shared_from": own}
            rebuilt.append(parts["recon"])
        losses: dict[str, Tensor] = {}
        if self.reconstruct:
            errors = [self._error(vectors, recon, present) for recon in rebuilt]
            losses["recon"] = torch.stack(errors).mean() if self.deeper else errors[0]
        if self.constraint is not None:
            losses |= self.constraint(parts["specific"], own, present)
        return parts, losses

    def _error(
        self, vectors: Mapping[str, Tensor], recon: Mapping[str, Tensor], present: Tensor
    ) -> Tensor:
        """Return the sum over present modalities of the error, averaged over samples with any."""
        targets = {m: x.detach() if self.detach_target else x for m, x in vectors.items()}
        if len(set(self.dims.values())) == 1:  # of equal widths, all in one go
            stacks = (torch.stack([rows[m] for m in self.modalities]) for rows in (targets, recon))
            errors = self._distance(*stacks)
        else:
            errors = torch.stack([self._distance(targets[m], recon[m]) for m in self.modalities])
        count = present.any(dim=1).sum().clamp(min=1)
        return errors.masked_fill(~present.T, 0.0).sum() / count

    def _distance(self, target: Tensor, recon: Tensor) -> Tensor:
        if self.recon_metric == "cosine":
            return 1.0 - F.cosine_similarity(target, recon, dim=-1)
        return F.mse_loss(recon, target, reduction="none").mean(dim=-1)

    def _output(self, parts: Parts, losses: dict[str, Tensor]) -> FusionOutput:
        return FusionOutput(
            fused=torch.cat([parts["z"][m] for m in self.modalities], dim=1),
            losses=losses,
            z=parts["z"],
            specific=parts["specific"],
            shared=parts["shared"],
            shared_from=parts["shared_from"],
            recon=parts["recon"],
        )


def _check(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{option}: must be one of {', '.join(allowed)}, not {value!r}")


def _boundaries(
    shared_ratio: float | Mapping[str, float], wide: Mapping[str, int]
) -> dict[str, int]:
    """Return how many of each modality's expanded features are shared."""
    boundaries = {}
    for m, width in wide.items():
        if not isinstance(shared_ratio, Mapping):
            ratio = shared_ratio
        elif m in shared_ratio:
            ratio = shared_ratio[m]
        else:
            raise ValueError(f"shared_ratio: says nothing about {m!r}")
        if not 0 < ratio < 1:
            raise ValueError(f"shared_ratio: must be between 0 and 1, not {ratio}")
        boundaries[m] = round(ratio * width)
        if not 0 < boundaries[m] < width:
            raise ValueError(
                f"shared_ratio: gives {m!r} {boundaries[m]} shared of {width} features; "
                "both parts need at least one"
            )
    return boundaries
