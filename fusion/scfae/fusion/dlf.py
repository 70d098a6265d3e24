"""DLF: shared and specific streams, the latter drawn to one leading modality, language.

Wang et al., "DLF: Disentangled-Language-Focused Multimodal Sentiment Analysis" (AAAI 2025), after
the released code. Enc and T are causal; all transformers scale what enters them, add the time code
and end with a norm. l is the leading modality:

    x_m = conv_m(V_m);  s_m = Enc_m(x_m);  c_m = Enc(x_m), one for all m
    recon_m = linear_m([s_m; c_m]);  r_m = Enc_m(recon_m)
    c = [last step of T_c,m(c_m)];  h_l = R_l(last step of T_l(s_l)),  R(x) = x + MLP(x)
    h_m = R_m(last step of T_m(cross(s_l hears s_m)))        for the others
    fused = R(x),  x = [sigmoid(linear(h_m)) for each m; sigmoid(linear(c))]

Losses. With labels, errors of own heads: `task_shared` on R_c(c), `task_leading` on h_l,
`task_others` the sum over the other h_m. `recon`: MSE(x_m, recon_m); `specific`: MSE(s_m, r_m);
`orthogonality`: max(0, cos(s_m, c_m)) at each step; each a mean over rows, summed over modalities.
`triplet`, with labels: over the shared vectors of all samples and modalities, the hinge max(0, 0.15
|y_i - y_k| - cos_ij + cos_ik) with j of the same label and k of another; for classes |y_i - y_k| is
1.

Deviations: convolutions pad, so that a vector is a sequence of one; one dropout rate, in the
layers, where the code has one for each place and data set, and in R; values have squared errors,
not absolute ones; `orthogonality` is as for CMU-MOSI (for -MOSEI the code takes the cosines of ten
features each); one linear layer aligns the
shared vectors of all modalities; keys have no bias and, in cross-attention, a norm of their own,
where the code has one for both; cross-attention is not causal, since streams may be on different
clocks; the triplet takes the mean of
cos_ij over j and of the hinge over k, N^2 terms instead of N^3, on the mean over time; with several
labels a sample there is no triplet. Without the leading modality the h_m are zero and c is left.

Shapes: B samples, T rows, W width, M modalities.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .attention import check_width
from .base import Fusion
from .causal import CausalEncoder, ResidualMLP
from .cross_encoder import CrossEncoder
from .info import FusionInfo, TrainingRecipe
from .losses import mean_over_present
from .output import FusionOutput
from .pooling import masked_mean
from .presence import Inputs
from .task_errors import task_errors

MARGIN = 0.15


class DLF(Fusion):
    """Disentangled fusion led by one modality.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the heads; None builds none.
        head: `linear` or `mlp`, of `fused`.
        leading: The modality that the others are drawn to; None is the first.
        width: W, even, a multiple of `num_heads`.
        num_heads: Attention heads.
        num_layers: Layers of the encoders and of the cross-attention.
        num_last_layers: Layers of the encoders that follow the cross-attention.
        kernel: Steps of the convolutions, odd.
        dropout: In every layer.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        head: str = "linear",
        leading: str | None = None,
        width: int = 50,
        num_heads: int = 10,
        num_layers: int = 2,
        num_last_layers: int = 3,
        kernel: int = 3,
        dropout: float = 0.1,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, head=head, check_finite=check_finite)
        del self.poolings  # the last step is taken after the layers
        if leading is not None and leading not in self.dims:
            raise ValueError(f"leading: must be one of {', '.join(self.dims)}, not {leading!r}")
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel: must be odd, not {kernel}")
        self.leading = leading or self.modalities[0]
        check_width(width, num_heads)
        w, num = width, len(self.dims)

        def encoder(layers: int) -> CausalEncoder:
            return CausalEncoder(w, num_heads, layers, dropout)

        names = self.modalities
        self.convolve = nn.ModuleDict(
            {m: nn.Conv1d(d, w, kernel, padding=kernel // 2, bias=False) for m, d in dims.items()}
        )
        self.specific = nn.ModuleDict({m: encoder(num_layers) for m in names})
        self.shared = encoder(num_layers)
        self.rebuild = nn.ModuleDict({m: nn.Linear(2 * w, w, bias=False) for m in names})
        self.shared_last = nn.ModuleDict({m: encoder(num_layers) for m in names})
        self.cross = nn.ModuleDict(
            {m: CrossEncoder(w, num_heads, num_layers, dropout) for m in names if m != self.leading}
        )
        self.after = nn.ModuleDict(
            {m: encoder(num_layers if m == self.leading else num_last_layers) for m in names}
        )
        self.refine = nn.ModuleDict({m: ResidualMLP(w) for m in names})
        self.align = nn.Linear(w, w)
        widths = {**dict.fromkeys(names, w), "": num * w}
        self.to_joint = nn.ModuleList(nn.Linear(d, d) for d in widths.values())
        self.joint = ResidualMLP(2 * num * w)
        self.own_heads = nn.ModuleList()
        if num_outputs is not None:
            self.own_heads.extend(nn.Linear(w, num_outputs) for _ in names)
            self.own_heads.append(
                nn.Sequential(ResidualMLP(num * w), nn.Linear(num * w, num_outputs))
            )
        self.add_head(2 * num * w)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, 2 M W]`; `z` holds each h_m `[B, W]`.

        `specific` and `shared` hold the means over time of s_m and c_m `[B, W]`.
        """
        valid = inputs.valid
        x, s, c, recon, again = {}, {}, {}, {}, {}
        for m in self.modalities:
            rows = self.convolve[m](inputs.features[m].transpose(1, 2)).transpose(1, 2)
            x[m] = rows.masked_fill(~valid[m][:, :, None], 0.0)
            s[m] = self.specific[m](x[m], valid[m])
            c[m] = self.shared(x[m], valid[m])
            recon[m] = self.rebuild[m](torch.cat([s[m], c[m]], dim=2))
            again[m] = self.specific[m](recon[m], valid[m])
        common = torch.cat(
            [_last(self.shared_last[m](c[m], valid[m]), valid[m]) for m in self.modalities], dim=1
        )
        h = {m: self._drawn(m, s, inputs) for m in self.modalities}
        parts = [*h.values(), common]
        joint = [torch.sigmoid(to(part)) for to, part in zip(self.to_joint, parts, strict=True)]
        losses = {
            "recon": self._distance(x, recon, inputs),
            "specific": self._distance(s, again, inputs),
            "orthogonality": self._overlap(s, c, inputs),
        }
        if inputs.labels is not None:
            losses |= self._own_errors(parts, inputs, inputs.labels)
            if inputs.labels.ndim == 1:
                losses["triplet"] = self._triplet(c, inputs, inputs.labels)
        return FusionOutput(
            fused=self.joint(torch.cat(joint, dim=1)),
            z=h,
            specific={m: masked_mean(rows, valid[m]) for m, rows in s.items()},
            shared={m: masked_mean(rows, valid[m]) for m, rows in c.items()},
            losses=losses,
        )

    def _drawn(self, modality: str, s: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        led = inputs.valid[self.leading]
        stream = s[self.leading]
        here = led
        if modality != self.leading:
            stream = self.cross[modality](stream, s[modality], inputs.valid[modality])
            here = led & inputs.valid[modality].any(dim=1, keepdim=True)
        refined: Tensor = self.refine[modality](_last(self.after[modality](stream, led), here))
        return refined.masked_fill(~here.any(dim=1)[:, None], 0.0)

    def _distance(
        self, first: Mapping[str, Tensor], second: Mapping[str, Tensor], inputs: Inputs
    ) -> Tensor:
        errors = []
        for m in self.modalities:
            by_row = (first[m] - second[m]).float().square().mean(dim=2)
            errors.append(_row_mean(by_row, inputs.valid[m]))
        return mean_over_present(torch.stack(errors, dim=1), inputs.present, inputs.present)

    def _overlap(self, s: Mapping[str, Tensor], c: Mapping[str, Tensor], inputs: Inputs) -> Tensor:
        errors = [
            _row_mean(
                F.cosine_similarity(s[m].float(), c[m].float(), dim=2).relu(), inputs.valid[m]
            )
            for m in self.modalities
        ]
        return mean_over_present(torch.stack(errors, dim=1), inputs.present, inputs.present)

    def _own_errors(self, parts: list[Tensor], inputs: Inputs, labels: Tensor) -> dict[str, Tensor]:
        if not self.own_heads:
            return {}
        errors = [
            task_errors(own(part), labels) for own, part in zip(self.own_heads, parts, strict=True)
        ]
        every = inputs.present.any(dim=1)
        named = dict(zip((*self.modalities, ""), errors, strict=True))
        here = dict(zip(self.modalities, inputs.present.unbind(dim=1), strict=True))
        led = here[self.leading]
        others = [m for m in self.modalities if m != self.leading]
        return {
            "task_shared": mean_over_present(named[""], every, inputs.present),
            "task_leading": mean_over_present(named[self.leading], led, inputs.present),
            "task_others": mean_over_present(
                torch.stack([named[m] for m in others], dim=1),
                torch.stack([here[m] & led for m in others], dim=1),
                inputs.present,
            ),
        }

    def _triplet(self, c: Mapping[str, Tensor], inputs: Inputs, labels: Tensor) -> Tensor:
        vectors = torch.cat([masked_mean(c[m], inputs.valid[m]) for m in self.modalities])
        unit = F.normalize(self.align(vectors).float(), dim=1)
        y = labels.repeat(len(self.modalities)).float()
        here = inputs.present.T.flatten()
        pairs = here[:, None] & here[None, :]
        gap = (y[:, None] - y[None, :]).abs()
        same = pairs & (gap == 0) & ~torch.eye(len(y), dtype=torch.bool, device=y.device)
        other = pairs & (gap > 0)
        margin = MARGIN * (gap if labels.is_floating_point() else (gap > 0).float())
        cosine = unit @ unit.T
        near = cosine.masked_fill(~same, 0.0).sum(dim=1) / same.sum(dim=1).clamp(min=1)
        hinge = F.relu(margin - near[:, None] + cosine)
        counted = other & same.any(dim=1, keepdim=True)
        return hinge.masked_fill(~counted, 0.0).sum() / counted.sum().clamp(min=1)


def _last(rows: Tensor, valid: Tensor) -> Tensor:
    """Return the last valid row `[B, W]`; zero without one."""
    place = (valid.sum(dim=1) - 1).clamp(min=0)
    last = rows[torch.arange(len(rows), device=rows.device), place]
    return last.masked_fill(~valid.any(dim=1)[:, None], 0.0)


def _row_mean(by_row: Tensor, valid: Tensor) -> Tensor:
    return masked_mean(by_row.masked_fill(~valid, 0.0)[:, :, None], valid)[:, 0]


INFOS = (
    FusionInfo(
        name="dlf",
        method=DLF,
        paper_row="DLF",
        source="Wang et al., AAAI 2025, code pwang322/DLF",
        faithfulness="code",
        missing="its streams are masked; without the leading modality only the shared part is left",
        deviations=(
            "One dropout rate; values have squared errors in the losses of its own heads.",
            "The triplet takes means over positives, on the mean over time.",
            "Keys have a norm of their own; cross-attention is not causal.",
        ),
        needs=("sequence", "labels"),
        min_modalities=2,
        recipe=TrainingRecipe(
            optimizer="adam",
            lr=1e-4,
            weight_decay=0.0,
            batch_size=16,
            stage_epochs=(30,),
            schedule="constant",
            clip_value=0.6,
            loss_weights={
                "task_leading": 3.0,
                "recon": 0.1,
                "specific": 0.1,
                "orthogonality": 0.01,
                "triplet": 0.01,
            },
            source="the released code, which sums the gradients of 10 batches, halves the rate on "
            "a plateau and stops early; epochs are ours",
        ),
        batch_losses=("triplet",),
    ),
)
