"""MCTN: translate one modality into the others; what the encoder says on the way is the fusion.

Pham et al., "Found in Translation" (AAAI 2019), after the original's configuration and the code of
its port in MMSA. The source modality is translated to the next, and back from what was made of it;
the states of the encoder are read by a second encoder, which translates to the third, and so on:

    states_1 = BiLSTM_1(project(V_source));  V^_1 = decode_1(states_1);  back = decode_1(BiLSTM_1(
    project(V^_1)));  states_2 = BiLSTM_2(states_1);  V^_2 = decode_2(states_2);  ...
    fused = attention pooling of LSTM(states_last)

The states of a BiLSTM's two directions are added.
At test only the source is needed, and nothing else is read: a sample without it has a zero vector.
Losses: `translation_1`, `cycle` and `translation_2`, mean squared errors over the target's rows and
features, of samples that have source and target; `translation_2` is the sum of all later ones.

Deviations: a projection to and from each modality, where the port pads all to one width; decoders
are LSTMs that begin at the mean of the states, attend by products of state and query, end with a
tanh and read what they made (the port's begin anew at each step, attend by a layer of tanh, and are
fed the truth even where it means not to); the scores of the pooling have a hidden layer; no
alignment is needed, since the target has its own length; any number of modalities from 2, in the
order of `dims`.

Shapes: B samples, T rows of a modality, H hidden width.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .losses import mean_over_present
from .output import FusionOutput
from .pooling import AttentionPooling, masked_mean
from .presence import Inputs
from .recurrent import BiLSTM


class Decoder(nn.Module):
    """An LSTM that attends to an encoder's states and reads what it wrote last.

    Args:
        width: Of states and of what it writes, H.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.cell = nn.LSTMCell(2 * width, width)
        self.write = nn.Linear(2 * width, width)

    def forward(self, states: Tensor, valid: Tensor, num_steps: int) -> Tensor:
        """Return `[B, num_steps, width]` from states `[B, T, width]`, zero where not valid."""
        lowest = torch.finfo(states.dtype).min
        hidden = cell = masked_mean(states, valid)
        written = torch.zeros_like(hidden)
        rows = []
        for _ in range(num_steps):
            scores = (states * self.query(hidden)[:, None]).sum(dim=2)
            weights = scores.masked_fill(~valid, lowest).softmax(dim=1)
            heard = (weights[:, :, None] * states).sum(dim=1)
            hidden, cell = self.cell(torch.cat([written, heard], dim=1), (hidden, cell))
            written = torch.tanh(self.write(torch.cat([hidden, heard], dim=1)))
            rows.append(written)
        return torch.stack(rows, dim=1)


class MCTN(Fusion):
    """Cyclic translations from one modality.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        head: `linear` or `mlp`.
        source: The modality that is translated; None is the first.
        hidden: Width H of all states.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        head: str = "linear",
        source: str | None = None,
        hidden: int = 32,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, head=head, check_finite=check_finite)
        del self.poolings  # time is pooled after the encoders
        if source is not None and source not in self.dims:
            raise ValueError(f"source: must be one of {', '.join(self.dims)}, not {source!r}")
        if hidden < 1:
            raise ValueError(f"hidden: must be at least 1, not {hidden}")
        self.source = source or self.modalities[0]
        self.targets = tuple(m for m in self.modalities if m != self.source)
        first = (self.source, self.targets[0])
        self.read = nn.ModuleDict({m: nn.Linear(self.dims[m], hidden) for m in first})
        self.write = nn.ModuleDict({m: nn.Linear(hidden, d) for m, d in self.dims.items()})
        self.encoders = nn.ModuleList(BiLSTM(hidden, hidden) for _ in self.targets)
        self.decoders = nn.ModuleList(Decoder(hidden) for _ in self.targets)
        self.last = BiLSTM(hidden, hidden, bidirectional=False)
        self.pool = AttentionPooling(hidden)
        self.add_head(hidden)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, H]`; `z` holds the last states' mean; `recon` the mean translations."""
        source = self.source
        valid = inputs.valid[source]
        rows = self.read[source](inputs.features[source])
        recon: dict[str, Tensor] = {}
        losses: dict[str, Tensor] = {}
        for i, target in enumerate(self.targets):
            rows = self._encode(i, rows, valid)
            made = self.decoders[i](rows, valid, inputs.valid[target].shape[1])
            recon[target] = self.write[target](made)
            error = self._error(recon[target], target, inputs)
            name = f"translation_{min(i + 1, 2)}"
            losses[name] = losses[name] + error if name in losses else error
            if i == 0:
                there = self.read[target](recon[target])
                states = self._encode(0, there, inputs.valid[target])
                back = self.decoders[0](states, inputs.valid[target], valid.shape[1])
                recon[source] = self.write[source](back)
                losses["cycle"] = self._error(recon[source], source, inputs, target)
        states, _ = self.last(rows, valid)
        fused = self.pool(states, valid)
        means = {m: _mean(recon[m], inputs.valid[m]) for m in self.modalities}
        z = {m: fused if m == source else torch.zeros_like(fused) for m in self.modalities}
        return FusionOutput(fused=fused, z=z, recon=means, losses=losses)

    def _encode(self, number: int, rows: Tensor, valid: Tensor) -> Tensor:
        states: Tensor = self.encoders[number](rows, valid)[0]
        onward, back = states.chunk(2, dim=2)
        return onward + back

    def _error(
        self, made: Tensor, target: str, inputs: Inputs, through: str | None = None
    ) -> Tensor:
        """Return the error of samples that have the source, the target and what it came through."""
        valid = inputs.valid[target]
        by_row = (made - inputs.features[target]).float().square().mean(dim=2, keepdim=True)
        errors = _mean(by_row, valid)[:, 0]
        applies = valid.any(dim=1) & inputs.valid[self.source].any(dim=1)
        if through is not None:
            applies = applies & inputs.valid[through].any(dim=1)
        return mean_over_present(errors, applies, inputs.present)


def _mean(rows: Tensor, valid: Tensor) -> Tensor:
    return masked_mean(rows.masked_fill(~valid[:, :, None], 0.0), valid)


INFOS = (
    FusionInfo(
        name="mctn",
        method=MCTN,
        paper_row="MCTN",
        source="Pham et al., AAAI 2019, after its configuration and the port in MMSA",
        faithfulness="port",
        missing="nothing but the source is read; without the source the vector is zero",
        deviations=(
            "Decoders carry their state and read what they made.",
            "Projections to and from each modality, which need not be aligned.",
        ),
        needs=("sequence",),
        min_modalities=2,
        recipe=TrainingRecipe(
            optimizer="adam",
            lr=1e-4,
            weight_decay=0.0,
            stage_epochs=(100,),
            schedule="constant",
            loss_weights={"translation_1": 0.1, "cycle": 0.1, "translation_2": 0.1},
            source="the original's configuration, but for a penalty of 0.01 on the squared weights "
            "of its last layer; epochs are ours",
        ),
    ),
)
