"""MMIN: a cascade of residual autoencoders imagines the embeddings that are missing.

Zhao et al., "Missing Modality Imagination Network" (ACL 2021), after its port to utterance vectors
in the code of GCNet (baseline-mmin). Stage 1 trains a teacher on what is there: an encoder for each
modality, a classifier on their concatenation. Stage 2 starts its encoders from the teacher's:

    e = [encode_m(V_m, zeros where not seen)];  (e', latent) = forward cascade(e)
    imagination = MSE(e', t),  t = the frozen teacher on the hidden modalities, zeros elsewhere
    cycle = MSE(stopped e, backward cascade(e'))
    fused = classifier's hidden layers on the latent

A cascade has K autoencoder blocks; block i reads x_i = x_(i-1) + y_(i-1), x_0 = e, y_0 = 0, and the
latent is that of all blocks side by side; e' = transition(x_K + y_K).

Deviations: in training some present modalities are hidden by a draw of each batch, where the port
draws once for the data set; the error of imagination is taken over what is present, and a sample of
which nothing is hidden has none; weights begin as torch's own. Any number of modalities from 2.

Shapes: B samples, M modalities, W embedding width.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from .base import Fusion
from .hiding import check_share, hide
from .info import FusionInfo, TrainingRecipe
from .losses import mean_over_present
from .output import FusionOutput
from .presence import Inputs


def _classifier(width: int, layers: Sequence[int], dropout: float) -> nn.Sequential:
    """Return linear layers, each with ReLU and dropout."""
    parts: list[nn.Module] = []
    for into, out in pairwise((width, *layers)):
        parts += [nn.Linear(into, out), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*parts)


def _chain(widths: Sequence[int], activation: type[nn.Module]) -> nn.Sequential:
    """Return linear layers with an activation between, none after the last."""
    parts: list[nn.Module] = []
    for into, out in pairwise(widths):
        parts += [nn.Linear(into, out), activation()]
    return nn.Sequential(*parts[:-1])


class ResidualCascade(nn.Module):
    """Autoencoder blocks that each correct what the ones before them made.

    Args:
        width: Of input and output.
        layers: Widths of each block's encoder; the last is its latent's.
        num_blocks: Blocks.
    """

    def __init__(self, width: int, layers: Sequence[int], num_blocks: int) -> None:
        super().__init__()
        down, up = (width, *layers), (*reversed(layers), width)
        self.encoders = nn.ModuleList(_chain(down, nn.LeakyReLU) for _ in range(num_blocks))
        self.decoders = nn.ModuleList(_chain(up, nn.ReLU) for _ in range(num_blocks))
        self.transition = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))

    def forward(self, e: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rebuilt `[B, width]` and the latent of all blocks, from e `[B, width]`."""
        x, y = e, torch.zeros_like(e)
        latents = []
        for encode, decode in zip(self.encoders, self.decoders, strict=True):
            x = x + y
            latents.append(encode(x))
            y = decode(latents[-1])
        return self.transition(x + y), torch.cat(latents, dim=-1)


