"""What one process, or all of them together, have done in an extraction."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from .meter import Meter
from .shard_work import ShardTask


@dataclass(slots=True)
class Done:
    """Work that is committed.

    Attributes:
        tasks: The shards, each with the columns it was missing.
        files: Media files decoded.
        clips: Windows encoded, over all columns.
        seconds: Time spent waiting for the decoders, in forward passes, and writing.
        notices: What a person should know, one sentence each.
    """

    tasks: list[ShardTask] = field(default_factory=list)
    files: int = 0
    clips: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def count(self, meter: Meter) -> None:
        """Take over what a meter has counted."""
        self.files += meter.num_files
        self.clips += meter.num_windows
        for name, spent_s in meter.seconds().items():
            self.seconds[name] = self.seconds.get(name, 0.0) + spent_s

    def add(self, other: "Done") -> None:
        """Add what another process has done."""
        self.tasks += other.tasks
        self.files += other.files
        self.clips += other.clips
        for name, spent_s in other.seconds.items():
            self.seconds[name] = self.seconds.get(name, 0.0) + spent_s
        self.notices += [one for one in other.notices if one not in self.notices]

    def shares(self) -> dict[str, float]:
        """Return the share of each kind of work in the time of all."""
        total = sum(self.seconds.values())
        return {name: spent_s / total for name, spent_s in self.seconds.items()} if total else {}

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Return what `to_json` gave."""
        tasks = [ShardTask(task["shard"], tuple(task["missing"])) for task in body["tasks"]]
        return cls(**(dict(body) | {"tasks": tasks}))
