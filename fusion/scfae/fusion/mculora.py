"""MCULoRA: experts of one modality with low-rank updates, shared and of each combination.

Zhao et al., "MCULoRA" (arXiv 2507.11202, 2025), after the released code: MoMKE's experts, each for
its own modality only; every linear y = W x gets a shared low-rank update B_s A_s x, and beside it
runs a second stream whose linears are B_c A_c alone, c the combination of modalities present:

    shared    u = dropout(relu(proj x)) + x,  x = [E_1; ...; E_M], all linears with B_s A_s
    specific  s_m = low-rank E_m,c;  s_m += sum over k of attention_mk of s_m to s_k, one for each
              pair of modalities, for both directions;  v = B_c A_c [s]
    logits = (W + B_s A_s) u + B_c A_c v

As released the specific stream is dead: every B_c begins at 0 and the output is a product of two
or more of them, so none ever gets a gradient; here B_c begins at N(0, 0.02). With
`faithful_dead_lora` it begins at 0, and its parameters, which could not learn, are frozen.
The released contrastive loss is never computed (it looks up a key that is not there): left out.
Shared updates read what dropout (`low_rank_dropout`) left of their input, and so does the first
map of the specific stream, which else has none.

In training each sample draws one combination of what it has, with probability proportional to
q (1 + tan(preference - 1)), q = 0.8 (it cancels); the authors draw one a batch and take the
preferences from test accuracies. Here all are 1 until `set_preferences` is given others, which a
caller may measure on validation. Further deviations: the combination without any modality has no
matrices (it could not learn); a layer of the specific stream has the attention of the shared one,
GELU and residuals, where the code only multiplies by one low-rank matrix after the other, 8 in an
expert, and nothing would be left of any size; attention between specific streams has no bias and
keys that are masked; a modality's slot is zero where it is absent, and not what biases make; any
number of modalities up to 6.

Shapes: B samples, N sequences of L places, W model width, M modalities, K = 2^M - 1 combinations.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations as pairs_of

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fusion
from .context import Dialogues, take_or_pool
from .info import FusionInfo, TrainingRecipe
from .lora import LowRank, LowRankChoice
from .output import FusionOutput
from .presence import Inputs
from .two_streams import CrossModality, TwoStreamLayer

UP_STD = 0.02


class MCULoRA(Fusion):
    """Modality experts with shared and combination-specific low-rank updates.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs; None leaves the heads out.
        pooling: How rows become a vector where `groups` are given: `mean` or `attention`.
        width: Model width W, a multiple of `num_heads`.
        num_heads: Attention heads.
        num_layers: Layers of each expert.
        rank: Of the updates of projections and heads.
        expert_rank: Of the updates in the experts.
        dropout: Of projections, experts and the output, in the shared stream.
        low_rank_dropout: Of what low-rank updates read.
        draw_combinations: Draw a combination for each sample in training.
        faithful_dead_lora: The specific stream as released: zero for ever.
        check_finite: Refuse NaN and infinity in what is present.
    """

    combinations: Tensor
    preferences: Tensor

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        width: int = 256,
        num_heads: int = 2,
        num_layers: int = 4,
        rank: int = 4,
        expert_rank: int = 8,
        dropout: float = 0.5,
        low_rank_dropout: float = 0.1,
        draw_combinations: bool = True,
        faithful_dead_lora: bool = False,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, pooling=pooling, check_finite=check_finite)
        if width < 1 or width % num_heads:
            raise ValueError(f"width: must be a multiple of num_heads = {num_heads}, not {width}")
        std = 0.0 if faithful_dead_lora else UP_STD
        joint, choices = width * len(self.dims), 2 ** len(self.dims) - 1
        self.draw_combinations = draw_combinations
        self.dropout, self.low_rank_dropout = nn.Dropout(dropout), nn.Dropout(low_rank_dropout)
        self.project = nn.ModuleDict({m: nn.Linear(d, width) for m, d in self.dims.items()})
        self.shared_in = nn.ModuleDict(
            {m: LowRank(d, width, rank, low_rank_dropout) for m, d in self.dims.items()}
        )
        self.choice_in = nn.ModuleDict(
            {m: LowRankChoice(d, width, rank, choices, std) for m, d in self.dims.items()}
        )
        self.experts = nn.ModuleDict(
            {
                m: nn.ModuleList(
                    TwoStreamLayer(
                        width, num_heads, dropout, expert_rank, low_rank_dropout, choices, std
                    )
                    for _ in range(num_layers)
                )
                for m in self.modalities
            }
        )
        self.pairs = list(pairs_of(self.modalities, 2))
        self.cross = nn.ModuleDict(
            {f"{m}|{k}": CrossModality(width, num_heads) for m, k in self.pairs}
        )
        self.joint = nn.Linear(joint, joint)
        self.shared_joint = LowRank(joint, joint, rank, low_rank_dropout)
        self.choice_joint = LowRankChoice(joint, joint, rank, choices, std)
        self.output_dim = 2 * joint
        self.own_head = None if num_outputs is None else nn.Linear(joint, num_outputs)
        if num_outputs is not None:
            self.shared_head = LowRank(joint, num_outputs, rank, low_rank_dropout)
            self.choice_head = LowRankChoice(joint, num_outputs, rank, choices, std)
        codes = torch.arange(1, choices + 1)[:, None]
        combinations = ((codes >> torch.arange(len(self.dims))) & 1).bool()
        self.register_buffer("combinations", combinations, persistent=False)
        self.register_buffer("preferences", torch.ones(choices))
        if faithful_dead_lora:
            dead = [p for p in self.modules() if isinstance(p, LowRankChoice | CrossModality)]
            for part in dead:
                part.requires_grad_(False)

    def set_preferences(self, preferences: Sequence[float]) -> None:
        """Set how strongly each combination is drawn in training.

        Args:
            preferences: K numbers, in the order of `combinations` `[K, M]`.

        Raises:
            ValueError: If there are not K, or one is not above 1 - pi/4 and below 1 + pi/2.
        """
        given = torch.as_tensor(preferences, dtype=torch.float32)
        if given.shape != self.preferences.shape:
            raise ValueError(f"preferences: must be {len(self.preferences)}, not {len(given)}")
        if not bool(((given > 1 - torch.pi / 4) & (given < 1 + torch.pi / 2)).all()):
            raise ValueError("preferences: must be above 1 - pi/4 and below 1 + pi/2")
        self.preferences.copy_(given)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, 2 M W]`, both streams; `z` holds each modality's shared `[B, W]`."""
        here = inputs.present
        if self.training and self.draw_combinations:
            here = self._draw(here)
        choice = (~(here[:, None] ^ self.combinations)).all(dim=2)  # none at all: no row is true
        dialogues = None if inputs.groups is None else Dialogues.of(inputs.groups)
        vectors = {} if dialogues is None else self.pooled(inputs)
        streams, valid = {}, {}
        for i, m in enumerate(self.modalities):
            rows, valid[m] = inputs.features[m], inputs.valid[m] & here[:, i, None]
            chosen = choice[:, None].expand(-1, rows.shape[1], -1)
            if dialogues is not None:
                rows, valid[m] = dialogues.lay(vectors[m]), dialogues.lay(here[:, i])
                chosen = dialogues.lay(choice)
            streams[m] = self._expert(m, rows, valid[m], chosen)
        low = {m: self._cross(m, streams, valid) for m in self.modalities}
        z = {m: take_or_pool(streams[m][0], valid[m], dialogues) for m in self.modalities}
        x = torch.cat([z[m] for m in self.modalities], dim=1)
        s = torch.cat([take_or_pool(low[m], valid[m], dialogues) for m in self.modalities], dim=1)
        u = self.dropout(F.relu(self.joint(x) + self.shared_joint(x))) + x
        v = self.choice_joint(s, choice)
        logits = None
        if self.own_head is not None:
            logits = self.own_head(u) + self.shared_head(u) + self.choice_head(v, choice)
        return FusionOutput(fused=torch.cat([u, v], dim=1), z=z, logits=logits)

    def _draw(self, present: Tensor) -> Tensor:
        fits = ~(self.combinations & ~present[:, None]).any(dim=2)
        weights = (1 + torch.tan(self.preferences - 1)) * fits
        # A sample without anything draws among all, and still has nothing.
        weights = torch.where(fits.any(dim=1, keepdim=True), weights, 1.0)
        return self.combinations[torch.multinomial(weights, 1)[:, 0]] & present

    def _expert(
        self, modality: str, rows: Tensor, valid: Tensor, choice: Tensor
    ) -> tuple[Tensor, Tensor]:
        gone = ~valid[:, :, None]
        rows = rows.masked_fill(gone, 0.0)
        x = self.dropout(self.project[modality](rows) + self.shared_in[modality](rows))
        s = self.choice_in[modality](self.low_rank_dropout(rows), choice)
        x = x.masked_fill(gone, 0.0)
        layers = self.experts[modality]
        assert isinstance(layers, nn.ModuleList)
        for layer in layers:
            assert isinstance(layer, TwoStreamLayer)
            x, s = layer.both(x, s, valid, choice)
        return x, s

    def _cross(
        self,
        modality: str,
        streams: Mapping[str, tuple[Tensor, Tensor]],
        valid: Mapping[str, Tensor],
    ) -> Tensor:
        own = streams[modality][1]
        total = own
        for first, second in self.pairs:
            if modality in (first, second):
                other = second if modality == first else first
                attend = self.cross[f"{first}|{second}"]
                total = total + attend(own, streams[other][1], valid[other])
        return total.masked_fill(~valid[modality][:, :, None], 0.0)


INFOS = (
    FusionInfo(
        name="mculora",
        method=MCULoRA,
        paper_row="MCULoRA",
        source="arXiv 2507.11202, code gdace829/MCULoRA",
        faithfulness="code",
        missing="its places are no keys, its slot is zero, and the combination chooses the updates",
        deviations=(
            "Matrices B_c begin at N(0, 0.02): as released they stay zero (faithful_dead_lora).",
            "The specific stream has attention, GELU and residuals between its low-rank maps.",
            "The contrastive loss, which the released code never computes, is left out.",
            "A combination a sample, not a batch; preferences are all 1 until they are set.",
            "Without dialogues the sequence is each sample's own rows.",
        ),
        needs=("dialogue",),
        max_modalities=6,
        recipe=TrainingRecipe(
            optimizer="adam",
            lr=1e-4,
            weight_decay=1e-5,
            batch_size=32,
            stage_epochs=(200,),
            schedule="constant",
            source="the released code",
        ),
    ),
)
