"""Official data sets: their layouts on disk become a manifest to extract, or a store to train on.

One data set is one module with one function that returns a `DataReport`: what was found, how it is
split, what was left and why. Nothing is downloaded.

Names are imported when they are first used, so that help pages do not wait for them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .activitynet import prepare_activitynet
    from .fakeavceleb import prepare_fakeavceleb
    from .folder import prepare_folder
    from .mosei import prepare_mosei
    from .report import DataReport, Skipped
    from .splitting import Shares, split_by_group

_HOME = {
    "DataReport": "report",
    "Shares": "splitting",
    "Skipped": "report",
    "prepare_activitynet": "activitynet",
    "prepare_fakeavceleb": "fakeavceleb",
    "prepare_folder": "folder",
    "prepare_mosei": "mosei",
    "split_by_group": "splitting",
}

__all__ = [
    "DataReport",
    "Shares",
    "Skipped",
    "prepare_activitynet",
    "prepare_fakeavceleb",
    "prepare_folder",
    "prepare_mosei",
    "split_by_group",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