class MMIN(Fusion):
    """Missing modality imagination.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the heads; None builds none.
        pooling: `mean` or `attention`.
        head: `linear` or `mlp`, of stage 2.
        width: Embedding width W.
        layers: Widths of a block's encoder.
        num_blocks: Blocks of each cascade.
        dropout: Of encoders and classifier in stage 2.
        teacher_dropout: Of those of the teacher.
        hidden_share: Probability that a present modality is hidden in training.
        check_finite: Refuse NaN and infinity in what is present.
    """

    num_stages: ClassVar[int] = 2

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        width: int = 128,
        layers: Sequence[int] = (256, 128, 64),
        num_blocks: int = 5,
        dropout: float = 0.5,
        teacher_dropout: float = 0.3,
        hidden_share: float = 0.5,
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        check_share("hidden_share", hidden_share)
        if not layers or min(layers) < 1:
            raise ValueError(f"layers: at least one, each at least 1, not {tuple(layers)}")
        self.hidden_share = hidden_share
        joint, hidden = width * len(self.dims), (width, width)
        self.teacher = self._encoders(width, teacher_dropout)
        self.teacher_classifier = _classifier(joint, hidden, teacher_dropout)
        self.teacher_head = None if num_outputs is None else nn.Linear(width, num_outputs)
        self.encoders = self._encoders(width, dropout)
        self.forward_cascade = ResidualCascade(joint, layers, num_blocks)
        self.backward_cascade = ResidualCascade(joint, layers, num_blocks)
        self.classifier = _classifier(layers[-1] * num_blocks, hidden, dropout)
        self.add_head(width)
        self.begin_stage(0)

    def _encoders(self, width: int, dropout: float) -> nn.ModuleDict:
        return nn.ModuleDict(
            {
                m: nn.Sequential(_classifier(d, (width, width), dropout), nn.Linear(width, width))
                for m, d in self.dims.items()
            }
        )

    def begin_stage(self, stage: int) -> None:
        """Begin stage 0, the teacher, or 1, imagination with encoders that start from it.

        Raises:
            ValueError: If there is no such stage.
        """
        # Loaded weights have set the index already: then the encoders are not overwritten.
        is_new = int(self.stage_index) == 0 and stage == 1
        super().begin_stage(stage)
        if is_new:
            self.encoders.load_state_dict(self.teacher.state_dict())
        teacher = ("teacher",)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.startswith(teacher) == (stage == 0))
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a teacher at rest has no dropout."""
        super().train(mode)
        if self.stage == 1:
            self.teacher.eval()
        return self

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, W]`; `z` holds the embeddings `[B, W]`, imagined in stage 2."""
        vectors = self.pooled(inputs)
        if self.stage == 0:
            e = torch.cat([self.teacher[m](vectors[m]) for m in self.modalities], dim=1)
            fused = self.teacher_classifier(e)
            logits = None if self.teacher_head is None else self.teacher_head(fused)
            return FusionOutput(fused=fused, z=self._by_name(e), logits=logits)
        seen = inputs.present
        if self.training and self.hidden_share > 0:
            seen = hide(seen, self.hidden_share)
        hidden = inputs.present & ~seen
        e = torch.cat([self.encoders[m](x) for m, x in _only(vectors, seen).items()], dim=1)
        imagined, latent = self.forward_cascade(e)
        back, _ = self.backward_cascade(imagined)
        with torch.no_grad():
            truth = [self.teacher[m](x) for m, x in _only(vectors, hidden).items()]
        return FusionOutput(
            fused=self.classifier(latent),
            z=self._by_name(imagined),
            losses={
                "imagination": self._imagination(
                    imagined, torch.cat(truth, dim=1), hidden, inputs.present
                ),
                "cycle": mean_over_present(
                    (back - e.detach()).float().pow(2).mean(dim=1),
                    inputs.present.any(dim=1),
                    inputs.present,
                ),
            },
        )

    def _imagination(
        self, imagined: Tensor, truth: Tensor, hidden: Tensor, present: Tensor
    ) -> Tensor:
        """Return the mean squared error over what was present, of samples with something hidden."""
        error = (imagined - truth).float().pow(2).view(len(truth), len(self.modalities), -1)
        known = present.to(error.dtype)
        by_sample = (error.mean(dim=2) * known).sum(dim=1) / known.sum(dim=1).clamp(min=1)
        return mean_over_present(by_sample, hidden.any(dim=1), present)

    def _by_name(self, joined: Tensor) -> dict[str, Tensor]:
        return dict(zip(self.modalities, joined.chunk(len(self.modalities), dim=1), strict=True))


def _only(vectors: Mapping[str, Tensor], which: Tensor) -> dict[str, Tensor]:
    """Return the vectors, zero where bool `which [B, M]` is False."""
    return {m: x.masked_fill(~which[:, i, None], 0.0) for i, (m, x) in enumerate(vectors.items())}


INFOS = (
    FusionInfo(
        name="mmin",
        method=MMIN,
        paper_row="MMIN",
        source="Zhao et al., ACL 2021, as ported in the code of zeroQiaoba/GCNet",
        faithfulness="port",
        missing="its embedding is imagined from the others'",
        deviations=(
            "Each batch hides modalities by a draw of its own.",
            "The error of imagination is taken over what is present.",
        ),
        needs=("two_stages",),
        min_modalities=2,
        recipe=TrainingRecipe(
            optimizer="adam",
            lr=1e-3,
            weight_decay=0.0,
            batch_size=256,
            stage_epochs=(100, 100),
            clip_norm=5.0,
            loss_weights={"imagination": 4.0, "cycle": 2.0},
            source="the port's, whose rate rests for 20 epochs of each stage and falls to zero in "
            "80, here as a cosine, and which clips each network's gradient by itself",
        ),
    ),
)
