"""Events read on from where they were are those of the whole file, whatever was appended."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfae.service import Queue, Roots
from scfae.service.events import Events
from scfae.train.runs import read_events

from .services import make_service_store, training


def epoch(step: int) -> dict[str, Any]:
    return {"type": "epoch", "step": step, "epoch": step, "time": 1.0, "val": {"loss": step}}


EVENTS = st.lists(
    st.integers(0, 9).map(epoch)
    | st.integers(0, 9).map(lambda step: {"type": "resumed", "step": step, "time": 1.0})
)


@given(parts=st.lists(EVENTS, max_size=4), cut=st.integers(0, 30))
def test_reading_on_is_reading_anew(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[dict[str, Any]]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("run") / "events.jsonl"
    events = Events()
    assert events.of(path) == []
    for part in parts:
        with open(path, "a") as file:
            file.write("".join(json.dumps(event) + "\n" for event in part))
        assert events.of(path) == read_events(path)
        whole = path.read_bytes()
        half = json.dumps(epoch(5))[:cut]
        with open(path, "a") as file:
            file.write(half)  # as a writer, or a kill, leaves it
        assert events.of(path) == read_events(path)
        with open(path, "r+b") as back:
            back.truncate(len(whole))


def test_another_file_is_read_anew_and_few_are_kept(tmp_path: Path) -> None:
    events = Events(most=3)
    for number in range(4):
        path = tmp_path / f"{number}.jsonl"
        path.write_text(json.dumps(epoch(1)) + "\n" + json.dumps(epoch(2)) + "\n")
        assert len(events.of(path)) == 2
    assert len(events._files) == 1
    new = tmp_path / "new"
    new.write_text(json.dumps(epoch(7)) + "\n")
    new.replace(path)
    assert [event["step"] for event in events.of(path)] == [7]
    path.unlink()
    assert events.of(path) == []


def test_a_job_is_found_by_words_of_any_spelling(tmp_path: Path) -> None:
    roots = make_service_store(tmp_path)
    queue = Queue(tmp_path / "service")

    odd = 'a"b\\c 50% x_y Größe'
    job = queue.submit(training(name=odd, tags=["t1", "t2"]), actor="ann", roots=roots)
    queue.submit(training(name="other"), actor="bob", roots=Roots(stores=roots.stores))
    for word in (*odd.split(), "b\\c", "GRößE", "t2", "ann", job.id[:6], "50% t1"):
        assert [one.id for one in queue.page(q=word).jobs] == [job.id], word
    assert len(queue.page(q="train queued").jobs) == 2
    for word in ("5_%", "x%y", "seq", "max_attempts"):
        assert queue.page(q=word).jobs == [], word
