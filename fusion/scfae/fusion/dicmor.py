"""DiCMoR: flows carry a latent of one modality over to another that is missing.

Wang et al., "Distribution-Consistent Modal Recovering" (ICCV 2023), after the released code; what
it shares with IMDer, and its two stages, are in `imagining.py`. A flow of each modality maps its
latents to Gaussians of each class, the same for all modalities:

    `flow`, with labels: the sum over modalities of max(0, -log p(z_m | y) / (log 2 W S)),
          log p = log N(z_m; mean_y, sd_y) + log |det|, of what is present, hidden or not
    x_m from k = flow_m^-1(flow_k(x_k)); from several k: a 1x1 convolution of all of them

Classes of int labels are the labels; of one float value its rounding, from -3 to 3; several labels
share one class, and without a head there is one. Without labels there is no `flow` loss and the
flows do not learn.

Deviations: all of a flow runs, where the released code builds its norms and mixings and leaves them
out, so that half of the features never change; latents are segment means of any number of rows;
each sample is missing its own modalities; the maximum with 0 is each sample's, where the code takes
it of the batch; norms of the flows begin as the identity; a class's mean and deviation are
parameters, where the code adds a scale to each; labels are read in training losses only (the code
passes them at test too); width and layers are those for CMU-MOSI, not 64 and 6.

Shapes: N samples, W latent width, S segments, K classes, M modalities.
"""

import math
from collections.abc import Mapping
from typing import Unpack

import torch
from torch import Tensor, nn

from .flows import Flow
from .imagining import ImaginingFusion, ImaginingOptions
from .info import FusionInfo, TrainingRecipe
from .losses import mean_over_present
from .presence import Inputs

LARGEST_VALUE = 3


class DiCMoR(ImaginingFusion):
    """Distribution-consistent recovery by class-conditional flows.

    Args:
        dims: Width of each modality.
        num_segments: S.
        num_flow_steps: Steps of each flow.
        flow_hidden: Width of the couplings' layers.
        **shared: Of `ImaginingFusion`.
    """

    takes_mean_of_hidden = True

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_segments: int = 8,
        num_flow_steps: int = 32,
        flow_hidden: int = 64,
        **shared: Unpack[ImaginingOptions],
    ) -> None:
        super().__init__(dims, num_segments=num_segments, **shared)
        if num_flow_steps < 1 or flow_hidden < 1:
            raise ValueError(
                f"num_flow_steps, flow_hidden: at least 1, not {num_flow_steps}, {flow_hidden}"
            )
        self.flows = nn.ModuleDict(
            {m: Flow(self.width, num_flow_steps, flow_hidden) for m in self.modalities}
        )
        num_classes = 2 * LARGEST_VALUE + 1 if self.num_outputs == 1 else self.num_outputs or 1
        self.prior = nn.ParameterDict(
            {
                "mean": torch.zeros(num_classes, self.width),
                "log_sd": torch.zeros(num_classes, self.width),
            }
        )
        self.merge = self.make_merge(self.imagined_width)
        self.begin_stage(0)

    @property
    def imagined_width(self) -> int:
        """Width of the latents that all other modalities carry over."""
        return (len(self.modalities) - 1) * self.width

    def sources(self, visible: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return each modality's latents as its flow maps them, `[B, W, S]`."""
        return {
            m: self._flow(m).transform(x.transpose(1, 2)).transpose(1, 2)
            for m, x in visible.items()
        }

    def imagine(self, modality: str, sources: Mapping[str, Tensor], seen: Tensor) -> Tensor:
        """Return `[N, (M - 1) W, S]`, carried over from each other; zero where it is not seen."""
        others = [i for i, k in enumerate(self.modalities) if k != modality]
        # All of them at once: a flow is many small operations, and each sees its samples alone.
        z = torch.cat([sources[self.modalities[i]] for i in others])
        carried = self._flow(modality).inverse(z.transpose(1, 2)).transpose(1, 2)
        parts = carried.reshape(len(others), len(seen), self.width, self.num_segments)
        there = seen[:, others].T[:, :, None, None]
        return parts.masked_fill(~there, 0.0).transpose(0, 1).flatten(1, 2)

    def combine(self, modality: str, imagined: Tensor, seen: Tensor) -> Tensor:
        """Return `[B, W, S]`: what one modality carried over, or a convolution of several."""
        return self.merged(self.merge, modality, imagined, seen)

    def own_losses(
        self, latents: Mapping[str, Tensor], seen: Tensor, inputs: Inputs
    ) -> dict[str, Tensor]:
        """Return `flow`, the surprise of what is present, by its class; nothing without labels."""
        if inputs.labels is None:
            return {}
        classes = self._classes(inputs.labels)
        mean, log_sd = self.prior["mean"][classes][:, None], self.prior["log_sd"][classes][:, None]
        errors = []
        for m in self.modalities:
            with torch.autocast(seen.device.type, enabled=False):
                z, log_det = self._flow(m)(latents[m].float().transpose(1, 2))
            squares = ((z - mean) / log_sd.exp()).square()
            log_p = (-0.5 * (squares + math.log(2 * math.pi)) - log_sd).sum(dim=(1, 2)) + log_det
            errors.append((-log_p / (math.log(2) * z[0].numel())).relu())
        surprise = torch.stack(errors, dim=1)
        return {"flow": mean_over_present(surprise, inputs.present, inputs.present)}

    def _classes(self, labels: Tensor) -> Tensor:
        last = len(self.prior["mean"]) - 1
        if labels.ndim > 1:
            return torch.zeros(len(labels), dtype=torch.int64, device=labels.device)
        if labels.is_floating_point():
            labels = labels.round().long() + LARGEST_VALUE
        return labels.clamp(0, last)

    def _flow(self, modality: str) -> Flow:
        flow = self.flows[modality]
        assert isinstance(flow, Flow)
        return flow


INFOS = (
    FusionInfo(
        name="dicmor",
        method=DiCMoR,
        paper_row="DiCMoR",
        source="Wang et al., ICCV 2023, code mdswyz/DiCMoR",
        faithfulness="code",
        missing="its latents are carried over from the others' by flows",
        deviations=(
            "Latents are normalised segment means of any number of rows.",
            "Each sample is missing its own modalities.",
            "Norms and mixings of the flows run; the released code builds them and omits them.",
            "Norms of the flows begin as the identity.",
        ),
        needs=("two_stages", "labels"),
        min_modalities=2,
        recipe=TrainingRecipe(
            optimizer="adam",
            lr=1e-4,
            weight_decay=0.0,
            batch_size=128,
            stage_epochs=(20, 20),
            schedule="constant",
            clip_value=0.6,
            loss_weights={"flow": 0.1, "recon": 0.1},
            source="the released code for CMU-MOSEI, which sums the gradients of 8 batches of 16 "
            "and halves the rate on a plateau; epochs are ours",
        ),
    ),
)
