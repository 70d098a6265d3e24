"""MISA: each modality as a shared and a private embedding, held apart and drawn together.

Hazarika et al., "MISA" (ACM MM 2020), after the released code, on stored features:

    u_m = LN(ReLU(linear_m(V_m)))
    private_m = sigmoid(linear_m(u_m)),  shared_m = sigmoid(linear(u_m)), one matrix for all m
    recon_m = linear_m(private_m + shared_m), whose target is u_m
    fused = ReLU(dropout(linear(one transformer layer over the 2 M embeddings, side by side)))

Losses, each 0 where there is nothing to compare: `diff`, orthogonality of private_m and shared_m
for each m and of the private embeddings of each pair; `sim`, the central moment discrepancy of the
shared ones, a mean over pairs; `recon`, the squared error, a mean over features and modalities.

Deviations: a projection replaces the encoders (BERT, BiLSTMs); an absent modality is no key, has
zero embeddings and counts in no loss, where MISA knows no absence; keys without bias, and no
dropout of attention weights. In `diff` and `sim` the rows of a modality, or of a pair, are those
where it is present.

Shapes: B samples, M modalities, W embedding width.
"""

from collections.abc import Mapping
from itertools import combinations

import torch
from torch import Tensor, nn

from .attention import SelfAttentionLayer
from .base import Fusion
from .info import FusionInfo, TrainingRecipe
from .losses import central_moment_discrepancy, mean_over_present, orthogonality
from .output import FusionOutput
from .perceptron import make_encoders
from .presence import Inputs


class MISA(Fusion):
    """Modality-invariant and modality-specific embeddings.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the head; None builds none.
        pooling: `mean` or `attention`.
        head: `linear` or `mlp`.
        width: W, even.
        feed_forward: Hidden width of the transformer layer.
        num_moments: Moments that `sim` compares.
        dropout: Before the head.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        width: int = 128,
        feed_forward: int = 2048,
        num_moments: int = 5,
        dropout: float = 0.5,
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        if width < 2 or width % 2:
            raise ValueError(f"width: must be even, not {width}")
        if min(num_moments, feed_forward) < 1:
            raise ValueError(
                f"num_moments, feed_forward: at least 1, not {num_moments}, {feed_forward}"
            )
        self.num_moments = num_moments
        self.project = make_encoders(self.dims, width, "relu")
        self.private = nn.ModuleDict({m: nn.Linear(width, width) for m in self.modalities})
        self.shared = nn.Linear(width, width)
        self.rebuild = nn.ModuleDict({m: nn.Linear(width, width) for m in self.modalities})
        self.layer = SelfAttentionLayer(
            width, 2, feed_forward=feed_forward, norm="post", activation="relu"
        )
        num = len(self.dims)
        self.joint = nn.Sequential(
            nn.Linear(2 * num * width, num * width), nn.Dropout(dropout), nn.ReLU()
        )
        self.add_head(num * width)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, M W]`; `specific` and `shared` hold `[B, W]`, `z` both `[B, 2 W]`."""
        vectors = self.pooled(inputs)
        gone = {m: ~inputs.present[:, i, None] for i, m in enumerate(self.modalities)}
        u = {m: self.project[m](vectors[m]) for m in self.modalities}
        private = {
            m: torch.sigmoid(self.private[m](u[m])).masked_fill(gone[m], 0.0)
            for m in self.modalities
        }
        shared = {
            m: torch.sigmoid(self.shared(u[m])).masked_fill(gone[m], 0.0) for m in self.modalities
        }
        recon = {m: self.rebuild[m](private[m] + shared[m]) for m in self.modalities}
        tokens = torch.stack([*private.values(), *shared.values()], dim=1)
        valid = torch.cat([inputs.present, inputs.present], dim=1)
        heard = self.layer(tokens, valid).masked_fill(~valid[:, :, None], 0.0)
        return FusionOutput(
            fused=self.joint(heard.flatten(1)),
            z={m: torch.cat([private[m], shared[m]], dim=1) for m in self.modalities},
            specific=private,
            shared=shared,
            recon=recon,
            losses=self._losses(u, private, shared, recon, inputs.present),
        )

    def _losses(
        self,
        u: Mapping[str, Tensor],
        private: Mapping[str, Tensor],
        shared: Mapping[str, Tensor],
        recon: Mapping[str, Tensor],
        present: Tensor,
    ) -> dict[str, Tensor]:
        here = dict(zip(self.modalities, present.unbind(dim=1), strict=True))
        diff = [
            orthogonality(private[m].float(), shared[m].float(), valid=here[m])
            for m in self.modalities
        ]
        sim = []
        for m, k in combinations(self.modalities, 2):
            both = here[m] & here[k]
            diff.append(orthogonality(private[m].float(), private[k].float(), valid=both))
            sim.append(
                central_moment_discrepancy(
                    shared[m].float(),
                    shared[k].float(),
                    num_moments=self.num_moments,
                    valid_first=here[m],
                    valid_second=here[k],
                )
            )
        errors = torch.stack(
            [(recon[m] - u[m]).float().square().mean(dim=1) for m in self.modalities], dim=1
        )
        return {
            "diff": torch.stack(diff).sum(),
            "sim": torch.stack(sim).mean(),
            "recon": mean_over_present(errors, present, present) / len(self.modalities),
        }


INFOS = (
    FusionInfo(
        name="misa",
        method=MISA,
        paper_row="MISA",
        source="Hazarika et al., ACM MM 2020, code declare-lab/MISA",
        faithfulness="code",
        missing="its embeddings are zero and no keys, and count in no loss",
        deviations=(
            "A projection replaces the encoders.",
            "Absence is masked.",
            "Keys without bias, no dropout of attention weights.",
        ),
        min_modalities=2,
        recipe=TrainingRecipe(
            optimizer="adam",
            lr=1e-4,
            weight_decay=0.0,
            batch_size=16,
            stage_epochs=(40,),
            schedule="constant",
            clip_value=1.0,
            loss_weights={"diff": 0.3, "sim": 1.0, "recon": 1.0},
            source="the released code for CMU-MOSEI, which halves the rate on a plateau and stops "
            "early; epochs are ours",
        ),
        batch_losses=("diff", "sim"),
    ),
)
