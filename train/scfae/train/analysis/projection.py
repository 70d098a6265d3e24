"""Parts of samples in the plane: their principal components, and t-SNE.

All parts of a split are laid in one space: a narrower part is filled up with zeros, which keeps the
distances within a part and between parts of one width. t-SNE sees the leading principal components;
it is seeded, and of at most so many samples, evenly spread over the split.

Shapes: K points, W features of the widest part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from .parts import Array, Kind, Part

COMPONENTS: Final = 50
"""What t-SNE sees, as is usual."""
PERPLEXITY: Final = 30.0


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """One part in the plane.

    Attributes:
        modality: Which.
        kind: `specific` or `shared`.
        places: Places of its samples in the view `[K]`.
        pca: `[K, 2]`.
        tsne: `[K, 2]`.
    """

    modality: str
    kind: Kind
    places: Array
    pca: Array
    tsne: Array

    @property
    def name(self) -> str:
        """Such as `video, shared`."""
        return f"{self.modality}, {self.kind}"


@dataclass(frozen=True, slots=True)
class Projection:
    """All parts in the plane.

    Attributes:
        points: Of each part.
        explained: Share of the variance along each of the two principal components.
        perplexity: Of t-SNE.
        n: Samples shown.
    """

    points: tuple[Points, ...]
    explained: tuple[float, float]
    perplexity: float
    n: int

    def facts(self) -> dict[str, Any]:
        """Return what there is to know beside the points, as plain JSON values."""
        return {"explained": list(self.explained), "perplexity": self.perplexity, "n": self.n}


def project(
    parts: Sequence[Part], num_samples: int, *, most: int = 300, seed: int = 1
) -> Projection | None:
    """Return parts in the plane; None where there are fewer than three points.

    Args:
        parts: By `parts_of`.
        num_samples: Samples of the view.
        most: Samples shown.
        seed: Of t-SNE.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    shown = np.unique(np.linspace(0, num_samples - 1, min(most, num_samples)).astype(np.int64))
    taken = [part.taken(shown) for part in parts]
    width = max(part.vectors.shape[1] for part in taken)
    rows = np.concatenate(
        [np.pad(one.vectors, ((0, 0), (0, width - one.vectors.shape[1]))) for one in taken]
    )
    if len(rows) < 3:
        return None
    count = min(COMPONENTS, *rows.shape)
    pca = PCA(count, svd_solver="full").fit(rows)
    leading = pca.transform(rows)
    perplexity = min(PERPLEXITY, (len(rows) - 1) / 3)
    flat = TSNE(
        perplexity=perplexity, init="pca", random_state=seed, max_iter=1000, n_jobs=1
    ).fit_transform(leading)
    plane = np.pad(leading, ((0, 0), (0, max(0, 2 - count))))[:, :2]
    ends = np.cumsum([len(one.places) for one in taken])[:-1]
    points = tuple(
        Points(one.modality, one.kind, one.places, a, b.astype(np.float64))
        for one, a, b in zip(taken, np.split(plane, ends), np.split(flat, ends), strict=True)
    )
    ratios = [*map(float, pca.explained_variance_ratio_[:2]), 0.0]
    return Projection(points, (ratios[0], ratios[1]), float(perplexity), len(shown))
