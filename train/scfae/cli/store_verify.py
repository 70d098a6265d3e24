"""`scfae store verify`: whether every byte is as written, and what to do where it is not."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

import tyro

from .arguments import parse, print_json, say

EXAMPLE = """\
  scfae store verify features/
  scfae store verify features/ --repair && scfae extract clips/ features/ -e ge2e

--repair names what it withdraws; extract, derive or import, run again, makes exactly these shards.
"""


@dataclass(frozen=True)
class VerifyArguments:
    """Read everything again and compare with the checksums; status 1 when something is damaged."""

    store: Annotated[str, tyro.conf.Positional]
    """The feature store: a folder or a URL."""
    repair: bool = False
    """Withdraw the receipts of damaged shards, so that they are made again; 0 if that is all."""
    json: bool = False
    """As one JSON document."""


def run(argv: Sequence[str]) -> int:
    """Run the command; return its exit status."""
    flags = parse(VerifyArguments, "scfae store verify", argv, EXAMPLE)
    from scfae.store import verify
    from scfae.store.verification import advice, is_cache, requeue

    damage = verify(flags.store)
    requeued, mended = requeue(flags.store, damage) if flags.repair else ([], [])
    done = {*requeued, *mended}
    left = [one for one in damage if (one.column, one.shard) not in done and not is_cache(one)]
    if flags.json:
        report = {"ok": not damage, "damage": [asdict(one) for one in damage]}
        if flags.repair:
            report["requeued"] = [{"column": name, "shard": shard} for name, shard in requeued]
        print_json(report)
    else:
        for one in damage:
            print(f"column {one.column}, shard {one.shard}, {one.file}: {one.what}")
        for name, shard in requeued:
            print(f"requeued: column {name}, shard {shard}")
        if not damage:
            print(f"{flags.store}: every file agrees with its checksum")
    if not flags.repair:
        return 1 if damage else 0
    for one in left:
        say(advice(flags.store, one))
    if requeued:
        say("run the same `scfae extract`, `store derive` or `store import` again")
    return 1 if left else 0
