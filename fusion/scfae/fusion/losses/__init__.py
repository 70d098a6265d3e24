"""Auxiliary losses as parts, for any method.

Two kinds. Losses that look at one sample return one value a sample, `[B]`; `mean_over_present`
makes the scalar of them. Losses that compare samples of a batch return a scalar; they take a mask
of the rows that count, and are exactly 0, with a graph, where there is nothing to compare. Nothing
is weighted here.
"""

from .averaging import mean_over_present
from .club import CLUB
from .cmd import central_moment_discrepancy
from .contrastive import (
    batch_triplet,
    check_temperature,
    info_nce,
    learned_temperature,
    margin_contrastive,
    sup_con,
    triplet,
)
from .divergence import jensen_shannon
from .gathering import gather_rows
from .orthogonality import cosine_overlap, orthogonality

__all__ = [
    "CLUB",
    "batch_triplet",
    "central_moment_discrepancy",
    "check_temperature",
    "cosine_overlap",
    "gather_rows",
    "info_nce",
    "jensen_shannon",
    "learned_temperature",
    "margin_contrastive",
    "mean_over_present",
    "orthogonality",
    "sup_con",
    "triplet",
]
