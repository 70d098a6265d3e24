"""`scfae bench loader` measures what it says, on rows that it checked."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfae.bench import loader, peers
from scfae.bench.data import SHAPES, Data, Loaded, check, make_data
from scfae.bench.loader import measure
from scfae.bench.ours import (
    memmap,
    memmap_reused,
    packed_reader,
    reader,
    reader_in_the_streams_order,
    stream,
)
from scfae.bench.tables import Target
from scfae.cli import main

SAMPLES = 130


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return make_data(tmp_path_factory.mktemp("bench"), SAMPLES)


def test_every_way_of_ours_gives_the_rows_that_were_written(data: Data) -> None:
    for epoch in (memmap(data), memmap_reused(data), reader(data), packed_reader(data)):
        assert check(data, epoch()) is None
        assert check(data, epoch()) is None
    assert check(data, reader(data, ["audio"])()) is None
    assert check(data, stream(data)(), may_mask=True) is None


def test_the_reader_in_the_streams_order_gives_the_very_batches_of_the_stream(data: Data) -> None:
    for found, expected in zip(reader_in_the_streams_order(data)(), stream(data)(), strict=True):
        assert data.numbers(found).tolist() == data.numbers(expected).tolist()
        for modality, rows in expected.features.items():
            assert np.array_equal(found.lengths[modality], expected.lengths[modality])
            assert np.array_equal(found.features[modality], rows)


def _changed(data: Data, change: str) -> Iterator[Loaded]:
    for number, batch in enumerate(memmap(data)()):
        numbers, features, lengths = batch
        if number == 1:
            video = features["video"]
            short = int(np.argmin(lengths["video"]))
            if change == "value":
                video[0, 0, 5] += 1
            elif change == "padding":
                video[short, -1, 0] = 1
            elif change == "length":
                lengths = {**lengths, "video": lengths["video"] - 1}
            elif change == "twice":
                numbers = numbers * 0
        yield Loaded(numbers, features, lengths)


@pytest.mark.parametrize("change", ["value", "padding", "length", "twice"])
def test_a_loader_that_gives_other_rows_is_found(data: Data, change: str) -> None:
    assert check(data, _changed(data, change)) is not None


def test_a_sample_left_out_is_found(data: Data) -> None:
    batches = list(memmap(data)())
    assert check(data, iter(batches[:-1])) == "sample 128 came 0 times"


def test_figures_are_ratios_of_one_run(tmp_path: Path) -> None:
    result = measure(SAMPLES, 1, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert result.samples == SAMPLES
    by_name = {line.name: line for line in result.lines}
    assert by_name[loader.MEMMAP].ratio == 1
    for peer in peers.PEERS:
        line = by_name[peer.name]
        assert (line.ratio is not None) == peer.is_installed
        assert peer.is_installed or line.note == f"not installed: {peer.hint}"
    base, ours = by_name[loader.MEMMAP].best_s, by_name[loader.READER].best_s
    assert base is not None
    assert ours is not None
    assert result.targets[0].ratio == pytest.approx(base / ours)
    ratio = {target.what: target.ratio for target in result.targets}
    streams, same = by_name[loader.STREAM].best_s, by_name[loader.ORDERED_READER].best_s
    assert streams is not None
    assert same is not None
    assert ratio["stream / reader of the same rows"] == pytest.approx(same / streams)
    assert ratio["stream / reader in store order"] == pytest.approx(ours / streams)
    text = result.to_text()
    assert result.machine in text
    assert all(target.what in text for target in result.targets)


@pytest.mark.parametrize(
    ("ratio", "most", "outcome"),
    [
        (2.0, None, "reached"),
        (1.9, None, "missed"),
        (None, None, "not measured"),
        (2.1, 2.2, "reached"),
        (2.3, 2.2, "missed"),
    ],
)
def test_a_target_says_whether_it_was_reached(
    ratio: float | None, most: float | None, outcome: str
) -> None:
    assert Target("a / b", 2.0, most, ratio).outcome == outcome


def test_the_command_prints_one_document_and_ends_well_though_targets_are_missed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(data: Data, modalities: Any = tuple(SHAPES)) -> Any:
        def epoch() -> Iterator[Loaded]:
            time.sleep(0.5)
            yield from reader(data, modalities)()

        return epoch

    monkeypatch.setattr(loader, "reader", slow)
    words = ["bench", "loader", "--samples", "70", "--rounds", "1", "--folder", str(tmp_path)]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    outcomes = {target["what"]: target["outcome"] for target in document["targets"]}
    assert outcomes["reader / memmap loop"] == "missed"
    assert {line["name"] for line in document["lines"]} >= {loader.READER, loader.STREAM}


@pytest.mark.parametrize("words", [["--samples", "0"], ["--rounds", "0"]])
def test_nothing_to_measure_is_wrong_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "loader", *words]) == 2
    assert words[0].removeprefix("--") in capsys.readouterr().err


def test_a_wrong_action_suggests_the_near_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "lodaer"]) == 2
    assert "Did you mean 'loader'?" in capsys.readouterr().err
