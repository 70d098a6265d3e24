"""What IMDer and DiCMoR share: latents that are frozen, imagined where missing, refined and fused.

Stage 1 learns, on what is present, convolutions from each modality to latents of a fixed length and
the fusion, which is MulT's body. Stage 2 freezes the convolutions and learns to imagine: in
training it hides some of what is present, `imagine` makes latents for it without gradient, a
refiner corrects them, and loss `recon` is their squared error against the true ones, a mean over
latents, summed over a sample's hidden modalities (IMDer) or their mean (DiCMoR).

Deviations of both: latents are normalised at each segment over their W features, so that noise and
priors of unit size fit any features; convolutions have 3 steps and pad; one dropout rate, where the
released codes have one for each place and data set; nothing in the fusion is causal.

Shapes: B samples, M modalities, W latent width, S segments.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar, TypedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fusion
from .cross_modal import CrossModalBody
from .hiding import check_share, hide
from .losses import mean_over_present
from .output import FusionOutput
from .presence import Inputs
from .refiner import Refiner
from .segments import segment_means


class ImaginingOptions(TypedDict, total=False):
    """What a subclass of `ImaginingFusion` passes on to it."""

    num_outputs: int | None
    head: str
    width: int
    num_heads: int
    num_layers: int
    num_refiner_blocks: int
    dropout: float
    hidden_share: float
    check_finite: bool


class ImaginingFusion(Fusion):
    """Imagine latents of what is missing, then fuse all of them.

    Args:
        dims: Width of each modality.
        num_segments: S.
        num_outputs: Outputs of the head; None builds none.
        head: `linear` or `mlp`.
        width: W, even, a multiple of `num_heads`.
        num_heads: Attention heads.
        num_layers: Layers of the fusion.
        num_refiner_blocks: Blocks of each refiner.
        dropout: In the fusion.
        hidden_share: Probability that a present modality is hidden in training.
        check_finite: Refuse NaN and infinity in what is present.
    """

    num_stages: ClassVar[int] = 2
    takes_mean_of_hidden: ClassVar[bool] = False
    """Whether `recon` is the mean over a sample's hidden modalities, or their sum."""

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_segments: int,
        num_outputs: int | None = None,
        head: str = "linear",
        width: int = 32,
        num_heads: int = 8,
        num_layers: int = 4,
        num_refiner_blocks: int = 20,
        dropout: float = 0.1,
        hidden_share: float = 0.5,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, head=head, check_finite=check_finite)
        del self.poolings  # rows become segments
        check_share("hidden_share", hidden_share)
        if width < 2 or width % 2 or width % num_heads:
            raise ValueError(f"width: must be even, a multiple of {num_heads} heads, not {width}")
        if num_segments < 1:
            raise ValueError(f"num_segments: must be at least 1, not {num_segments}")
        self.width, self.num_segments, self.num_heads = width, num_segments, num_heads
        self.hidden_share = hidden_share
        self.convolve = nn.ModuleDict(
            {m: nn.Conv1d(d, width, 3, padding=1, bias=False) for m, d in self.dims.items()}
        )
        self.refine = nn.ModuleDict(
            {m: Refiner(width, num_refiner_blocks) for m in self.modalities}
        )
        self.body = CrossModalBody(
            self.modalities, width, num_heads=num_heads, num_layers=num_layers, dropout=dropout
        )
        self.add_head(self.body.output_dim)

    def begin_stage(self, stage: int) -> None:
        """Begin stage 0, latents and fusion of what is there, or 1, imagination.

        Raises:
            ValueError: If there is no such stage.
        """
        super().begin_stage(stage)
        for name, part in self.named_children():
            if name == "convolve":
                part.requires_grad_(stage == 0)
            elif name not in ("body", "head"):
                part.requires_grad_(stage == 1)

    @property
    def imagined_width(self) -> int:
        """Width of what `imagine` returns."""
        return self.width

    def sources(self, visible: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return what `imagine` reads of each modality `[B, W, S]`, without gradient.

        It is made once a batch, where `imagine` is called once a modality: the latents themselves,
        unless a method has more to do with them.

        Args:
            visible: For each modality `[B, W, S]`, zero where not seen.
        """
        return visible

    @abstractmethod
    def imagine(self, modality: str, sources: Mapping[str, Tensor], seen: Tensor) -> Tensor:
        """Return imagined latents `[N, imagined_width, S]` of one modality, without gradient.

        Args:
            modality: Which to imagine.
            sources: For each modality `[N, W, S]` of `sources`.
            seen: bool `[N, M]`.
        """

    def combine(self, modality: str, imagined: Tensor, seen: Tensor) -> Tensor:
        """Return `[B, W, S]` from what was imagined, with gradient.

        Args:
            modality: Which was imagined.
            imagined: `[B, imagined_width, S]`, zero where it is not wanted.
            seen: bool `[B, M]`.
        """
        return imagined

    def make_merge(self, width: int) -> nn.ModuleDict:
        """Return for each modality a 1x1 convolution of all others, if there can be several.

        Args:
            width: Of what goes into each.
        """
        several = self.modalities if len(self.dims) > 2 else ()
        return nn.ModuleDict({m: nn.Conv1d(width, self.width, 1) for m in several})

    def merged(self, merge: nn.ModuleDict, modality: str, others: Tensor, seen: Tensor) -> Tensor:
        """Return `[N, W, S]` of a modality's others: the one that is seen, or a convolution.

        Args:
            merge: Of `make_merge`.
            modality: Whose others they are.
            others: `[N, (M - 1) W, S]`, zero where not seen.
            seen: bool `[N, M]`.
        """
        alone = others.view(len(others), -1, self.width, others.shape[2]).sum(dim=1)
        if not merge:
            return alone
        columns = [i for i, k in enumerate(self.modalities) if k != modality]
        are_several = seen[:, columns].sum(dim=1) > 1
        joined: Tensor = merge[modality](others)
        return torch.where(are_several[:, None, None], joined, alone)

    @abstractmethod
    def own_losses(
        self, latents: Mapping[str, Tensor], seen: Tensor, inputs: Inputs
    ) -> dict[str, Tensor]:
        """Return what trains the imagination itself.

        Args:
            latents: For each modality the true `[B, W, S]`, zero where absent.
            seen: bool `[B, M]`: what is not hidden.
            inputs: The checked inputs.
        """

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M (M - 1) W]`; `z` the last steps, `recon` mean refined latents."""
        latents = {}
        for i, m in enumerate(self.modalities):
            rows = segment_means(inputs.features[m], inputs.valid[m], self.num_segments)
            latent = self.convolve[m](rows.transpose(1, 2))
            latent = F.layer_norm(latent.transpose(1, 2), (self.width,)).transpose(1, 2)
            latents[m] = latent.masked_fill(~inputs.present[:, i, None, None], 0.0)
        if self.stage == 0:
            fused, last = self._body(latents, inputs.present)
            return FusionOutput(fused=fused, z=last)
        seen = inputs.present
        if self.training and self.hidden_share > 0:
            seen = hide(seen, self.hidden_share)
        visible = {
            m: latents[m].masked_fill(~seen[:, i, None, None], 0.0)
            for i, m in enumerate(self.modalities)
        }
        refined, errors, filled = {}, [], {}
        with torch.no_grad(), _in_float32(seen.device):
            sources = self.sources({m: x.float() for m, x in visible.items()})
        for i, m in enumerate(self.modalities):
            imagined = self._imagined(m, sources, seen, ~seen[:, i]).to(latents[m].dtype)
            refined[m] = self.refine[m](self.combine(m, imagined, seen))
            filled[m] = torch.where(seen[:, i, None, None], latents[m], refined[m])
            errors.append((refined[m] - latents[m]).float().square().mean(dim=(1, 2)))
        hidden = inputs.present & ~seen
        by_modality = torch.stack(errors, dim=1)
        if self.takes_mean_of_hidden:
            by_modality = by_modality / hidden.sum(dim=1, keepdim=True).clamp(min=1)
        losses = {"recon": mean_over_present(by_modality, hidden, inputs.present)}
        losses |= self.own_losses(latents, seen, inputs)
        fused, last = self._body(filled, torch.ones_like(seen))
        recon = {m: refined[m].mean(dim=2) for m in self.modalities}
        return FusionOutput(fused=fused, z=last, recon=recon, losses=losses)

    @torch.no_grad()
    def _imagined(
        self, modality: str, sources: Mapping[str, Tensor], seen: Tensor, wanted: Tensor
    ) -> Tensor:
        """Return what is imagined where bool `wanted [B]`, zero elsewhere, in float32."""
        rows = wanted.nonzero()[:, 0]
        imagined = sources[modality].new_zeros(len(seen), self.imagined_width, self.num_segments)
        if len(rows) == 0:
            return imagined
        with _in_float32(seen.device):
            made = self.imagine(modality, {m: x[rows] for m, x in sources.items()}, seen[rows])
        return imagined.index_copy(0, rows, made)

    def _body(
        self, latents: Mapping[str, Tensor], there: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        fused: Tensor
        last: dict[str, Tensor]
        fused, last = self.body(
            {m: x.transpose(1, 2) for m, x in latents.items()},
            {
                m: there[:, i, None].expand(-1, self.num_segments)
                for i, m in enumerate(self.modalities)
            },
        )
        return fused, last


def _in_float32(device: torch.device) -> torch.autocast:
    """Return a context without autocast: steps of a sampler, inverses of flows add up errors."""
    return torch.autocast(device.type, enabled=False)
