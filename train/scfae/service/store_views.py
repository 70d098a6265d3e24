"""What the routes of stores give back, beside what `store_summary` and its like do."""

from typing import Any

from pydantic import Field

from scfae.store.config import Frozen

from .store_media import Medium
from .store_sample import SampleFeatures


class StoreView(Frozen):
    """A feature store in a list.

    Attributes:
        id: A digest of its path.
        path: As a config names it.
        num_samples: In it.
        size_bytes: Of its sample table and all shards.
        labels: Its label columns.
        columns: Each column's modality, dim, rows per second and encoder.
        error: Why it cannot be read, or None.
    """

    id: str
    path: str
    num_samples: int = 0
    size_bytes: int = 0
    labels: tuple[str, ...] = ()
    columns: dict[str, dict[str, Any]] = Field(default_factory=dict)
    error: str | None = None


class SampleDetail(SampleFeatures):
    """A sample with its rows and what it looks and sounds like.

    Attributes:
        shown: Its media; empty where they were not asked for.
    """

    shown: tuple[Medium, ...] = ()
