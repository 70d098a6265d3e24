"""Coupled Mamba: one state space model for each modality, coupled between layers or in the state.

Li et al., "Coupled Mamba" (NeurIPS 2024). `layer_coupled` is what the released code for CMU-MOSEI
does, where it is complete; with R_m a linear layer, which the code leaves undefined:

    y_m = LN(mamba_m(LN_m(x_m))) + x_m;   x_m = y_m + R_m([y_k for k != m])   between layers

LN is one for all layers and modalities, R_m one for all layers; each Mamba block has its own LN_m.

`state_coupled` is our reading of the paper's equation, h_m,t = sum over k of A_(k to m) h_k,(t-1) +
B_m x_m,t: the scan of m decays a weighted mean of all modalities' last states,

    h_m,t = exp(dt A) (sum over k of w_km h_k,(t-1)) + dt B x_m,t,   y_m = LN(h_m's output) + x_m

with w_km a softmax over the modalities present, one for each inner feature, that begins near the
modality's own state. It has no LN_m: states are to meet as loud as their streams are, and with it a
mark in one stream that picks a sign of the other was no longer found (66 %, not 99). Then, for
both: the maximum over time of each modality, a mean of these weighted by a softmax over the
modalities present, and linear-ReLU before the head.

Deviations: streams of unequal length are padded at the end, which a causal scan cannot hear, where
the authors resample all to one length; any number of modalities from 2; the scan is plain PyTorch.

Shapes: B samples, T steps, W width, I inner width, S states, M modalities.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .mamba import Mamba
from .output import FusionOutput
from .presence import Inputs

OWN_STATE = 2.0
"""Logit of a modality's own state when coupling begins, beside 0 for each other."""


class CoupledLayer(nn.Module):
    """A Mamba block for each modality behind a norm, or without one and coupled in the state.

    Args:
        modalities: Names.
        width: W.
        num_states: S.
        in_state: Couple the states.
    """

    def __init__(
        self, modalities: tuple[str, ...], width: int, num_states: int, in_state: bool
    ) -> None:
        super().__init__()
        self.modalities = modalities
        self.blocks = nn.ModuleDict({m: Mamba(width, num_states) for m in modalities})
        if in_state:
            inner = 2 * width
            own = OWN_STATE * torch.eye(len(modalities))
            self.coupling = nn.Parameter(own[:, :, None].repeat(1, 1, inner))
        else:
            self.enter = nn.ModuleDict({m: nn.LayerNorm(width) for m in modalities})
        self.in_state = in_state

    def forward(self, streams: Mapping[str, Tensor], present: Tensor) -> dict[str, Tensor]:
        """Return what each block makes, `[B, T, W]` for each modality."""
        if self.in_state:
            return self._scan_together(streams, present)
        return {m: self.blocks[m](self.enter[m](streams[m])) for m in self.modalities}

    def _scan_together(self, streams: Mapping[str, Tensor], present: Tensor) -> dict[str, Tensor]:
        given = []
        for m in self.modalities:
            block = self.blocks[m]
            assert isinstance(block, Mamba)
            given.append(block.prepare(streams[m]))
        # [B, to m, from k, I]; what is absent has no state to give.
        gone = torch.where(present, 0.0, torch.finfo(torch.float32).min)
        weights = (self.coupling.float() + gone[:, None, :, None]).softmax(dim=2)
        here = [column[:, None, None] for column in present.float().unbind(1)]
        states = [g.enters(0) * there for g, there in zip(given, here, strict=True)]
        said = [[g.leaves(0, state)] for g, state in zip(given, states, strict=True)]
        for t in range(1, given[0].drive.shape[1]):
            mixed = [_mixed(weights[:, i], states) for i in range(len(given))]
            states = [
                (g.decay(t) * mix + g.enters(t)) * there
                for g, mix, there in zip(given, mixed, here, strict=True)
            ]
            for one, g, state in zip(said, given, states, strict=True):
                one.append(g.leaves(t, state))
        out = {}
        for i, m in enumerate(self.modalities):
            block = self.blocks[m]
            assert isinstance(block, Mamba)
            out[m] = block.finish(said[i], given[i])
        return out


def _mixed(weights: Tensor, states: Sequence[Tensor]) -> Tensor:
    """Return the weighted sum `[B, I, S]` of states `[B, I, S]`, by weights `[B, M, I]`."""
    total = weights[:, 0, :, None] * states[0]
    for k, state in enumerate(states[1:], start=1):
        total = torch.addcmul(total, weights[:, k, :, None], state)
    return total


