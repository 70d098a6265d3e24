"""A stream says which shards it will read, so a cache smaller than the store is enough."""

from pathlib import Path

import numpy as np
import pytest

from scfae.store import FeatureStore, FeatureStream
from scfae.store.errors import ConfigError
from scfae.store.testing import make_store


@pytest.mark.parametrize("options", [{}, {"bucketing": "length"}, {"balance": "digit"}])
def test_every_shard_is_fetched_once_an_epoch_through_a_small_cache(
    url: str, options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = make_store(url, num_samples=120, shard_size=6)
    receipts = [written.column("video").receipt(shard) for shard in range(20)]
    size = max(one.bytes for one in receipts if one is not None)
    store = FeatureStore.open(url, cache=tmp_path, cache_bytes=8 * size)
    fetched: list[str] = []
    download = type(store.objects).download  # type: ignore[attr-defined]

    def noting(self: object, key: str, path: Path) -> str:
        fetched.append(key)
        return str(download(self, key, path))

    monkeypatch.setattr(type(store.objects), "download", noting)  # type: ignore[attr-defined]
    view = store.view(video="video", labels=["digit"])
    stream = FeatureStream(view, 4, seed=1, window_shards=3, **options)  # type: ignore[arg-type]
    seen = {name for batch in stream for name in batch.ids}
    assert len(seen) == 120 or "balance" in options
    assert len(fetched) <= 20 + (4 if "balance" in options else 0)
    assert sum(p.stat().st_size for p in (tmp_path / "0" / "shards").iterdir()) <= 8 * size
    rows = {
        name: row
        for batch in stream
        for name, row in zip(batch.ids, batch.features["video"], strict=True)
    }
    for i in range(0, 120, 17):
        name = str(written.samples.ids[i])
        if name in rows:
            wanted = written.column("video").rows(i)
            np.testing.assert_array_equal(rows[name][: len(wanted)].numpy(), wanted)
    with pytest.raises(ConfigError, match="cache_bytes: the stream mixes shards"):
        iter(FeatureStream(view, 4, window_shards=5))
