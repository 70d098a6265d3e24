"""Calls about feature stores: what is in them, one sample, another backbone."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..store_search import SamplePage
from ..summary_views import StoreSummary
from ..swap import Swap
from .connection import Connection, part

if TYPE_CHECKING:
    from ..store_views import SampleDetail, StoreView

_SWAP_S = 600.0


class StoreCalls(Connection):
    """Of /stores and /encoders."""

    def stores(self) -> "list[StoreView]":
        """Return the stores under the service's folders; their ids are for the calls below."""
        from ..store_views import StoreView  # a decoder of media comes with it

        return self._read_all(StoreView, "/stores")

    def store(self, store: str) -> StoreSummary:
        """Return what is in a store, and what looks wrong.

        Args:
            store: Its id.

        Raises:
            StoreNotFound: There is none.
        """
        return self._read(StoreSummary, "GET", f"/stores/{part(store)}")

    def samples(
        self, store: str, *, q: str = "", cursor: str | None = None, limit: int = 50
    ) -> SamplePage:
        """Return a page of samples.

        Args:
            store: Its id.
            q: Words that must all be true, e.g. `digit=3 missing:COLUMN`.
            cursor: Where to begin, from the page before.
            limit: Samples a page.
        """
        params: dict[str, Any] = {"q": q, "limit": limit}
        params |= {} if cursor is None else {"cursor": cursor}
        return self._read(SamplePage, "GET", f"/stores/{part(store)}/samples", params=params)

    def sample(
        self, store: str, key: str, *, maps: Sequence[str] | None = None, media: bool = True
    ) -> "SampleDetail":
        """Return a sample with its rows as small maps.

        Args:
            store: Its id.
            key: Of the sample.
            maps: Columns whose rows are given; all if not given.
            media: Give pictures and sound too, as data URIs.
        """
        from ..store_views import SampleDetail

        params: dict[str, Any] = {"media": media}
        params |= {} if maps is None else {"maps": ",".join(maps)}
        path = f"/stores/{part(store)}/samples/{quote(key)}"
        return self._read(SampleDetail, "GET", path, params=params)

    def swap(
        self,
        store: str,
        column: str,
        encoder: str,
        *,
        media: str | None = None,
        device: str = "auto",
    ) -> Swap:
        """Return what another encoder would take beside a column; nothing is submitted.

        Args:
            store: Its id.
            column: Of the store.
            encoder: NAME[@WEIGHTS][:option=value,…].
            media: What the store was made of; looked for if not given.
            device: auto, cpu, cuda or cuda:N.

        Raises:
            ConfigError: The encoder cannot stand in, or its media are not found.
            ServiceBusy: Others have something estimated already.
        """
        params = {"column": column, "encoder": encoder, "device": device}
        params |= {} if media is None else {"media": media}
        path = f"/stores/{part(store)}/swap"
        return self._read(Swap, "GET", path, params=params, timeout=_SWAP_S)

    def encoders(self) -> list[dict[str, Any]]:
        """Return every encoder, its licence, and whether its weights are on that machine."""
        encoders: list[dict[str, Any]] = self._send("GET", "/encoders").json()
        return encoders
