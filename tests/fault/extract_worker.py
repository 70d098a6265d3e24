"""A real extraction that writes down which shards it begins and commits: `python FILE LOG ARGS…`.

One line an event, `begin SHARD` or `commit SHARD`, each written at once, so that a kill loses none.
"""

import os
import sys
from collections.abc import Iterator
from typing import Any

from scfae.cli import main
from scfae.extract.shard_work import ShardExtractor


def record(log: str) -> None:
    """Have `ShardExtractor` append to a file."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    extract, run = ShardExtractor._extract, ShardExtractor.run

    def note(what: str, shard: int) -> None:
        os.write(descriptor, f"{what} {shard} {os.getpid()}\n".encode())

    def recorded(self: ShardExtractor, task: Any, *others: Any) -> None:
        note("begin", task.shard)
        extract(self, task, *others)

    def run_recorded(self: ShardExtractor, *args: Any) -> Iterator[Any]:
        for task in run(self, *args):
            note("commit", task.shard)
            yield task

    for name, function in {"_extract": recorded, "run": run_recorded}.items():
        setattr(ShardExtractor, name, function)


if __name__ == "__main__":
    record(sys.argv[1])
    sys.exit(main(sys.argv[2:]))
