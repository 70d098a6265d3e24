"""Metrics of ranked lists: mAP@K with each of the three normalisers, and recall at K.

    AP@K(q) = sum over k <= K of rel_k P@k, divided by

`hits`, the relevant ones in the top K (the code that the paper's retrieval tables descend from,
ACMR: it rewards one early hit and may fall with K); `min_rk`, min(R, K), the best that K places
can hold; `r`, all R relevant ones of the gallery. A query without a hit scores 0, also where the
gallery holds nothing relevant to it. Equal scores rank in the gallery's order.

The search is exact: every query against the whole gallery, some queries at a time.

Shapes: Q queries, G samples of the gallery, E features, K places.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from .classification import Floats, Integers, Metrics

AP_NORMS: Final = ("hits", "min_rk", "r")
DISTANCES: Final = ("cos", "l2")

_CHUNK_CELLS = 2**22
"""Scores in memory at once: 32 MiB."""


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """What each query found.

    Attributes:
        relevant: Whether the k-th place is relevant, bool `[Q, K]`; False behind a short gallery.
        total: Relevant samples of the gallery for each query, R, `[Q]`.
        top: Rows of the gallery by rank, int64 `[Q, K]`; -1 behind a short gallery.
    """

    relevant: npt.NDArray[np.bool_]
    total: Integers
    top: Integers


def rank_exactly(
    queries: npt.ArrayLike,
    gallery: npt.ArrayLike,
    query_classes: npt.ArrayLike,
    gallery_classes: npt.ArrayLike,
    *,
    k: int,
    distance: str = "cos",
    query_sources: npt.ArrayLike | None = None,
    gallery_sources: npt.ArrayLike | None = None,
) -> Ranking:
    """Rank the gallery for every query.

    Args:
        queries: `[Q, E]`.
        gallery: `[G, E]`.
        query_classes: Integers `[Q]`; a sample of the same class is relevant.
        gallery_classes: Integers `[G]`.
        k: Places to keep, at least 1.
        distance: `cos`, or `l2` for Euclidean distance.
        query_sources: Integers `[Q]`: a sample of the gallery that has the query's source is
            taken out of its list; None takes out none.
        gallery_sources: Integers `[G]`, where the queries have sources.

    Raises:
        ValueError: If shapes do not agree, a number is not finite or `k` or `distance` is unknown.
    """
    asked, held = np.asarray(queries, np.float64), np.asarray(gallery, np.float64)
    if asked.ndim != 2 or held.ndim != 2 or asked.shape[1] != held.shape[1]:
        raise ValueError(
            f"queries {asked.shape} and gallery {held.shape} must be [Q, E] and [G, E]"
        )
    if k < 1 or distance not in DISTANCES:
        raise ValueError(f"need k >= 1 and distance cos or l2, got {k} and {distance!r}")
    if not (np.isfinite(asked).all() and np.isfinite(held).all()):
        raise ValueError("embeddings must be finite: the model's outputs are NaN or infinite")
    classes, others = np.asarray(query_classes), np.asarray(gallery_classes)
    if distance == "cos":
        asked, held = _unit(asked), _unit(held)
    relevant = np.zeros((len(asked), k), dtype=bool)
    top = np.full((len(asked), k), -1, dtype=np.int64)
    total = np.zeros(len(asked), dtype=np.int64)
    rows = max(1, _CHUNK_CELLS // max(1, len(held)))
    for start in range(0, len(asked), rows):
        part = slice(start, start + rows)
        same = classes[part, None] == others[None, :]
        scores = asked[part] @ held.T
        if distance == "l2":
            scores = 2 * scores - (held**2).sum(axis=1)  # of equal order, falling
        if query_sources is not None:
            own = np.asarray(query_sources)[part, None] == np.asarray(gallery_sources)[None, :]
            same &= ~own
            scores = np.where(own, -np.inf, scores)
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        kept = np.take_along_axis(scores, order, axis=1) > -np.inf
        found = order.shape[1]
        relevant[part, :found] = np.take_along_axis(same, order, axis=1) & kept
        top[part, :found] = np.where(kept, order, -1)
        total[part] = same.sum(axis=1)
    return Ranking(relevant, total, top)


def average_precision_at(ranking: Ranking, k: int, *, norm: str = "hits") -> Floats:
    """Return AP@K of each query `[Q]`.

    Args:
        ranking: By `rank_exactly`, of at least k places.
        k: Places that count.
        norm: `hits`, `min_rk` or `r`.

    Raises:
        ValueError: If the norm is unknown or the ranking shorter than k.
    """
    if norm not in AP_NORMS or k > ranking.relevant.shape[1]:
        raise ValueError(f"need a norm of {AP_NORMS} and a ranking of {k} places, got {norm!r}")
    relevant = ranking.relevant[:, :k]
    hits = np.cumsum(relevant, axis=1)
    gained = (relevant * hits / np.arange(1, k + 1)).sum(axis=1)
    by = {
        "hits": hits[:, -1],
        "min_rk": np.minimum(ranking.total, k),
        "r": ranking.total,
    }[norm]
    found: Floats = np.divide(gained, by, out=np.zeros(len(gained)), where=by > 0)
    return found


def query_figures(
    ranking: Ranking, *, norm: str, map_at: Sequence[int], recall_at: Sequence[int]
) -> dict[str, Floats]:
    """Return each figure of each query `[Q]`, whose means are the metrics.

    `map@K` has the chosen normaliser; all three follow as `map_hits@K`, `map_min_rk@K`, `map_r@K`.
    `r@K` is 1 where one of the first K is relevant.
    """
    figures: dict[str, Floats] = {}
    for k in map_at:
        figures[f"map@{k}"] = average_precision_at(ranking, k, norm=norm)
    for k in recall_at:
        figures[f"r@{k}"] = np.asarray(ranking.relevant[:, :k].any(axis=1), dtype=np.float64)
    for one in AP_NORMS:
        for k in map_at:
            figures[f"map_{one}@{k}"] = average_precision_at(ranking, k, norm=one)
    return figures


def retrieval_metrics(
    ranking: Ranking,
    *,
    norm: str = "hits",
    map_at: Sequence[int] = (10, 20, 50, 100),
    recall_at: Sequence[int] = (1, 5, 10),
) -> Metrics:
    """Return the means over queries of `query_figures`; None for all where there is no query."""
    figures = query_figures(ranking, norm=norm, map_at=map_at, recall_at=recall_at)
    if not len(ranking.total):
        return dict.fromkeys(figures)
    return {name: float(values.mean()) for name, values in figures.items()}


def _unit(rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: npt.NDArray[Any] = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return unit
