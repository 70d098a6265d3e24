"""IMDer: a score-based diffusion for each modality, given the others, imagines what is missing.

Wang et al., "Incomplete Multimodality-Diffused Emotion Recognition" (NeurIPS 2023), after the
released code; what it shares with DiCMoR, and its two stages, are in `imagining.py`. For each m:

    condition = the other modality's latents that are seen; of several, a 1x1 convolution of all
    loss `score`: E |std(t) s_m(x + std(t) n, condition + std(t) n, t) + n|^2 over hidden modalities
    sample: Euler-Maruyama from N(0, std(1)^2) with condition + std(t) n', n' anew at each step

of the variance-exploding process with sigma 25; in the loss the condition gets the same noise n.

Deviations: samples are clipped at 4, since an untrained sampler ends far from normalised latents
and would throw the refiner off; latents are segment means of any number of rows (the code wants
50); the loss is a mean over latents, not a sum (its networks are in no other loss, so that its
weight says little), and its times begin where the sampler ends; each sample is missing its own
modalities, where the code draws one set a batch; layers are 4, as for CMU-MOSI. Keys have a norm
of their own and no bias. In evaluation the sampler's noise is fixed and the same for all. Each step
in training samples too: fewer `sampling_steps` cost less.

Shapes: B samples, W latent width, S segments, N samples to imagine for.
"""

from collections.abc import Mapping, Sequence
from typing import Unpack

import torch
from torch import Tensor, nn

from .imagining import ImaginingFusion, ImaginingOptions
from .info import FusionInfo, TrainingRecipe
from .losses import mean_over_present
from .presence import Inputs
from .score_net import SIGMA, ScoreNet, marginal_std

EARLIEST = 1e-3
"""Time at which sampling ends: the score has no meaning without noise."""

LARGEST_LATENT = 4.0


class IMDer(ImaginingFusion):
    """Incomplete multimodality diffusion.

    Args:
        dims: Width of each modality.
        num_segments: S, a multiple of 2^levels.
        channels: Of each level of the score networks, even, multiples of `num_heads`.
        sampling_steps: Steps of the sampler.
        **shared: Of `ImaginingFusion`.
    """

    noise: Tensor

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_segments: int = 16,
        channels: Sequence[int] = (32, 64, 128, 256),
        sampling_steps: int = 100,
        **shared: Unpack[ImaginingOptions],
    ) -> None:
        super().__init__(dims, num_segments=num_segments, **shared)
        if not channels or any(c < 1 or c % 2 or c % self.num_heads for c in channels):
            raise ValueError(
                f"channels: at least one, each even and a multiple of {self.num_heads} heads, "
                f"not {tuple(channels)}"
            )
        unit = 2 ** len(channels)  # two steps are left at the lowest level
        if num_segments % unit:
            raise ValueError(
                f"num_segments: must be a multiple of {unit} for {len(channels)} levels, "
                f"not {num_segments}"
            )
        if sampling_steps < 1:
            raise ValueError(f"sampling_steps: must be at least 1, not {sampling_steps}")
        self.sampling_steps = sampling_steps
        self.condition = self.make_merge((len(self.dims) - 1) * self.width)
        self.score = nn.ModuleDict(
            {m: ScoreNet(self.width, channels, self.num_heads) for m in self.modalities}
        )
        generator = torch.Generator().manual_seed(0)
        fixed = torch.randn(2 * sampling_steps, self.width, num_segments, generator=generator)
        self.register_buffer("noise", fixed, persistent=False)
        self.begin_stage(0)

    def imagine(self, modality: str, sources: Mapping[str, Tensor], seen: Tensor) -> Tensor:
        """Return samples `[N, W, S]` of one modality's latents."""
        condition = self._condition(modality, sources, seen)
        times = torch.linspace(1.0, EARLIEST, self.sampling_steps + 1, device=condition.device)
        x = self._noise(0, condition) * marginal_std(times[0])
        for step in range(self.sampling_steps):
            t, dt = times[step], times[step] - times[step + 1]
            noisy = condition + self._noise(2 * step + 1, condition) * marginal_std(t)
            squared = SIGMA ** (2 * t)
            x = x + squared * dt * self.score[modality](x, noisy, t.expand(len(x)))
            if step < self.sampling_steps - 1:  # the last step is the mean alone
                x = x + (squared * dt).sqrt() * self._noise(2 * step + 2, condition)
        return x.clamp(-LARGEST_LATENT, LARGEST_LATENT)

    def own_losses(
        self, latents: Mapping[str, Tensor], seen: Tensor, inputs: Inputs
    ) -> dict[str, Tensor]:
        """Return `score`, the denoising error of what is hidden; 0 in evaluation."""
        if not self.training:
            return {"score": seen.new_zeros((), dtype=torch.float32)}
        visible = {
            m: latents[m].masked_fill(~seen[:, i, None, None], 0.0)
            for i, m in enumerate(self.modalities)
        }
        errors = []
        for m in self.modalities:
            x = latents[m].float()
            t = torch.rand(len(x), device=x.device) * (1 - EARLIEST) + EARLIEST
            noise, std = torch.randn_like(x), marginal_std(t)[:, None, None]
            noisy = self._condition(m, visible, seen) + noise * std
            score = self.score[m](x + noise * std, noisy, t)
            errors.append((score.float() * std + noise).square().mean(dim=(1, 2)))
        hidden = inputs.present & ~seen
        return {"score": mean_over_present(torch.stack(errors, dim=1), hidden, inputs.present)}

    def _condition(self, modality: str, latents: Mapping[str, Tensor], seen: Tensor) -> Tensor:
        others = torch.cat([latents[k] for k in self.modalities if k != modality], dim=1)
        return self.merged(self.condition, modality, others, seen)

    def _noise(self, draw: int, like: Tensor) -> Tensor:
        return torch.randn_like(like) if self.training else self.noise[draw].expand_as(like)


INFOS = (
    FusionInfo(
        name="imder",
        method=IMDer,
        paper_row="IMDer",
        source="Wang et al., NeurIPS 2023, code mdswyz/IMDer",
        faithfulness="code",
        missing="its latents are sampled, given the others'",
        deviations=(
            "Latents are normalised segment means of any number of rows; samples are clipped.",
            "Each sample is missing its own modalities; in evaluation the noise is fixed.",
        ),
        needs=("two_stages",),
        min_modalities=2,
        recipe=TrainingRecipe(
            optimizer="adam",
            lr=2e-3,
            weight_decay=0.0,
            batch_size=128,
            stage_epochs=(20, 20),
            schedule="constant",
            clip_value=0.6,
            loss_weights={"score": 0.1, "recon": 0.1},
            source="the released code for CMU-MOSEI, which sums the score loss over latents where "
            "this takes the mean; epochs are ours",
        ),
    ),
)
