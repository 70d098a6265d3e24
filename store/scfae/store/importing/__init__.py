"""Import of features made elsewhere: every published layout behind one protocol, nothing trusted.

`import_features` reads a source twice: once for ids, shapes and digests, so that what cannot be
taken is refused before the store is touched; then shard by shard, so that memory holds one shard.

Names are imported when first used, so that the child of `trial` starts quickly.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .report import ImportReport
    from .run import Nonfinite, import_features, import_source
    from .source import Rows, Source, open_source

_MODULES = {
    "ImportReport": "report",
    "Nonfinite": "run",
    "Rows": "source",
    "Source": "source",
    "import_features": "run",
    "import_source": "run",
    "open_source": "source",
}

__all__ = [
    "ImportReport",
    "Nonfinite",
    "Rows",
    "Source",
    "import_features",
    "import_source",
    "open_source",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULES[name]}", __name__), name)
