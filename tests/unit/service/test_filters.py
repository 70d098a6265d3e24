"""Filters of the list of jobs: the grammar, what names mean, and where a wrong one is wrong."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from scfae.service import JobRecord, Queue, Roots
from scfae.service.app import make_app
from scfae.service.context import Service
from scfae.service.facts import facts_of
from scfae.service.filters import Term, read_filter, split_filter
from scfae.service.jobs import read_request
from scfae.store.errors import ConfigError, FilterError

from .services import SETTINGS, training


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr<1e-3", [("lr", "<", "1e-3", 1e-3, 1, 4)]),
        (
            "  lr >= 2 loop.seed=3",
            [("lr", ">=", "2", 2.0, 3, 9), ("loop.seed", "=", "3", 3.0, 11, 21)],
        ),
        ('name="a \\"b\\" 3"', [("name", "=", 'a "b" 3', None, 1, 6)]),
        ('tag!="3"', [("tag", "!=", "3", None, 1, 6)]),
        ("mAP@10>0", [("mAP@10", ">", "0", 0.0, 1, 8)]),
        ("actor=nan", [("actor", "=", "nan", None, 1, 7)]),
        ("", []),
    ],
)
def test_a_filter_is_read(text: str, said: list[tuple[Any, ...]]) -> None:
    assert list(read_filter(text)) == [Term(*one) for one in said]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lr<", "character 4: a value is due after lr<"),
        ("seed=1 lr<low", "character 11: a number is due after lr<"),
        ("seed=1 mosei", "character 8: NAME<VALUE is due"),
        ("<3", "character 1: NAME<VALUE is due"),
        ('name="a b', 'character 6: a " that ends'),
        ("a=1 " * 21, "character 81: 20 terms are the most"),
    ],
)
def test_a_wrong_filter_says_where(text: str, said: str) -> None:
    with pytest.raises(FilterError, match=said.replace("(", "\\(")):
        read_filter(text)


@given(st.text(alphabet='ab=<>!" \\1.\n', max_size=30))
def test_whatever_was_typed_is_words_and_a_filter_in_their_places(text: str) -> None:
    words, rest = split_filter(text)
    assert len(rest) == len(text)
    assert all(kept in (was, " ") for kept, was in zip(rest, text, strict=True))
    assert not any(character.isspace() for word in words for character in word)
    try:
        terms = read_filter(rest)
    except FilterError:
        return
    assert all(text[term.at - 1 :].startswith(term.name) for term in terms)


def test_a_sweep_has_every_value_that_it_varies() -> None:
    job = {"kind": "sweep", "config": {"optim": {"lr": 0.5, "epochs": 3}}, "seeds": [4, 5]}
    request = read_request({"job": job | {"grid": {"optim.lr": [0.1, 0.2], "options.hidden": [8]}}})
    found = {(one.name, one.number) for one in facts_of(request) if one.number is not None}
    assert found == {
        *{("lr", 0.1), ("lr", 0.2), ("epochs", 3.0), ("options.hidden", 8.0), ("jobs", 1.0)},
        *{("seed", 4.0), ("seed", 5.0)},
    }


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory, roots: Roots) -> Queue:
    """Five trainings with seeds 1 to 5; the first two ended, the third goes on."""
    queue = Queue(tmp_path_factory.mktemp("service"))
    for seed in range(1, 6):
        more = {"tags": ["odd"] if seed % 2 else [], "priority": -seed, "name": f"run {seed}"}
        queue.submit(
            training(seed=seed, lr=10.0**-seed, options={"expansion": seed}, **more),
            actor="Ann" if seed < 3 else "bob",
            roots=roots,
        )
    process = {"pid": 1, "start": 1, "machine": "elsewhere"}
    for seed in (1, 2, 3):
        job = claim(queue)
        queue.move(job.id, "running", actor="w", details={"process": process})
        best = {"metric": "accuracy", "value": seed / 10}
        progress = {"step": 10 * seed, "epoch": seed, "best": best}
        if seed == 3:
            folder = queue.job(job.id).run_path
            folder.mkdir()
            (folder / "state.json").write_text(json.dumps(progress))
        else:
            queue.move(job.id, "finished", actor="w", details={"summary": progress})
    return queue


def claim(queue: Queue) -> JobRecord:
    record = queue.claim("w", 0)
    assert record is not None
    return record


def seeds(queue: Queue, text: str) -> list[int]:
    jobs = queue.page(terms=read_filter(text)).jobs
    return sorted(int(job.name.removeprefix("run ")) for job in jobs)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("lr<1e-3", [4, 5]),
        ("optim.lr <= 1e-3", [3, 4, 5]),
        ("loop.seed=3", [3]),
        ("seed!=3", [1, 2, 4, 5]),
        ("seed>=2 seed<4", [2, 3]),
        ("options.expansion>4", [5]),
        ("fusion=SCFAE", [1, 2, 3, 4, 5]),
        ("fusion!=scfae", []),
        ("store=store columns.video=video", [1, 2, 3, 4, 5]),
        ("store!=store", []),
        ("label=fake", []),
        ("clip_norm=none", [1, 2, 3, 4, 5]),
        ("standardise=true", [1, 2, 3, 4, 5]),
        ("actor=ann", [1, 2]),
        ("actor!=ann", [3, 4, 5]),
        ("tag=odd", [1, 3, 5]),
        ("tag!=odd", [2, 4]),
        ("parent=x", []),
        ("parent!=x", [1, 2, 3, 4, 5]),
        ('name="run 4"', [4]),
        ("priority>-3", [1, 2]),
        ("attempt=1", [1, 2, 3]),
        ("metric>0.15", [2, 3]),
        ("accuracy<=0.2", [1, 2]),
        ("accuracy!=0.3", [1, 2]),
        ("step>=20 epoch<3", [2]),
        ("state=running", [3]),
        ("kind=train seed=5", [5]),
    ],
)
def test_jobs_are_found_by_what_is_true_of_them(queue: Queue, text: str, found: list[int]) -> None:
    assert seeds(queue, text) == found
    queue.reindex()
    assert seeds(queue, text) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed=1 lrr<3", "character 8: lrr is no setting.*Did you mean lr"),
        ("name<3", "character 1: name is a word"),
        ("metric=good", "metric is a number"),
        ("f1>0.3", "f1 is no setting"),
    ],
)
def test_what_no_job_can_have_is_refused(queue: Queue, text: str, said: str) -> None:
    with pytest.raises(FilterError, match=said):
        seeds(queue, text)


def test_a_filter_over_http_and_on_the_page(queue: Queue, roots: Roots) -> None:
    with TestClient(make_app(Service(queue, roots)), "http://127.0.0.1") as client:
        answer = client.get("/api/v1/runs", params={"filter": "seed>3", "limit": 1}).json()
        assert [job["name"] for job in answer["jobs"]] == ["run 5"]
        more = {"filter": "seed>3", "cursor": answer["cursor"]}
        assert [job["name"] for job in client.get("/api/v1/runs", params=more).json()["jobs"]] == [
            "run 4"
        ]
        wrong = client.get("/api/v1/runs", params={"filter": "seed>3 lr<"})
        assert wrong.status_code == 422
        assert wrong.json()["type"] == "urn:scfae:FilterError"
        assert "character 11" in wrong.json()["detail"]
        page = client.get("/", params={"q": "lr<1e-3 run state:queued seed=5"}).text
        assert (page.count("<tr id="), "run 5" in page) == (1, True)
        page = client.get("/", params={"q": "state:queued lr<"}).text
        assert (page.count("<tr id="), "character 17: a value is due" in page) == (2, True)
        page = client.get("/", params={"q": "run lrr=3"}).text
        assert (page.count("<tr id="), "Did you mean lr" in page) == (5, True)


def test_settings_are_looked_up_by_an_index(queue: Queue) -> None:
    with queue.database.reading() as connection:
        plans = [
            " ".join(str(row["detail"]) for row in connection.execute(f"EXPLAIN QUERY PLAN {text}"))
            for text in (
                "SELECT job FROM facts WHERE name = 'lr' AND number < 1",
                "SELECT job FROM facts WHERE name = 'label' AND text = 'x' COLLATE NOCASE",
            )
        ]
    assert "COVERING INDEX facts_number" in plans[0]
    assert "COVERING INDEX facts_text" in plans[1]


def test_a_deleted_job_leaves_nothing_in_the_index_and_a_restored_one_is_found(
    tmp_path: Path, roots: Roots
) -> None:
    queue = Queue(tmp_path)
    job = queue.submit(training(name="run 1"), actor="ann", roots=roots)
    queue.wish(job.id, "cancel", actor="ann")
    queue.discard(job.id)
    assert count(queue) == 0
    queue.restore(next((tmp_path / "trash").iterdir()))
    assert seeds(queue, "seed=1") == [1]
    before = count(queue)
    queue.edit(job.id, {"notes": "x"}, actor="ann")
    queue.reindex()
    assert count(queue) == before


def count(queue: Queue) -> int:
    with queue.database.reading() as connection:
        row: sqlite3.Row = connection.execute("SELECT COUNT(*) FROM facts").fetchone()
    return int(row[0])


def test_numbers_too_large_for_a_column_are_words(tmp_path: Path, roots: Roots) -> None:
    queue = Queue(tmp_path)
    with pytest.raises(ConfigError):
        queue.submit(training(seed=10**400), actor="ann", roots=roots)
    config = SETTINGS | {"options": {"hidden": 10**400}}
    facts = facts_of(read_request({"job": {"kind": "train", "config": config}}))
    assert [one.number for one in facts if one.name == "options.hidden"] == [None]
