"""GCNet: graphs over the utterances of a dialogue complete what is missing.

Lian et al., "GCNet" (TPAMI 2023), after the released code. A dialogue's utterances are nodes; each
carries its modalities side by side, zeros where one is missing:

    h = BiLSTM([V_1; ...; V_M])
    for each of two graphs, of time and of speakers:
        r_i = W_0 h_i + sum over relations of the mean over neighbours j of W_rel h_j   (RGCN)
        g_i = W_1 r_i + W_2 sum over neighbours j of r_j                                (GraphConv)
        hidden = ReLU(linear(BiLSTM([h; g])))
    fused = sum of both; a linear layer rebuilds all modalities from it

Neighbours are at most `window` places before or after, and the node itself. The graph of time has
three relations: before, itself, after; that of speakers one, as for CMU-MOSI and -MOSEI, whose
dialogues have one speaker. Loss `recon`: for each utterance the squared error over the features of
each hidden modality, over D_m.

Deviations: dense masks instead of a graph library; BiLSTMs do not read padding; in training some
present modalities are hidden by a draw of each batch, at one rate, where the authors train a model
for each rate of the test, and they alone are rebuilt, since what is truly absent is unknown; the
optional attention over time, off by default, is left out. With one modality nothing could be
hidden: at least two. Dialogues are named by `groups`; without
them every sample is a dialogue of its own and the graphs say nothing: training then warns once.

Shapes: B samples, N dialogues of at most L places, F features of a node.
"""

import warnings
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fusion
from .context import Dialogues
from .hiding import check_share, hide
from .info import FusionInfo, TrainingRecipe
from .losses import mean_over_present
from .output import FusionOutput
from .presence import Inputs
from .recurrent import BiLSTM


class RelationalGraph(nn.Module):
    """An RGCN layer and a GraphConv layer, with no activation between.

    Args:
        in_width: Features of a node.
        width: Features after each layer.
        num_relations: Kinds of edges.
    """

    def __init__(self, in_width: int, width: int, num_relations: int) -> None:
        super().__init__()
        self.root = nn.Linear(in_width, width)
        self.relations = nn.ModuleList(
            nn.Linear(in_width, width, bias=False) for _ in range(num_relations)
        )
        self.self_weight = nn.Linear(width, width)
        self.neighbours = nn.Linear(width, width, bias=False)

    def forward(self, nodes: Tensor, edges: Sequence[Tensor]) -> Tensor:
        """Return `[N, L, width]` from nodes `[N, L, F]` and bool edges `[N, L, L]` a relation.

        `edges[r][n, i, j]`: node i hears node j.
        """
        r = self.root(nodes)
        for layer, edge in zip(self.relations, edges, strict=True):
            weights = edge.to(nodes.dtype)
            weights = weights / weights.sum(dim=2, keepdim=True).clamp(min=1)
            r = r + layer(weights @ nodes)
        every = torch.stack(list(edges)).any(dim=0).to(r.dtype)
        g: Tensor = self.self_weight(r) + self.neighbours(every @ r)
        return g


class GraphBranch(nn.Module):
    """One graph over the nodes, then a BiLSTM over the dialogue.

    Args:
        in_width: Features of a node.
        graph_width: Features after the graph layers.
        num_relations: Kinds of edges.
        dropout: Between the layers of the BiLSTM.
    """

    def __init__(self, in_width: int, graph_width: int, num_relations: int, dropout: float) -> None:
        super().__init__()
        width = in_width + graph_width
        self.graph = RelationalGraph(in_width, graph_width, num_relations)
        self.lstm = BiLSTM(width, width, num_layers=2, dropout=dropout)
        self.out = nn.Linear(2 * width, width)

    def forward(self, nodes: Tensor, edges: Sequence[Tensor], held: Tensor) -> Tensor:
        """Return `[N, L, in_width + graph_width]` from nodes `[N, L, F]` and held bool `[N, L]`."""
        both = torch.cat([nodes, self.graph(nodes, edges)], dim=2)
        return F.relu(self.out(self.lstm(both, held)[0]))