class CoupledMamba(Fusion):
    """Coupled state space models, one for each modality.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        head: `linear` or `mlp`.
        width: W.
        num_layers: Layers.
        num_states: S.
        check_finite: Refuse NaN and infinity in what is present.

    Attributes:
        coupling: `layer` or `state`: what couples the modalities.
    """

    coupling: ClassVar[str] = "layer"

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        head: str = "linear",
        width: int = 128,
        num_layers: int = 3,
        num_states: int = 64,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, head=head, check_finite=check_finite)
        del self.poolings  # the maximum over time comes after the layers
        if num_layers < 1 or num_states < 1 or width < 2:
            raise ValueError(
                "num_layers, num_states, width: at least 1, 1 and 2, not "
                f"{num_layers}, {num_states}, {width}"
            )
        self.project = nn.ModuleDict({m: nn.Linear(d, width) for m, d in self.dims.items()})
        self.layers = nn.ModuleList(
            CoupledLayer(self.modalities, width, num_states, self.coupling == "state")
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(width)
        # Behind the last layer nothing could hear it.
        related = self.modalities if self.coupling == "layer" and num_layers > 1 else ()
        others = (len(self.dims) - 1) * width
        self.relate = nn.ModuleDict({m: nn.Linear(others, width) for m in related})
        self.weights = nn.Parameter(torch.zeros(len(self.dims)))
        self.joint = nn.Sequential(nn.Linear(width, width // 2), nn.ReLU())
        self.add_head(width // 2)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, W / 2]`; `z` holds each modality's maximum over time `[B, W]`."""
        longest = max(rows.shape[1] for rows in inputs.features.values())
        streams, valid = {}, {}
        for m, rows in inputs.features.items():
            more = longest - rows.shape[1]
            valid[m] = F.pad(inputs.valid[m], (0, more), value=False)
            streams[m] = _where(valid[m], self.project[m](F.pad(rows, (0, 0, 0, more))))
        for i, layer in enumerate(self.layers):
            heard = layer(streams, inputs.present)
            y = {m: _where(valid[m], self.norm(heard[m]) + streams[m]) for m in self.modalities}
            is_last = i == len(self.layers) - 1
            streams = y if is_last or not self.relate else self._relate(y, valid)
        z = {}
        for m in self.modalities:
            lowest = torch.finfo(streams[m].dtype).min
            most = streams[m].masked_fill(~valid[m][:, :, None], lowest).amax(dim=1)
            z[m] = most.masked_fill(~valid[m].any(dim=1, keepdim=True), 0.0)
        scores = torch.where(inputs.present, self.weights, torch.finfo(torch.float32).min)
        stacked = torch.stack([z[m] for m in self.modalities], dim=1)
        mean = (scores.softmax(dim=1)[:, :, None] * stacked).sum(dim=1)
        return FusionOutput(fused=self.joint(mean), z=z)

    def _relate(self, y: Mapping[str, Tensor], valid: Mapping[str, Tensor]) -> dict[str, Tensor]:
        related = {}
        for m in self.modalities:
            others = torch.cat([y[k] for k in self.modalities if k != m], dim=-1)
            related[m] = _where(valid[m], y[m] + self.relate[m](others))
        return related


class StateCoupledMamba(CoupledMamba):
    """The same, coupled in the state.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        head: `linear` or `mlp`.
        width: W.
        num_layers: Layers.
        num_states: S.
        check_finite: Refuse NaN and infinity in what is present.
    """

    coupling: ClassVar[str] = "state"


def _where(valid: Tensor, rows: Tensor) -> Tensor:
    return rows.masked_fill(~valid[:, :, None], 0.0)


_RECIPE = TrainingRecipe(
    optimizer="adam",
    lr=5e-4,
    weight_decay=5e-4,
    batch_size=1024,
    stage_epochs=(100,),
    source="the released code, which halves the rate every 50 epochs; here it falls as a cosine "
    "over as many as we chose",
)
_MISSING = "its stream is zero and neither couples nor counts in the mean"

INFOS = (
    FusionInfo(
        name="layer_coupled",
        method=CoupledMamba,
        paper_row="Coupled Mamba",
        source="Li et al., NeurIPS 2024, code hustcselwb/coupled-mamba (incomplete)",
        faithfulness="code",
        missing=_MISSING,
        deviations=(
            "The modules that the code leaves undefined are linear layers.",
            "Streams are padded, not resampled to one length.",
        ),
        needs=("sequence",),
        min_modalities=2,
        recipe=_RECIPE,
    ),
    FusionInfo(
        name="state_coupled",
        method=StateCoupledMamba,
        paper_row="Coupled Mamba",
        source="Li et al., NeurIPS 2024, our reading of the state equation",
        faithfulness="text",
        missing=_MISSING,
        deviations=("The coupling matrices are weights over the modalities that sum to one.",),
        needs=("sequence",),
        min_modalities=2,
        recipe=_RECIPE,
    ),
)
