"""UAVM: layers of each modality's own, then layers that all modalities share.

After Gong et al. (IEEE SPL 2022, github.com/YuanGongND/uavm). For each modality: layer norm, a
linear layer to the model's width where that differs, a learned position, pre-norm transformer
blocks without biases of query, key and value; then one stack for every modality, which begins as
the others do, with a norm and a position of its own; the mean over time, layer norm and one linear
layer. Nothing ever meets: at test the logits are the mean of those of what is there. In training
each step hears one modality.

Deviations: each sample of a batch draws its modality, not each step; sequences are ragged; the
width is 256 by default and not 1,024; attention's output is padding-safe. Mixup 0.5, label
smoothing 0.1, noise, balanced sampling and Adam's first beta of 0.95 of the authors' training are
left out.

Shapes: B samples, T steps, W model width.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .output import FusionOutput
from .perceptron import MLP
from .pooling import masked_mean
from .presence import Inputs

_EPS = 1e-6
"""Of the norms outside the blocks, as in the released code; those inside have PyTorch's."""


class UAVMBlock(nn.Module):
    """Self-attention without biases of query, key and value, then an MLP; residual, pre-norm.

    Args:
        width: Model width W.
        num_heads: Attention heads.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = MLP(width, 4 * width, width)

    def forward(self, tokens: Tensor, valid: Tensor) -> Tensor:
        """Return `[B, T, W]` from tokens `[B, T, W]` and valid bool `[B, T]`."""
        parts = self.qkv(self.norm_attention(tokens)).chunk(3, dim=-1)
        query, key, value = (
            x.view(*x.shape[:-1], self.num_heads, -1).transpose(1, 2) for x in parts
        )
        seen = valid[:, None, None, :]
        # A sample without any step hears all of them: softmax over nothing is NaN. Its result is
        # dropped by the mean over its steps.
        seen = seen | ~seen.any(dim=-1, keepdim=True)
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        tokens = tokens + self.out(heard.transpose(1, 2).flatten(2))
        refined: Tensor = tokens + self.mlp(self.norm_mlp(tokens))
        return refined


class UAVM(Fusion):
    """A stack of blocks for each modality, a shared stack, and the mean of the logits.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the shared linear head; None builds none.
        width: Model width W, a multiple of `num_heads`; the authors take 1,024.
        num_own: Blocks of each modality's own.
        num_shared: Blocks that all modalities share.
        num_heads: Attention heads.
        max_steps: The longest sequence that there are positions for; the authors' have 30 steps.
        one_at_a_time: In training, each sample hears one of its modalities, drawn at random.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        width: int = 256,
        num_own: int = 3,
        num_shared: int = 3,
        num_heads: int = 4,
        max_steps: int = 512,
        one_at_a_time: bool = True,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, check_finite=check_finite)
        del self.poolings  # the mean over time comes after the blocks
        if min(width, num_own, num_shared, num_heads, max_steps) < 1 or width % num_heads:
            raise ValueError(
                f"width: must be a multiple of num_heads, and every size at least 1, not {width}, "
                f"{num_heads}, {num_own}, {num_shared}, {max_steps}"
            )
        self.one_at_a_time = one_at_a_time
        self.max_steps = max_steps
        self.enter = nn.ModuleDict()
        self.position = nn.ParameterDict()
        self.own = nn.ModuleDict()
        for m, d in self.dims.items():
            resize = nn.Identity() if d == width else nn.Linear(d, width)
            self.enter[m] = nn.Sequential(nn.LayerNorm(d, eps=_EPS), resize)
            self.position[m] = _positions(max_steps, width)
            self.own[m] = nn.ModuleList(UAVMBlock(width, num_heads) for _ in range(num_own))
        self.shared_enter = nn.LayerNorm(width, eps=_EPS)
        self.shared_position = _positions(max_steps, width)
        self.shared = nn.ModuleList(UAVMBlock(width, num_heads) for _ in range(num_shared))
        self.norm = nn.LayerNorm(width, eps=_EPS)
        self.add_head(width)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, W]`, the mean over what is heard, whose head is the mean of the logits.

        `z` and `shared_from` hold each modality's own vector `[B, W]`, of it alone.
        """
        z = {m: self._alone(m, inputs) for m in self.modalities}
        heard = inputs.present
        if self.training and self.one_at_a_time:
            heard = _draw_one(heard)
        stacked = torch.stack([z[m] for m in self.modalities], dim=1)
        fused = masked_mean(stacked.masked_fill(~heard[:, :, None], 0.0), heard)
        return FusionOutput(fused=fused, z=z, shared_from=z)

    def _alone(self, m: str, inputs: Inputs) -> Tensor:
        rows, valid = inputs.features[m], inputs.valid[m]
        if rows.shape[1] > self.max_steps:
            raise ValueError(f"features[{m!r}]: {rows.shape[1]} steps, max_steps={self.max_steps}")
        tokens = self.enter[m](rows) + self.position[m][: rows.shape[1]]
        own = self.own[m]
        assert isinstance(own, nn.ModuleList)
        for block in own:
            tokens = block(tokens, valid)
        tokens = self.shared_enter(tokens) + self.shared_position[: rows.shape[1]]
        for block in self.shared:
            tokens = block(tokens, valid)
        mean = masked_mean(tokens.masked_fill(~valid[:, :, None], 0.0), valid)
        normed: Tensor = self.norm(mean).masked_fill(~valid.any(dim=1, keepdim=True), 0.0)
        return normed


def _positions(count: int, width: int) -> nn.Parameter:
    """Return learned positions `[count, width]` as they begin."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(count, width), std=0.02))


def _draw_one(present: Tensor) -> Tensor:
    """Return bool `[B, M]`: one of each sample's modalities, each as likely."""
    draw = torch.rand(present.shape, device=present.device).masked_fill(~present, -1.0)
    return F.one_hot(draw.argmax(dim=1), present.shape[1]).bool() & present


INFOS = (
    FusionInfo(
        name="uavm",
        method=UAVM,
        paper_row="UAVM",
        source="Gong et al., IEEE SPL 2022, github.com/YuanGongND/uavm",
        faithfulness="code",
        missing="the logits are the mean of those of what is there",
        deviations=(
            "Each sample of a batch draws the modality that it hears, not each step.",
            "Ragged sequences; width 256 by default, not 1,024.",
            "No mixup, label smoothing, noise or balanced sampling; Adam's usual betas.",
        ),
        needs=("sequence",),
        recipe=TrainingRecipe(
            optimizer="adam",
            lr=5e-5,
            weight_decay=5e-7,
            batch_size=144,
            stage_epochs=(10,),
            source="the released VGGSound script; it halves the rate each epoch, we take a cosine",
        ),
    ),
)
