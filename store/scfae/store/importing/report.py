"""What an import did and what became of every sample."""

from dataclasses import dataclass, field
from typing import Any

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did, and what became of every sample of the column.

    Attributes:
        store: The store's folder.
        column: Name of the column.
        kind: What the source was.
        sha256: Its digest.
        samples: Samples of the store.
        samples_added: Those that this import added.
        shards_done: Shards imported now.
        shards_kept: Shards that were there already.
        counts: Samples by fate, over the whole column.
        rows: Rows of the whole column.
        reasons: (sample, fate, reason) of each that is not ok, over the whole column.
        notices: What a person should know.
    """

    store: str
    column: str
    kind: str
    sha256: str
    samples: int
    samples_added: int
    shards_done: int
    shards_kept: int
    counts: dict[str, int]
    rows: int
    reasons: list[tuple[str, str, str]]
    notices: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "store": self.store,
            "column": self.column,
            "source": {"kind": self.kind, "sha256": self.sha256},
            "samples": self.samples,
            "samples_added": self.samples_added,
            "shards_imported": self.shards_done,
            "shards_kept": self.shards_kept,
            "counts": self.counts,
            "rows": self.rows,
            "reasons": [
                {"id": name, "status": fate, "reason": why} for name, fate, why in self.reasons
            ],
            "notices": self.notices,
        }

    def text(self) -> str:
        """Return a few lines for a person."""
        fates = ", ".join(f"{count} {fate}" for fate, count in self.counts.items() if count)
        lines = [
            *self.notices,
            f"{self.store}: {self.samples} samples, {self.samples_added} of them new",
            f"  {self.column}: {self.rows} rows; {fates}; {self.shards_done} shards imported, "
            f"{self.shards_kept} kept",
            *(f"  {name}: {fate}: {why}" for name, fate, why in self.reasons[:_SHOWN]),
        ]
        if len(self.reasons) > _SHOWN:
            more = len(self.reasons) - _SHOWN
            lines.append(f"  … and {more} more; see: scfae store status {self.store}")
        return "\n".join(lines)
