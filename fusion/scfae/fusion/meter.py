"""METER: two streams of tokens attend to themselves and to each other, layer by layer.

After Dou et al. (CVPR 2022, github.com/zdou0830/METER), on stored tokens. Each stream is projected
and gets a vector of its kind; in each layer it attends to itself, then to the others as the
previous layer left them, then a feed-forward network, each followed by layer norm of the sum
(`BertCrossLayer`); its first token, through a linear layer and tanh, stands for it.

    itm   cross-entropy of telling true pairings from those with another sample's other modalities

Deviations: a learned first token for each stream, which stored rows lack; a small model by default
(256 wide, 2 layers, 4 heads; the authors': 768, 6, 12); weights begin as torch's do, not normal of
deviation 0.02 with biases 0; no dropout of attention weights; every sample is in a true pairing and
in a wrong one (the authors': half the batch in each), its wrong partner the sample before it; no
masked language modelling, as features are no words; more than two modalities attend to all the
others, and all but the first are wrong together. Over several ranks partners are of one rank.

A retrieval's score is that of the matching head, one pass a candidate: `match_scores`.

Shapes: B samples, T steps of a stream, W model width, M modalities.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fusion
from .co_attention import CoAttentionLayer
from .info import FusionInfo, TrainingRecipe
from .output import FusionOutput
from .presence import Inputs, prepare


class METER(Fusion):
    """Co-attention between the modalities' tokens.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        head: `linear` or `mlp`.
        width: Model width W, a multiple of `num_heads`.
        num_layers: Layers of each stream.
        num_heads: Attention heads.
        dropout: In every layer.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        head: str = "linear",
        width: int = 256,
        num_layers: int = 2,
        num_heads: int = 4,
        dropout: float = 0.1,
        check_finite: bool = True,
    ) -> None:
        super().__init__(dims, num_outputs=num_outputs, head=head, check_finite=check_finite)
        del self.poolings  # the first tokens pool
        if min(width, num_layers, num_heads) < 1:
            raise ValueError(
                f"width, num_layers, num_heads: at least 1, not {width}, {num_layers}, {num_heads}"
            )
        self.project = nn.ModuleDict({m: nn.Linear(d, width) for m, d in self.dims.items()})
        self.kind = nn.ParameterDict(
            {m: nn.Parameter(torch.randn(width) * 0.02) for m in self.modalities}
        )
        self.first = nn.ParameterDict(
            {m: nn.Parameter(torch.randn(1, 1, width) * 0.02) for m in self.modalities}
        )
        self.layers = nn.ModuleList(
            nn.ModuleDict({m: CoAttentionLayer(width, num_heads, dropout) for m in self.modalities})
            for _ in range(num_layers)
        )
        self.pool = nn.ModuleDict({m: nn.Linear(width, width) for m in self.modalities})
        self.match = nn.Linear(width * len(self.modalities), 2)
        self.add_head(width * len(self.modalities))

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M W]`; `z` holds each stream's pooled first token `[B, W]`.

        It has heard the other modalities, so it is no embedding for retrieval.
        """
        z = self._streams(inputs.features, inputs.valid)
        fused = torch.cat(list(z.values()), dim=1)
        return FusionOutput(fused=fused, z=z, losses={"itm": self._matching_loss(inputs, fused)})

    def match_scores(
        self,
        queries: Mapping[str, Tensor],
        gallery: Mapping[str, Tensor],
        lengths: Mapping[str, Tensor] | None = None,
        *,
        chunk_size: int = 1024,
    ) -> Tensor:
        """Return the log-odds that query and candidate match, `[Q, G]`, for all pairs.

        Args:
            queries: Some modalities, `[Q, D_m]` or `[Q, T, D_m]`.
            gallery: Others, `[G, D_m]` or `[G, T, D_m]`.
            lengths: For each modality of either int `[Q]` or `[G]`.
            chunk_size: Candidates in one pass.

        Raises:
            ValueError: If a side is empty, both have a modality, or no candidate fits a pass.
        """
        if not queries or not gallery or set(queries) & set(gallery):
            raise ValueError(
                "queries, gallery: each needs modalities of its own, not "
                f"{', '.join(queries) or 'none'} and {', '.join(gallery) or 'none'}"
            )
        if chunk_size < 1:
            raise ValueError(f"chunk_size: must be at least 1, not {chunk_size}")
        lengths = lengths or {}
        num_queries = len(next(iter(queries.values())))
        num_candidates = len(next(iter(gallery.values())))
        named = torch.tensor([m in queries or m in gallery for m in self.modalities])
        rows = []
        for q in range(num_queries):
            parts = []
            for start in range(0, num_candidates, chunk_size):
                some = slice(start, min(start + chunk_size, num_candidates))
                size = some.stop - start
                pick = {m: slice(q, q + 1) for m in queries} | dict.fromkeys(gallery, some)
                batch = {
                    m: x[pick[m]].expand(size, *x.shape[1:])
                    for m, x in {**queries, **gallery}.items()
                }
                long = {m: n[pick[m]].expand(size) for m, n in lengths.items()}
                here = named.to(next(iter(batch.values())).device).expand(size, -1)
                inputs = prepare(batch, here, long, dims=self.dims, check_finite=self.check_finite)
                z = self._streams(inputs.features, inputs.valid)
                logits = self.match(torch.cat(list(z.values()), dim=1))
                parts.append(logits[:, 1] - logits[:, 0])
            rows.append(torch.cat(parts))
        return torch.stack(rows)

    def _streams(
        self, features: Mapping[str, Tensor], valid: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Return each stream's pooled first token `[B, W]`, zero where absent."""
        tokens, seen = {}, {}
        for m in self.modalities:
            here = valid[m].any(dim=1, keepdim=True)
            rows = self.project[m](features[m])
            first = self.first[m].expand(len(rows), -1, -1).to(rows.dtype)
            tokens[m] = torch.cat([first, rows], dim=1) + self.kind[m]
            seen[m] = torch.cat([here, valid[m]], dim=1)
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleDict)
            before = dict(tokens)
            for m in self.modalities:
                names = [k for k in self.modalities if k != m]
                others = torch.cat([before[k] for k in names], dim=1)
                their = torch.cat([seen[k] for k in names], dim=1)
                tokens[m] = layer[m](before[m], seen[m], others, their)
        return {
            m: torch.tanh(self.pool[m](x[:, 0])).masked_fill(~seen[m][:, :1], 0.0)
            for m, x in tokens.items()
        }

    def _matching_loss(self, inputs: Inputs, fused: Tensor) -> Tensor:
        """Return the mean error over true and wrong pairings of the batch."""
        first, *rest = self.modalities
        wrong = self._streams(
            {first: inputs.features[first]} | {m: inputs.features[m].roll(1, 0) for m in rest},
            {first: inputs.valid[first]} | {m: inputs.valid[m].roll(1, 0) for m in rest},
        )
        begins, ends = inputs.present[:, 0], inputs.present[:, 1:].any(dim=1)
        # A batch of one has no wrong partner.
        wrong_ends = begins & ends.roll(1, 0) & (inputs.batch_size > 1)
        usable = torch.cat([begins & ends, wrong_ends])
        logits = self.match(torch.cat([fused, torch.cat(list(wrong.values()), dim=1)])).float()
        truth = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
        truth[: len(fused)] = 1
        errors = F.cross_entropy(logits, truth, reduction="none").masked_fill(~usable, 0.0)
        return errors.sum() / usable.sum().clamp(min=1)


INFOS = (
    FusionInfo(
        name="meter",
        method=METER,
        paper_row="METER",
        source="Dou et al., CVPR 2022, github.com/zdou0830/METER",
        faithfulness="code",
        missing="its tokens are no keys and its pooled token is zero",
        deviations=(
            "A learned first token for each stream.",
            "256 wide with 2 layers and 4 heads by default, not 768, 6 and 12.",
            "Weights begin as torch's do, and attention weights have no dropout.",
            "A sample is in a true and in a wrong pairing, with the sample before it in the batch.",
            "No masked language modelling.",
            "No ranking head: a retrieval's score is the matching head's.",
        ),
        needs=("sequence",),
        min_modalities=2,
        recipe=TrainingRecipe(
            lr=5e-5,
            weight_decay=0.01,
            warmup_share=0.1,
            source="the released code's rate of heads and cross layers, weight decay and warm-up; "
            "cosine for its linear fall, decay of biases and norms, batch size and epochs ours",
        ),
        batch_losses=("itm",),
    ),
)
