"""AVoiD-DF: tokens of each modality hear the other's, the most heard are read once more.

After Yang et al. (TIFS 2023, github.com/SYSU-DISG/AVoiD-DF, whose token selection, training step
and metrics are missing). Each stream is projected and begins with a learned token. In each of five
decoder layers it attends to the other stream as that entered, then to itself, then is fed forward,
with a norm of each sum. The streams' first tokens, joined, become one; it and the tokens that the
first tokens heard most, over all layers, go through a last layer of self-attention; each first
token and the joint one are weighed by a learned number and stand side by side for the head.

    contrastive   y d^2 + (1 - y) max(0, 0.99 - d)^2 of the streams' means before the decoder,
                  y = 1 for genuine samples
    focal         binary focal loss (gamma 2, alpha 0.25) of each output

Deviations: a projection and a time code in place of the vision transformers, so the first tokens
are those after the decoder, where the authors weigh the encoders'; d is of the means, where the
authors' is of all frames side by side; the streams differ in length, so only their first tokens are
joined by a linear layer, and the tokens that are read once more stand behind each other; which
tokens are heard most, which is not released, follows the text; no linear layer between the weighed
tokens and the head, which is linear itself; `focal` is of each output's sigmoid, the authors' of
the forged one's softmax, and is left out where labels are values; dropout 0.1, the authors' 0;
weights begin as torch's do; more than two modalities hear all the others and add every pair.

Shapes: B samples, T steps of a stream, W model width.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import Attention, SelfAttentionLayer, time_code
from .base import Fusion
from .co_attention import CoAttentionLayer
from .info import FusionInfo, TrainingRecipe
from .losses import margin_contrastive, mean_over_present
from .matching import check_matched_label, matched_samples, modality_pairs
from .output import FusionOutput
from .pooling import masked_mean
from .presence import Inputs


class AVoiDDF(Fusion):
    """A decoder of cross-attention, token selection and a weighted fusion of first tokens.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        head: `linear` or `mlp`.
        width: Model width W, a multiple of `2 * num_heads`; the authors take 768.
        num_layers: Layers of the decoder.
        num_heads: Attention heads; the authors take 12.
        num_selected: Tokens of each stream that are read once more; all of a shorter one.
        dropout: In every layer.
        margin: Distance beyond which a forged sample's modalities rest.
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
        num_layers: int = 5,
        num_heads: int = 4,
        num_selected: int = 12,
        dropout: float = 0.1,
        margin: float = 0.99,
        matched_label: int | None = 0,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, head=head, check_finite=check_finite)
        del self.poolings  # the first tokens pool
        if min(width, num_layers, num_heads, num_selected) < 1 or width % (2 * num_heads):
            raise ValueError(
                f"width: must be a multiple of 2 * num_heads, and every size at least 1, not "
                f"{width}, {num_heads}, {num_layers}, {num_selected}"
            )
        if margin <= 0:
            raise ValueError(f"margin: must be positive, not {margin}")
        self.num_selected = num_selected
        self.margin = margin
        check_matched_label(matched_label, num_outputs)
        self.matched_label = matched_label
        self.project = nn.ModuleDict({m: nn.Linear(d, width) for m, d in self.dims.items()})
        self.first = nn.ParameterDict(
            {m: nn.Parameter(torch.randn(1, 1, width) * 0.02) for m in self.modalities}
        )
        self.layers = nn.ModuleList(
            nn.ModuleDict(
                {
                    m: CoAttentionLayer(width, num_heads, dropout, cross_first=True)
                    for m in self.modalities
                }
            )
            for _ in range(num_layers)
        )
        self.join = nn.Linear(width * len(self.modalities), width)
        self.last = SelfAttentionLayer(width, num_heads, dropout=dropout, norm="post")
        self.weights = nn.Parameter(torch.ones(len(self.modalities) + 1))
        self.add_head(width * (len(self.modalities) + 1))

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, (M + 1) W]`; `z` holds the first tokens `[B, W]`, zero if absent."""
        present = inputs.present
        entered, seen, means = self._enter(inputs)
        tokens = dict(entered)
        heard = {m: torch.zeros_like(seen[m], dtype=torch.float32) for m in self.modalities}
        for m in self.modalities:
            names = [k for k in self.modalities if k != m]
            others = torch.cat([entered[k] for k in names], dim=1)
            their = torch.cat([seen[k] for k in names], dim=1)
            sizes = [entered[k].shape[1] for k in names]
            for layer in self.layers:
                assert isinstance(layer, nn.ModuleDict)
                block = layer[m]
                assert isinstance(block, CoAttentionLayer)
                with torch.no_grad():
                    weights = _weights_of_first(block.cross, tokens[m], others, their)
                    for k, part in zip(names, torch.split(weights, sizes, dim=1), strict=True):
                        heard[k] = heard[k] + part
                tokens[m] = block(tokens[m], seen[m], others, their)
        z = {
            m: tokens[m][:, 0].masked_fill(~present[:, i, None], 0.0)
            for i, m in enumerate(self.modalities)
        }
        joint = self._read_again(torch.cat(list(z.values()), dim=1), tokens, seen, heard)
        weighed = [w * x for w, x in zip(self.weights, [*z.values(), joint], strict=True)]
        fused = torch.cat(weighed, dim=1)
        logits = None if self.head is None else self.head(fused)
        return FusionOutput(
            fused=fused, z=z, losses=self._losses(inputs, means, logits), logits=logits
        )

    def _enter(
        self, inputs: Inputs
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Return each stream's tokens `[B, 1 + T, W]`, their mask, and its mean `[B, W]`."""
        tokens, seen, means = {}, {}, {}
        for m in self.modalities:
            valid = inputs.valid[m]
            rows = self.project[m](inputs.features[m])
            means[m] = masked_mean(rows.masked_fill(~valid[:, :, None], 0.0), valid)
            first = self.first[m].expand(len(rows), -1, -1).to(rows.dtype)
            tokens[m] = torch.cat([first, rows + time_code(rows)], dim=1)
            seen[m] = torch.cat([valid.any(dim=1, keepdim=True), valid], dim=1)
        return tokens, seen, means

    def _read_again(
        self,
        firsts: Tensor,
        tokens: Mapping[str, Tensor],
        seen: Mapping[str, Tensor],
        heard: Mapping[str, Tensor],
    ) -> Tensor:
        """Return the joint token `[B, W]` after the last layer."""
        joint = self.join(firsts)[:, None]
        read = [joint]
        valid = [torch.ones(joint.shape[:2], dtype=torch.bool, device=joint.device)]
        for m in self.modalities:
            rows, mask = tokens[m][:, 1:], seen[m][:, 1:]
            scores = heard[m][:, 1:].masked_fill(~mask, -1.0)
            best = scores.topk(min(self.num_selected, rows.shape[1]), dim=1).indices
            read.append(rows.gather(1, best[:, :, None].expand(-1, -1, rows.shape[2])))
            valid.append(mask.gather(1, best))
        refined: Tensor = self.last(torch.cat(read, dim=1), torch.cat(valid, dim=1))
        return refined[:, 0]

    def _losses(
        self, inputs: Inputs, means: Mapping[str, Tensor], logits: Tensor | None
    ) -> dict[str, Tensor]:
        if inputs.labels is None:
            return {}
        genuine = matched_samples(inputs.labels, self.matched_label)
        parts = []
        for a, b, both in modality_pairs(self.modalities, inputs.present):
            distance = torch.linalg.vector_norm(means[a] - means[b], dim=1)
            errors = margin_contrastive(distance, genuine, margin=self.margin)
            parts.append(mean_over_present(errors, both, inputs.present))
        losses = {"contrastive": torch.stack(parts).sum()}
        is_value = inputs.labels.ndim == 1 and inputs.labels.is_floating_point()
        if logits is not None and not is_value:
            errors = focal_errors(logits, inputs.labels)
            here = inputs.present.any(dim=1)
            losses["focal"] = mean_over_present(errors, here, inputs.present)
        return losses


def focal_errors(
    logits: Tensor, labels: Tensor, *, gamma: float = 2.0, alpha: float = 0.25
) -> Tensor:
    """Return the binary focal loss of each sample, mean over outputs, `[B]` (Lin et al. 2017).

    `-alpha_t (1 - p_t)^gamma log p_t`, where p_t is the probability of what is true of an output.

    Args:
        logits: `[B, C]`.
        labels: int `[B]` classes, or float `[B, C]` of several labels.
        gamma: How little easy outputs count.
        alpha: Weight of what is true; 1 - alpha of what is not.
    """
    logits = logits.float()
    truth = F.one_hot(labels, logits.shape[1]).float() if labels.ndim == 1 else labels.float()
    errors = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    chance = logits.sigmoid()
    missed = truth * (1 - chance) + (1 - truth) * chance
    weight = truth * alpha + (1 - truth) * (1 - alpha)
    return (weight * missed**gamma * errors).mean(dim=1)


def _weights_of_first(
    attention: Attention, tokens: Tensor, others: Tensor, valid: Tensor
) -> Tensor:
    """Return how much a stream's first token hears each key, mean over heads, `[B, K]`."""
    heads = attention.num_heads
    query = attention.query(tokens[:, 0]).unflatten(1, (heads, -1))
    key = attention.key(others).unflatten(2, (heads, -1))
    scores = torch.einsum("bhd,bkhd->bhk", query, key) / query.shape[-1] ** 0.5
    seen = valid[:, None, :]
    scores = scores.float().masked_fill(~seen, torch.finfo(torch.float32).min)
    weights: Tensor = scores.softmax(dim=2).masked_fill(~seen, 0.0).mean(dim=1)
    return weights


INFOS = (
    FusionInfo(
        name="avoid_df",
        method=AVoiDDF,
        paper_row="AVoiD-DF",
        source="Yang et al., TIFS 2023, github.com/SYSU-DISG/AVoiD-DF, modules missing",
        faithfulness="text",
        missing="its tokens are no keys and its first token is zero",
        deviations=(
            "A projection and a time code in place of the vision transformers.",
            "256 wide with 4 heads and dropout 0.1 by default, not 768 with 12 and 0.",
            "Only the streams' first tokens, after the decoder, are joined by the linear layer.",
            "Distances are of means, and the focal loss is of each output.",
            "More than two modalities hear all the others and add every pair.",
            "What was not released follows the text.",
        ),
        needs=("sequence", "labels"),
        min_modalities=2,
        recipe=TrainingRecipe(
            optimizer="sgd",
            lr=0.01,
            weight_decay=5e-5,
            source="the released code's rate, weight decay and cosine; it has a momentum of 0.9, "
            "ours none; batch size and epochs ours",
        ),
    ),
)
