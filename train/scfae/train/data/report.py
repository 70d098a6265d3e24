"""What was found in a data set's layout: samples, splits, what was left and why, what to beware of.

The counts add up: samples and skipped things are all that was listed or lay there. Beside the
manifest or the store the same is kept as `NAME.data.json`.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scfae.store import SampleRow

from ..runs import write_json

SPLITS = ("train", "val", "test")
_MOST_CLASSES = 300
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Skipped:
    """One thing that did not become a sample.

    Attributes:
        what: Its path or id, as the layout names it.
        why: The reason; a few words that many may share.
    """

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class DataReport:
    """What became of a data set's layout.

    Attributes:
        layout: Which layout, e.g. `fakeavceleb`.
        source: The folder or file that was read.
        out: The manifest or store that was written.
        rows: The samples.
        skipped: What was listed or lay there, and did not become a sample.
        split: How the splits came about, as plain JSON values.
        columns: Columns of the store, with what became of them; empty for a manifest.
        targets: Labels that tasks ask for.
        warnings: What anyone who trains on it should know.
    """

    layout: str
    source: str
    out: str
    rows: tuple[SampleRow, ...]
    skipped: tuple[Skipped, ...] = ()
    split: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)
    targets: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def found(self) -> int:
        """Everything that was listed or lay there: samples and skipped things."""
        return len(self.rows) + len(self.skipped)

    def splits(self) -> dict[str, dict[str, int]]:
        """Return samples and groups of each split, `none` for samples without one."""
        samples: Counter[str] = Counter()
        groups: dict[str, set[str]] = defaultdict(set)
        for row in self.rows:
            name = row.split or "none"
            samples[name] += 1
            groups[name].add(row.group or row.id)
        order = [*SPLITS, *sorted(set(samples) - set(SPLITS))]
        return {
            name: {"samples": samples[name], "groups": len(groups[name])}
            for name in order
            if samples[name]
        }

    def reasons(self) -> dict[str, list[str]]:
        """Return what was skipped, by reason."""
        by_reason: dict[str, list[str]] = defaultdict(list)
        for one in self.skipped:
            by_reason[one.why].append(one.what)
        return dict(by_reason)

    def majorities(self) -> dict[str, dict[str, Any]]:
        """Return for each target what an answer that looks at nothing scores on the test split.

        For classes: always the training split's most frequent one, and its accuracy on test. For
        numbers: always positive, and its accuracy on test labels that are not 0.
        """
        train = [row for row in self.rows if row.split == "train"] or list(self.rows)
        test = [row for row in self.rows if row.split == "test"] or list(self.rows)
        found: dict[str, dict[str, Any]] = {}
        for name in self.targets:
            seen = [row.labels[name] for row in train if row.labels.get(name) is not None]
            asked = [row.labels[name] for row in test if row.labels.get(name) is not None]
            if any(isinstance(value, float) for value in seen):
                numbers = [float(value) for value in asked if value]
                if numbers:
                    share = sum(value > 0 for value in numbers) / len(numbers)
                    found[name] = {"always": "positive", "accuracy": share, "n": len(numbers)}
            elif seen and asked and 1 < len(set(seen)) <= _MOST_CLASSES:
                counts = Counter(seen)
                best = min(counts, key=lambda value: (-counts[value], str(value)))
                share = sum(value == best for value in asked) / len(asked)
                found[name] = {"always": best, "accuracy": share, "n": len(asked)}
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return the report as plain JSON values; fractions, not percent."""
        return {
            "layout": self.layout,
            "source": self.source,
            "out": self.out,
            "found": self.found,
            "samples": len(self.rows),
            "splits": self.splits(),
            "split": self.split,
            "skipped": {"count": len(self.skipped), "by_reason": self.reasons()},
            "columns": self.columns,
            "majority": self.majorities(),
            "warnings": list(self.warnings),
        }

    def write(self) -> Path | None:
        """Keep the report beside the manifest or store; return its path, None beside a URL."""
        if "://" in self.out:
            return None
        path = record_path(self.out)
        write_json(path, self.as_dict())
        return path

    def text(self) -> str:
        """Return a few lines for a person."""
        lines = [
            f"{self.layout}: {len(self.rows)} samples of {self.found} found, {len(self.skipped)} "
            f"skipped -> {self.out}"
        ]
        parts = [
            f"{name} {count['samples']} of {count['groups']} groups"
            for name, count in self.splits().items()
        ]
        how = ", ".join(f"{key} {value}" for key, value in self.split.items())
        lines.append(f"  {'; '.join(parts)}  ({how})")
        for name, one in self.columns.items():
            facts = ", ".join(f"{key} {value}" for key, value in one.items() if value)
            lines.append(f"  column {name}: {facts}")
        for why, names in self.reasons().items():
            more = f" … and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            lines.append(f"  skipped {len(names)}, {why}: {', '.join(names[:_SHOWN])}{more}")
        lines += [
            f"  {name}: always {one['always']} scores accuracy {one['accuracy']:.4f} of {one['n']}"
            for name, one in self.majorities().items()
        ]
        return "\n".join([*lines, *(f"  warning: {one}" for one in self.warnings)])


def record_path(out: str | Path) -> Path:
    """Return where the report of a manifest or store is kept: `NAME.data.json` beside it."""
    path = Path(out)
    return path.with_name(f"{path.stem if path.suffix else path.name}.data.json")


def shared_groups(rows: Sequence[SampleRow]) -> list[str]:
    """Return the groups that are in more than one split."""
    splits: dict[str, set[str | None]] = defaultdict(set)
    for row in rows:
        if row.group is not None:
            splits[row.group].add(row.split)
    return sorted(name for name, found in splits.items() if len(found) > 1)