class GCNet(Fusion):
    """Graph completion over dialogues.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        pooling: How an utterance's rows become its vector: `mean` or `attention`.
        head: `linear` or `mlp`.
        width: Hidden features of each direction of the first BiLSTM.
        graph_width: Features after the graph layers.
        window: Neighbours on each side.
        dropout: Between the layers of the BiLSTMs.
        hidden_share: Probability that a present modality is hidden in training.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        width: int = 200,
        graph_width: int = 100,
        window: int = 2,
        dropout: float = 0.5,
        hidden_share: float = 0.3,
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        if window < 1:
            raise ValueError(f"window: must be at least 1, not {window}")
        check_share("hidden_share", hidden_share)
        self.window = window
        self.hidden_share = hidden_share
        self.warned = False
        total = sum(self.dims.values())
        self.lstm = BiLSTM(total, width, num_layers=2, dropout=dropout)
        self.temporal = GraphBranch(2 * width, graph_width, 3, dropout)
        self.speaker = GraphBranch(2 * width, graph_width, 1, dropout)
        self.rebuild = nn.Linear(2 * width + graph_width, total)
        self.add_head(2 * width + graph_width)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, 2 width + graph_width]`; `recon` holds every modality rebuilt."""
        if inputs.groups is None:
            self._warn()
            dialogues = Dialogues.single(inputs.batch_size, inputs.present.device)
        else:
            dialogues = Dialogues.of(inputs.groups)
        seen = inputs.present
        if self.training and self.hidden_share > 0:
            seen = hide(seen, self.hidden_share)
        vectors = self.pooled(inputs)
        visible = [
            vectors[m].masked_fill(~seen[:, i, None], 0.0) for i, m in enumerate(self.modalities)
        ]
        held = dialogues.held
        nodes, _ = self.lstm(dialogues.lay(torch.cat(visible, dim=1)), held)
        before, itself, after = self._edges(held)
        hidden = self.temporal(nodes, (before, itself, after), held)
        hidden = hidden + self.speaker(nodes, (before | itself | after,), held)
        fused = dialogues.take(hidden)
        parts = self.rebuild(fused).split(list(self.dims.values()), dim=1)
        recon = dict(zip(self.modalities, parts, strict=True))
        errors = torch.stack(
            [(recon[m] - vectors[m]).float().pow(2).mean(dim=1) for m in self.modalities], dim=1
        )
        loss = mean_over_present(errors, inputs.present & ~seen, inputs.present)
        return FusionOutput(fused=fused, z=vectors, recon=recon, losses={"recon": loss})

    def _edges(self, held: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return who hears whom, bool `[N, L, L]`: places before, itself, places after."""
        places = torch.arange(held.shape[1], device=held.device)
        distance = places[None, :] - places[:, None]
        both = held[:, :, None] & held[:, None, :] & (distance.abs() <= self.window)
        return both & (distance < 0), both & (distance == 0), both & (distance > 0)

    def _warn(self) -> None:
        if self.training and not self.warned:
            self.warned = True
            warnings.warn(
                "gcnet: no groups were given, so every sample is a dialogue of its own and the "
                "graphs have no edges between samples",
                stacklevel=2,
            )


INFOS = (
    FusionInfo(
        name="gcnet",
        method=GCNet,
        paper_row="GCNet",
        source="Lian et al., TPAMI 2023, code zeroQiaoba/GCNet",
        faithfulness="code",
        missing="zeros in its place; what is near in the dialogue helps",
        deviations=(
            "One relation between speakers.",
            "Each batch hides modalities by a draw of its own; what is truly absent is in no loss.",
        ),
        needs=("dialogue",),
        min_modalities=2,
        recipe=TrainingRecipe(
            optimizer="adam",
            lr=1e-3,
            weight_decay=1e-5,
            batch_size=32,
            stage_epochs=(100,),
            schedule="constant",
            source="the released code",
        ),
    ),
)
