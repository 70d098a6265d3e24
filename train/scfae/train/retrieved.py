"""Examples of retrieval: some queries, from the best to the worst, and what each found.

Shapes: Q queries, K places.
"""

from typing import Any, Final

import numpy as np

from .figures import title
from .kept import KeptScores
from .metrics import Floats
from .tasks import Retrieval, Scored, Trial

PLACES: Final = 5
_SEED: Final = 0
_FEWEST: Final = 3
_MOST_CELLS: Final = 20_000_000
"""Queries times gallery of a direction: seconds; the exact search of all was the evaluation's."""


def retrieval_examples(task: Retrieval, kept: KeptScores, count: int) -> list[dict[str, Any]]:
    """Return queries of every direction with their first hits.

    Queries are sorted by the headline's figure, ties by chance with a fixed seed, and taken evenly
    from the best to the worst.

    Args:
        task: What was asked.
        kept: Embeddings of the test samples.
        count: Queries in all, shared by the directions, each of which has at least three.
    """
    trials = task.trials(list(task.modalities))
    each = max(_FEWEST, count // len(trials)) if count else 0
    found = []
    for trial in trials:
        if all(shown in kept.scored for shown in trial.shown):
            queries = _queries(task, trial, kept, each)
            if queries:
                found.append({"name": trial.name, "shown": trial.modalities, "queries": queries})
    return found


def rule(task: Retrieval) -> str:
    """Return in a sentence how the queries were chosen."""
    what = "the same sample" if task.options.relevance == "pair" else f"the same {task.label}"
    how = "cosine" if task.options.distance == "cos" else "distance"
    return (
        f"Queries sorted by their {title(task.headline)}, ties by chance (seed {_SEED}), taken "
        f"evenly from the best to the worst. Right: {what}. The number is the {how} of the "
        f"embeddings. Of many queries so many are drawn (seed {_SEED}) as make {_MOST_CELLS:,} "
        "comparisons."
    )


def _queries(task: Retrieval, trial: Trial, kept: KeptScores, count: int) -> list[dict[str, Any]]:
    asking, held = (kept.scored[shown] for shown in trial.shown)
    rows, gallery = np.flatnonzero(asking.seen), np.flatnonzero(held.seen)
    if not len(rows) or not len(gallery) or not count:
        return []
    random = np.random.default_rng(_SEED)
    most = max(count, _MOST_CELLS // len(gallery))
    if len(rows) > most:
        rows = np.sort(random.choice(rows, most, replace=False))
    seen = np.isin(np.arange(len(asking.seen)), rows)
    chosen = {**kept.scored, trial.shown[0]: Scored(asking.targets, asking.scores, seen)}
    quality = task.query_figures(trial, chosen)[task.headline]
    ranking = task.rank(trial, chosen)
    order = np.lexsort([random.random(len(rows)), -quality])
    places = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int))
    return [
        {
            "row": int(rows[query]),
            "id": str(kept.ids[rows[query]]),
            "label": label_of(kept, asking, int(rows[query])),
            "quality": f"{title(task.headline)} {quality[query]:.3f}",
            "hits": [
                {
                    "id": str(kept.ids[gallery[place]]),
                    "label": label_of(kept, held, int(gallery[place])),
                    "is_right": bool(is_right),
                    "score": _score(task, asking.scores[rows[query]], held.scores[gallery[place]]),
                }
                for place, is_right in zip(
                    ranking.top[query, :PLACES], ranking.relevant[query, :PLACES], strict=True
                )
                if place >= 0
            ],
        }
        for query in order[places]
    ]


def label_of(kept: KeptScores, scored: Scored, row: int) -> str:
    """Return a sample's label as the store spells it, or its number in older runs."""
    return f"class {int(scored.targets[row, 0])}" if kept.labels is None else str(kept.labels[row])


def _score(task: Retrieval, query: Floats, hit: Floats) -> str:
    if task.options.distance == "l2":
        return f"{np.linalg.norm(query - hit):.3f}"
    length = float(np.linalg.norm(query) * np.linalg.norm(hit))
    return f"{query @ hit / length if length else 0.0:.3f}"
