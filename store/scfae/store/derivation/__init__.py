"""Columns computed from columns: pooled, projected, resampled, or with one layer picked.

A derived column is a column like any other; its recipe names its parents by name, fingerprint and
digest of their rows, so it is known to be stale when one of them changes.
"""

from .chain import Chain
from .derived import DeriveReport, derive, projection_of
from .lineage import dependents, is_derived, parents_now, why_stale
from .projection import Projection
from .rows import Rows, prepare

__all__ = [
    "Chain",
    "DeriveReport",
    "Projection",
    "Rows",
    "dependents",
    "derive",
    "is_derived",
    "parents_now",
    "prepare",
    "projection_of",
    "why_stale",
]
