"""What an extraction tells: the same figures to a person and to a program."""

import json
from dataclasses import replace

import pytest

from scfae.extract import ExtractReport
from scfae.extract.report import ColumnReport

COLUMN = ColumnReport(
    name="ge2e",
    is_random=False,
    shards_done=2,
    shards_kept=1,
    counts={"ok": 5, "partial": 0, "missing": 1, "failed": 2},
    rows=500,
)
REPORT = ExtractReport(
    store="features",
    samples=8,
    columns=[COLUMN],
    failures=[("a", "the file is empty: a.wav"), ("b", "file not found: b.wav")],
    max_failures=1,
    seconds=4.0,
    files=8,
    notices=["ge2e: a notice"],
)


@pytest.mark.parametrize(("allowed", "exceeded"), [(0, True), (1, True), (2, False), (9, False)])
def test_too_many_failures_are_more_than_allowed(allowed: int, exceeded: bool) -> None:
    assert replace(REPORT, max_failures=allowed).exceeded is exceeded


def test_text_has_notices_figures_and_reasons() -> None:
    assert REPORT.text().splitlines() == [
        "ge2e: a notice",
        "features: 8 samples; 8 files decoded in 4.0 s (2.0 a second)",
        "  ge2e: 500 rows; 5 ok, 1 missing, 2 failed; 2 shards extracted, 1 kept",
        "2 samples could not be read (1 allowed by --max-failures):",
        "  a: the file is empty: a.wav",
        "  b: file not found: b.wav",
    ]


def test_noise_is_said_to_be_noise() -> None:
    noise = replace(COLUMN, is_random=True)
    assert "random weights: noise" in replace(REPORT, columns=[noise]).text()
    assert "random weights: noise" in replace(REPORT, columns=[noise], is_dry=True).text()
    assert replace(REPORT, columns=[noise]).as_dict()["columns"]["ge2e"]["is_random"] is True


def test_a_dry_run_says_what_would_be_done() -> None:
    dry = replace(REPORT, is_dry=True, failures=[], notices=[])
    assert dry.text().splitlines() == [
        "features: 8 samples; nothing was touched",
        "  ge2e: 2 shards to extract, 1 there",
    ]
    assert dry.as_dict()["dry_run"] is True


def test_many_failures_are_counted_and_some_are_shown() -> None:
    many = replace(REPORT, failures=[(f"s{i}", "so") for i in range(40)])
    lines = many.text().splitlines()
    assert lines[3].startswith("40 samples could not be read")
    assert sum(line.endswith(": so") for line in lines) == 5
    assert "35 more; see: scfae store status features" in lines[-1]
    assert len(many.as_dict()["failures"]) == 40


def test_a_program_gets_plain_json() -> None:
    body = json.loads(json.dumps(REPORT.as_dict()))
    assert body["columns"]["ge2e"] == {
        "shards_extracted": 2,
        "shards_kept": 1,
        "counts": {"ok": 5, "partial": 0, "missing": 1, "failed": 2},
        "rows": 500,
        "is_random": False,
    }
    assert body["failures"][0] == {"id": "a", "reason": "the file is empty: a.wav"}
    assert (body["samples"], body["files_decoded"], body["max_failures"]) == (8, 8, 1)
