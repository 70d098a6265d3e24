"""Import of features made elsewhere: every published layout behind one protocol, nothing trusted.

`import_features` reads a source twice: once for ids, shapes and digests, so that what cannot be
taken is refused before the store is touched; then shard by shard, so that memory holds one shard.
"""

from .run import ImportReport, Nonfinite, import_features
from .source import Rows, Source, open_source

__all__ = ["ImportReport", "Nonfinite", "Rows", "Source", "import_features", "open_source"]
