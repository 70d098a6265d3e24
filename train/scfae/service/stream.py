"""Events as they come: the id of one is the offset in bytes where the next one begins."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import anyio
from fastapi.sse import ServerSentEvent

MOST_BYTES = 1 << 18
POLL_S = 0.5


def lines_from(path: Path, offset: int) -> Iterator[tuple[str, int]]:
    """Yield each whole line of a file from an offset on, with the offset after it.

    A last line that is still being written is left for later; one that a kill cut off is skipped.

    Args:
        path: events.jsonl; it need not be there yet.
        offset: 0, or one that was yielded before.
    """
    try:
        with open(path, "rb") as file:
            if offset > file.seek(0, 2):
                offset = 0  # of another file; from the beginning rather than nothing
            file.seek(offset)
            data = file.read(MOST_BYTES)
    except FileNotFoundError:
        return
    end = data.rfind(b"\n") + 1
    for line in data[:end].splitlines(keepends=True):
        offset += len(line)
        try:
            json.loads(line)
        except ValueError:
            continue
        yield line.decode().rstrip("\n"), offset


async def follow(
    path: Path,
    offset: int,
    *,
    has_ended: Callable[[], str | None],
    is_stopping: Callable[[], bool],
) -> AsyncIterator[ServerSentEvent]:
    """Yield the events of a run from an offset on, until the job has ended or the server does.

    Args:
        path: events.jsonl.
        offset: Where to begin.
        has_ended: Returns the state of a job that has ended, else None.
        is_stopping: Whether the server is about to end.
    """

    def look(offset: int) -> tuple[str | None, list[tuple[str, int]]]:
        ended = has_ended()  # before the last look at the file
        return ended, list(lines_from(path, offset))

    while not is_stopping():
        ended, lines = await anyio.to_thread.run_sync(look, offset)
        for line, after in lines:
            if is_stopping():
                return
            offset = after
            kind = json.loads(line).get("type", "event")
            yield ServerSentEvent(raw_data=line, event=str(kind), id=str(after))
        if lines:
            continue
        if ended is not None:
            yield ServerSentEvent(raw_data=json.dumps({"state": ended}), event="end")
            return
        await anyio.sleep(POLL_S)
