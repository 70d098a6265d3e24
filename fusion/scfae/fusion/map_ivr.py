"""MAP-IVR: a video is appearance and motion, an image is appearance; motion makes it a video.

After the text of Liu et al. (AAAI 2021); there is no code, and losses and weights are not public
beyond the paper: approximate. One modality is still (`still`), all others move. A moving one's
features, projected, are its point in video space; an appearance and a motion code are read off it,
and a decoder makes the point of both. The still one has an appearance code, in one space with the
others'; with a video's motion the decoder translates it into that video's space.

    triplet_appearance   of the appearance codes, cosine distance
    triplet_video        distance of the image, translated with a candidate's motion, to that
                         candidate, the pair's own against those of other samples
    cls                  the task's error of the head on each appearance and of one on each point
    recon                square error of a point rebuilt from its own appearance and motion
    orthogonality        |cos| of a moving modality's appearance and motion code

A retrieval's score is the sum of both spaces' distances, one decoding a pair: `distances`. What
`z` holds is the first space only.

Deviations: which distances, margins and weights; the target of `recon` is detached, since it is
learned; the negatives are all samples of other classes (without labels: all others); several moving
modalities have a decoder each and their losses are summed.

Shapes: B samples, W width of every code and of video space.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import Fusion
from .distance_triplet import distance_triplet, other_samples
from .heads import make_head
from .info import FusionInfo
from .losses import batch_triplet, cosine_overlap, mean_over_present
from .matching import check_positives, partner_labels
from .output import FusionOutput
from .perceptron import MLP
from .presence import Inputs
from .task_errors import task_errors
from .towers import Towers


class MAPIVR(Fusion):
    """Appearance and motion codes, and the translation of a still one into video space.

    Args:
        dims: Width of each modality.
        num_outputs: Outputs of the heads; None builds none.
        pooling: `mean` or `attention`.
        head: `linear` or `mlp`.
        width: Width W of every code.
        margin: Of both triplets.
        positives: `class`: samples of the anchor's class are no negatives; `pair`: all others are.
        still: The modality without motion; None: `image` where there is one, else the last.
        check_finite: Refuse NaN and infinity in what is present.
    """

    def __init__(
        self,
        dims: Mapping[str, int],
        *,
        num_outputs: int | None = None,
        pooling: str = "mean",
        head: str = "linear",
        width: int = 256,
        margin: float = 0.2,
        positives: str = "class",
        still: str | None = None,
        check_finite: bool = True,
    ) -> None:
        super().__init__(
            dims, num_outputs=num_outputs, pooling=pooling, head=head, check_finite=check_finite
        )
        check_positives(positives)
        if width < 1 or margin <= 0:
            raise ValueError(f"width, margin: must be positive, not {width} and {margin}")
        named = still or ("image" if "image" in self.dims else self.modalities[-1])
        if named not in self.dims:
            raise ValueError(f"still: must be one of {', '.join(dims)}, not {still!r}")
        self.still = named
        self.moving = tuple(m for m in self.modalities if m != named)
        self.margin = margin
        self.positives = positives
        moving = dict.fromkeys(self.moving, width)
        self.project = Towers({m: self.dims[m] for m in self.moving}, width)
        self.appearance = Towers({m: moving.get(m, d) for m, d in self.dims.items()}, width, width)
        self.motion = Towers(moving, width, width)
        self.decode = nn.ModuleDict({m: MLP(2 * width, width, width) for m in self.moving})
        self.add_head(width * (len(self.modalities) + len(self.moving)))
        self.classify = nn.ModuleDict()
        if num_outputs is not None:
            self.classify["appearance"] = make_head("linear", width, num_outputs)
            self.classify["video"] = make_head("linear", width, num_outputs)

    def fuse(self, inputs: Inputs) -> FusionOutput:
        """Return `fused [B, (2 M - 1) W]`: all appearance codes, then the motion codes.

        `z` and `shared_from` hold the appearance codes `[B, W]`, zero where absent, whose cosine is
        the score in the first space; `specific` holds the motion codes.
        """
        points, appearance, motion = self._codes(self.pooled(inputs), inputs.present)
        here = {m: inputs.present[:, i] for i, m in enumerate(self.modalities)}
        partners = partner_labels(self.positives, inputs.labels)
        sums: dict[str, list[Tensor]] = {
            name: [] for name in ("triplet_appearance", "triplet_video", "recon", "orthogonality")
        }
        image = appearance[self.still]
        for m in self.moving:
            both = here[m] & here[self.still]
            sums["triplet_appearance"].append(
                batch_triplet(image, appearance[m], margin=self.margin, valid=both, labels=partners)
            )
            sums["triplet_video"].append(
                distance_triplet(
                    self._translated(m, image, motion[m], points[m]),
                    other_samples(both, here[m], partners),
                    margin=self.margin,
                )
            )
            rebuilt = self.decode[m](torch.cat([appearance[m], motion[m]], dim=1))
            errors = (rebuilt - points[m].detach()).square().mean(dim=1)
            sums["recon"].append(mean_over_present(errors, here[m], inputs.present))
            overlap = cosine_overlap(appearance[m], motion[m])
            sums["orthogonality"].append(mean_over_present(overlap, here[m], inputs.present))
        losses = {name: torch.stack(parts).sum() for name, parts in sums.items()}
        if self.num_outputs is not None and inputs.labels is not None:
            losses["cls"] = self._cls(appearance, points, here, inputs)
        return FusionOutput(
            fused=torch.cat([*appearance.values(), *motion.values()], dim=1),
            z=appearance,
            specific=motion,
            shared_from=appearance,
            losses=losses,
        )

    def distances(self, stills: Tensor, name: str, videos: Tensor) -> Tensor:
        """Return the sum of both spaces' distances of all pairs, `[Q, G]`.

        Args:
            stills: Pooled features of the still modality `[Q, D]`.
            name: The moving modality.
            videos: Its pooled features `[G, D]`.
        """
        # The towers ask for presence in the order of the modalities.
        vectors = {m: torch.zeros(len(videos), d).to(videos) for m, d in self.dims.items()}
        everything = torch.ones(len(videos), len(self.dims), dtype=torch.bool).to(videos.device)
        points, appearance, motion = self._codes(vectors | {name: videos}, everything)
        image = self.appearance.mlps[self.still](stills)
        near = 1 - F.normalize(image, dim=1) @ F.normalize(appearance[name], dim=1).T
        return near + self._translated(name, image, motion[name], points[name])

    def _codes(
        self, vectors: Mapping[str, Tensor], present: Tensor
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
        """Return points in video space, appearance and motion codes, each `[B, W]`."""
        columns = [self.modalities.index(m) for m in self.moving]
        points = self.project({m: vectors[m] for m in self.moving}, present[:, columns])
        sources = {m: points.get(m, vectors[m]) for m in self.modalities}
        return points, self.appearance(sources, present), self.motion(points, present[:, columns])

    def _translated(self, m: str, image: Tensor, motion: Tensor, points: Tensor) -> Tensor:
        """Return how far image q with motion g is from point g, `[Q, G]`: 1 - cos."""
        decoder = self.decode[m]
        assert isinstance(decoder, MLP)
        enter = decoder[0]
        assert isinstance(enter, nn.Linear)
        # The first layer is linear in both, so each is read once and not once a pair.
        width = image.shape[1]
        hidden = F.linear(image, enter.weight[:, :width])[:, None]
        hidden = hidden + F.linear(motion, enter.weight[:, width:], enter.bias)
        for layer in list(decoder)[1:]:
            hidden = layer(hidden)
        return 1 - F.cosine_similarity(hidden, points[None], dim=2)

    def _cls(
        self,
        appearance: Mapping[str, Tensor],
        points: Mapping[str, Tensor],
        here: Mapping[str, Tensor],
        inputs: Inputs,
    ) -> Tensor:
        assert inputs.labels is not None
        parts = []
        for name, vectors in (("appearance", appearance), ("video", points)):
            for m, x in vectors.items():
                errors = task_errors(self.classify[name](x), inputs.labels)
                parts.append(mean_over_present(errors, here[m], inputs.present))
        return torch.stack(parts).sum()


INFOS = (
    FusionInfo(
        name="map_ivr",
        method=MAPIVR,
        paper_row="MAP-IVR",
        source="Liu et al., AAAI 2021; no code",
        faithfulness="text",
        missing="its codes are zero and it is in no loss",
        deviations=(
            "Distances, margins and weights are ours.",
            "The point that is rebuilt is detached.",
            "The negatives are all samples of other classes.",
            "Several moving modalities have a decoder each; their losses are summed.",
        ),
        needs=("labels",),
        min_modalities=2,
        batch_losses=("triplet_appearance", "triplet_video"),
    ),
)
