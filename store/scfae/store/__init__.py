"""The feature store: columns of encoder features, sharded, verified, and streamed in exact order.

Names are imported when first used, so that the errors cost nothing and reading a store needs no
torch; only `FeatureStream` and `Batch` bring it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import errors

if TYPE_CHECKING:
    from .batch import Batch
    from .column import ColumnInfo, column_name
    from .comparison import compare_columns
    from .damage import DamagedShardWarning
    from .dataset import StreamDataset
    from .derivation import Chain, derive
    from .garbage import collect_garbage
    from .mask_table import exact_rate_masks, write_mask_table
    from .masking import masks_for
    from .memory import MemoryView
    from .pins import pin_run, pinned
    from .reader import Column
    from .receipt import Receipt, Status
    from .sample_row import SampleRow
    from .samples import SampleTable
    from .skew import SkewedWindowWarning
    from .store import FeatureStore
    from .stream import FeatureStream
    from .verification import Damage, verify
    from .view import LabelColumn, Sample, StoreView
    from .writer import ColumnWriter, ShardSample

_MODULES = {
    "Batch": "batch",
    "Chain": "derivation",
    "Column": "reader",
    "ColumnInfo": "column",
    "ColumnWriter": "writer",
    "Damage": "verification",
    "DamagedShardWarning": "damage",
    "FeatureStore": "store",
    "FeatureStream": "stream",
    "LabelColumn": "view",
    "MemoryView": "memory",
    "Receipt": "receipt",
    "Sample": "view",
    "SampleRow": "sample_row",
    "SampleTable": "samples",
    "ShardSample": "writer",
    "SkewedWindowWarning": "skew",
    "Status": "receipt",
    "StoreView": "view",
    "StreamDataset": "dataset",
    "collect_garbage": "garbage",
    "column_name": "column",
    "compare_columns": "comparison",
    "derive": "derivation",
    "exact_rate_masks": "mask_table",
    "masks_for": "masking",
    "pin_run": "pins",
    "pinned": "pins",
    "verify": "verification",
    "write_mask_table": "mask_table",
}

__all__ = [
    "Batch",
    "Chain",
    "Column",
    "ColumnInfo",
    "ColumnWriter",
    "Damage",
    "DamagedShardWarning",
    "FeatureStore",
    "FeatureStream",
    "LabelColumn",
    "MemoryView",
    "Receipt",
    "Sample",
    "SampleRow",
    "SampleTable",
    "ShardSample",
    "SkewedWindowWarning",
    "Status",
    "StoreView",
    "StreamDataset",
    "collect_garbage",
    "column_name",
    "compare_columns",
    "derive",
    "errors",
    "exact_rate_masks",
    "masks_for",
    "pin_run",
    "pinned",
    "verify",
    "write_mask_table",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
    globals()[name] = value
    return value
