"""What an extraction did and what became of every sample."""

from dataclasses import asdict, dataclass, field
from typing import Any

from .estimate import Estimate

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """One column after an extraction.

    Attributes:
        name: Of the column.
        is_random: It is noise.
        shards_done: Shards extracted now.
        shards_kept: Shards that were there already.
        counts: Samples by fate, over the whole column.
        rows: Rows of the whole column.
    """

    name: str
    is_random: bool
    shards_done: int
    shards_kept: int
    counts: dict[str, int]
    rows: int


@dataclass(frozen=True, slots=True)
class ExtractReport:
    """An extraction.

    Attributes:
        store: The store's folder.
        samples: Samples of the store.
        columns: Each column.
        failures: (sample, reason) of each quarantined sample, over the whole columns.
        max_failures: How many of them are allowed.
        seconds: Wall time.
        files: Media files decoded.
        clips: Windows encoded, over all columns.
        shares: Of the time, in waiting for the decoders, in forward passes, and in writing.
        notices: What a person should know.
        is_dry: Nothing was touched; `shards_done` is what would be extracted.
        estimate: What it would take, if it is dry and there is something to do.
    """

    store: str
    samples: int
    columns: list[ColumnReport]
    failures: list[tuple[str, str]]
    max_failures: int
    seconds: float
    files: int
    clips: int = 0
    shares: dict[str, float] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    is_dry: bool = False
    estimate: Estimate | None = None

    @property
    def exceeded(self) -> bool:
        """More samples were quarantined than allowed."""
        return len(self.failures) > self.max_failures

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values."""
        return {
            "store": self.store,
            "dry_run": self.is_dry,
            "samples": self.samples,
            "files_decoded": self.files,
            "clips_encoded": self.clips,
            "seconds": round(self.seconds, 3),
            "time_shares": {name: round(share, 4) for name, share in self.shares.items()},
            "columns": {
                column.name: {
                    "shards_extracted": column.shards_done,
                    "shards_kept": column.shards_kept,
                    "counts": column.counts,
                    "rows": column.rows,
                    "is_random": column.is_random,
                }
                for column in self.columns
            },
            "failures": [{"id": name, "reason": reason} for name, reason in self.failures],
            "max_failures": self.max_failures,
            "notices": self.notices,
            "estimate": None if self.estimate is None else asdict(self.estimate),
        }

    def text(self) -> str:
        """Return a few lines for a person."""
        lines = list(self.notices)
        if self.is_dry:
            lines.append(f"{self.store}: {self.samples} samples; nothing was touched")
            if self.estimate is not None:
                lines.append(f"  {self.estimate.text()}")
        else:
            rate = self.files / self.seconds if self.seconds > 0 else 0.0
            lines.append(
                f"{self.store}: {self.samples} samples; {self.files} files decoded in "
                f"{self.seconds:.1f} s ({rate:.1f} a second)"
            )
            if self.clips:
                shares = ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())
                lines.append(f"  {self.clips} clips encoded; time: {shares}")
        for column in self.columns:
            noise = "; random weights: noise" if column.is_random else ""
            if self.is_dry:
                lines.append(
                    f"  {column.name}: {column.shards_done} shards to extract, "
                    f"{column.shards_kept} there{noise}"
                )
                continue
            fates = ", ".join(f"{count} {fate}" for fate, count in column.counts.items() if count)
            lines.append(
                f"  {column.name}: {column.rows} rows; {fates}; {column.shards_done} shards "
                f"extracted, {column.shards_kept} kept{noise}"
            )
        if self.failures:
            allowed = f"{self.max_failures} allowed by --max-failures"
            lines.append(f"{len(self.failures)} samples could not be read ({allowed}):")
            lines += [f"  {name}: {reason}" for name, reason in self.failures[:_SHOWN]]
            if len(self.failures) > _SHOWN:
                more = len(self.failures) - _SHOWN
                lines.append(f"  … and {more} more; see: scfae store status {self.store}")
        return "\n".join(lines)
