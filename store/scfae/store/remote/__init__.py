"""Feature stores behind a URL: the same files as objects, read through a bounded local cache.

```
s3://bucket/features/
  store.json                               names samples.<sha256>.parquet by its digest
  samples.<sha256>.parquet                 or samples.parquet, as a copied local store has it
  columns.json, pins.json                  which columns and pins there are: nothing is listed
  columns/ge2e/column.json
  columns/ge2e/shard-00017.<unique>.zarr.zip   one PUT, under a name that was never there before
  columns/ge2e/shard-00017.json            the receipt: created last, and only if none is there
  pins/<digest>.json                       a run, and what it reads; renewed every hour
```

A receipt that exists names an object that is whole and will not change, so readers need no lock,
and of two writers of one shard the first to create the receipt wins; the other takes its rows over.
A local store that was copied to a bucket (`aws s3 sync`) opens too, and one that was copied back.
"""

from .cache import ShardCache
from .objects import Objects, is_url, open_objects
from .store import RemoteStore

__all__ = ["Objects", "RemoteStore", "ShardCache", "is_url", "open_objects"]
