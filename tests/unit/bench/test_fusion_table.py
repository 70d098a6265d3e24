"""The fusion benchmark: masks that every method shares, baselines that peek at nothing, a table."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from benchmarks import fusion_table, fusion_text, fusion_times, fusion_training
from benchmarks.fusion_sets import FeatureSet, digits_seen_and_heard

from scfae.fusion import fusion_info
from scfae.fusion.segments import segment_means
from scfae.store.testing import make_store
from scfae.train.model import fusion_of

NUM = 60


def tiny() -> FeatureSet:
    """Return two views of three classes that both tell the class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(NUM) % 3
    features = {
        m: torch.nn.functional.one_hot(labels, d)[:, None].float()
        + 0.1 * torch.randn(NUM, 2, d, generator=generator)
        for m, d in (("a", 4), ("v", 6))
    }
    lengths = {"a": torch.full((NUM,), 2), "v": torch.full((NUM,), 2)}
    lengths["v"][:2] = 0

    def split(seed: int) -> dict[str, Any]:
        return {"train": np.arange(30), "val": np.arange(30, 40), "test": np.arange(40, NUM)}

    return FeatureSet("tiny", features, lengths, labels, split, (0.0, 0.5), 4, 8)


def test_masks_are_fixed_by_the_seed_and_leave_a_view() -> None:
    data = tiny()
    assert torch.equal(data.present(0.5, 1), data.present(0.5, 1))
    assert not torch.equal(data.present(0.5, 1), data.present(0.5, 2))
    assert data.present(0.99, 1).any(dim=1).all()
    everything = data.present(0.0, 1)
    assert not everything[:2, 1].any()  # no rows: missing at any rate
    assert everything[2:].all()


def test_the_mean_of_views_reads_no_missing_view() -> None:
    data = tiny()
    first = fusion_table.mean_of_views(data, 0.5, 1)
    gone = ~data.present(0.5, 1)
    for i, x in enumerate(data.features.values()):
        x[gone[:, i]] = 1e3
    assert fusion_table.mean_of_views(data, 0.5, 1) == first
    assert fusion_table.mean_of_views(data, 0.5, 1, complete=True) != first


def test_a_method_learns_and_test_labels_choose_nothing() -> None:
    data = tiny()
    line = fusion_table.measure("concat", data, 0.0, 1, 10)
    assert line["accuracy"] > 0.9
    data.labels[40:] = (data.labels[40:] + 1) % 3
    other = fusion_table.measure("concat", data, 0.0, 1, 10)
    assert other["val_accuracy"] == line["val_accuracy"]
    assert other["accuracy"] < 0.1
    assert fusion_table.measure("majority", data, 0.0, 1, 1)["accuracy"] < 0.4


def test_a_method_settles_before_it_is_judged() -> None:
    data, info = tiny(), fusion_info("weight_merge")
    trained = fusion_training.train(info, data, 0.5, 1, 2, options={"width": 8}, lr=1e-3)
    fusion = fusion_of(trained.model)
    kept = fusion.get_buffer("alpha").clone()
    fusion.get_buffer("alpha").fill_(7.0)
    rows = torch.from_numpy(data.split(1)["val"])
    samples = fusion_training.batches(trained.data, trained.present, rows, 128)
    fusion_training.settle(trained.model, fusion, samples)
    assert torch.equal(fusion.get_buffer("alpha"), kept)


def test_a_table_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fusion_table, "multiple_features", tiny)
    monkeypatch.setattr(fusion_table, "basic_motions", lambda: replace(tiny(), name="other"))
    words = ["x", "--methods", "majority", "euar", "--rates", "0", "--results", str(tmp_path)]
    words += ["--sets", "tiny"]
    monkeypatch.setattr(sys, "argv", [*words, "--seeds", "1"])
    fusion_table.main()
    monkeypatch.setattr(sys, "argv", [*words, "--seeds", "1", "2"])
    fusion_table.main()
    lines = [json.loads(x) for x in (tmp_path / "fusion_table.jsonl").read_text().splitlines()]
    assert [(x["method"], x["seed"]) for x in lines] == [
        ("majority", 1),
        ("euar", 1),
        ("majority", 2),
        ("euar", 2),
    ]
    cell = json.loads((tmp_path / "fusion_table.json").read_text())["table"]["euar"]["tiny @ 0%"]
    values = [x["accuracy"] for x in lines if x["method"] == "euar"]
    assert cell["mean"] == pytest.approx(sum(values) / 2)
    assert cell["sd"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    text = (tmp_path / "fusion_table.md").read_text()
    assert "\n## tiny\n" in text
    assert "| euar |" in text


def test_figures_of_other_options_are_measured_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fusion_table, "multiple_features", tiny)
    monkeypatch.setattr(fusion_table, "basic_motions", lambda: replace(tiny(), name="other"))
    words = ["x", "--methods", "euar", "--rates", "0", "--results", str(tmp_path), "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", [*words, "--sets", "tiny"])
    fusion_table.main()
    monkeypatch.setitem(fusion_table.OPTIONS, "euar", {"width": 16})
    fusion_table.main()
    lines = [json.loads(x) for x in (tmp_path / "fusion_table.jsonl").read_text().splitlines()]
    assert [x["options"] for x in lines] == [{}, {"width": 16}]
    cell = json.loads((tmp_path / "fusion_table.json").read_text())["table"]["euar"]["tiny @ 0%"]
    assert cell["accuracies"] == {"1": lines[1]["accuracy"]}
    assert cell["parameters"] < lines[0]["parameters"]


def test_times_of_a_sitting_of_their_own_are_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in (fusion_table, fusion_times):
        monkeypatch.setattr(module, "multiple_features", tiny)
        monkeypatch.setattr(module, "basic_motions", lambda: replace(tiny(), name="other"))
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)  # of all tests here
    words = ["x", "--methods", "euar", "momke", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", words)
    fusion_times.main()
    path = tmp_path / "fusion_times.json"
    found = json.loads(path.read_text())
    assert [(x["set"], x["method"]) for x in found] == [
        (name, method) for name in ("tiny", "other") for method in ("momke", "euar")
    ]
    found[-1]["step_ms"] = 123.4
    found[1]["options"] = {"width": 8}  # of another size: its time is not this one's
    found[1]["step_ms"] = 567.8
    path.write_text(json.dumps(found))
    more = ["--methods", "euar", "--rates", "0", "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", [*words, *more])
    fusion_table.main()
    text = (tmp_path / "fusion_table.md").read_text()
    assert "| 123 |" in text
    assert "| 568 |" not in text


def test_a_method_is_smaller_where_a_view_is_one_row() -> None:
    for name in fusion_table.ONE_ROW:
        small = fusion_table.options_of(name, "multiple-features")
        large = fusion_table.options_of(name, "basic-motions-2s")
        assert small["num_segments"] < large["num_segments"]
    assert fusion_table.options_of("mult", "multiple-features") == fusion_table.OPTIONS["mult"]
    assert fusion_table.options_of("scfae", "multiple-features") == {}


def test_methods_are_compared_with_the_regressions_on_the_same_seeds() -> None:
    figures = {
        "mean of views": (0.7, 0.9),
        "mean of views, trained without gaps": (0.8, 0.94),
        "scfae": (0.8,),
        "concat": (0.9, 0.95),
        "lmf": (0.6,),
    }
    lines = [
        {"method": name, "set": "x", "rate": 0.5, "seed": seed, "accuracy": x, "parameters": 1}
        for name, values in figures.items()
        for seed, x in enumerate(values)
    ]
    text = fusion_text.standings(fusion_text.cells(lines), "x @ 50%")
    assert "above the mean of views (80.0): scfae, concat; " in text
    assert "above the mean of views, trained without gaps (87.0): concat; " in text
    assert "3 methods were measured, SCFAE is number 2" in text
    lines = [line | {"set": "multiple-features", "rate": 0.7} for line in lines]
    text = fusion_text.standings(fusion_text.cells(lines), "multiple-features @ 70%")
    assert "; above 93.0: none; 3 methods" in text  # concat: 92.5


def test_a_training_step_hides_a_share_and_leaves_one() -> None:
    present = torch.tensor([[True, True], [False, True], [False, False]]).repeat(1000, 1)
    left = fusion_training.some_hidden(present, 0.3, torch.Generator().manual_seed(0))
    assert not (left & ~present).any()
    assert torch.equal(left.any(dim=1), present.any(dim=1))
    # Of two, each is hidden with 0.3; where both would be, one stays.
    assert left[::3].double().mean().item() == pytest.approx(0.7 + 0.09 / 2, abs=0.03)


def test_measured_features_are_standardised_on_what_training_sees() -> None:
    data = replace(tiny(), is_measured=True)
    present, rows = data.present(0.5, 1), torch.arange(30)
    x = data.standardised(present, rows).features["v"]
    seen = x[:30][present[:30, 1]].flatten(0, 1)
    torch.testing.assert_close(seen.mean(dim=0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen.std(dim=0), torch.ones(6))
    assert tiny().standardised(present, rows).features["v"].std() < 0.6


def test_what_cannot_run_says_so() -> None:
    data = tiny()
    one = {"a": data.features["a"]}
    alone = FeatureSet("one", one, {"a": data.lengths["a"]}, data.labels, data.split, (0.0,), 1, 8)
    assert "at least 2" in fusion_table.measure("mmin", alone, 0.0, 1, 2)["skipped"]


def test_the_demos_columns_are_read_without_its_fakes(tmp_path: Path) -> None:
    # Columns are named as the demo's; half of these samples are fakes.
    dims = {"efficientnet-lite0": 12, "ge2e": 7, "image": 5}
    labels = {"digit": 3, "fake": 2}
    make_store(tmp_path / "s", num_samples=60, dims=dims, labels=labels, missing=0.2)
    data = digits_seen_and_heard(tmp_path / "s")
    assert data.dims == {"video": 12, "audio": 7, "image": 5}
    parts = data.split(1)
    assert sorted(np.concatenate(list(parts.values()))) == list(range(30))
    assert {name: len(rows) for name, rows in parts.items()} == {"train": 18, "val": 6, "test": 6}
    assert not data.present(0.0, 1).all()
    assert data.present(0.0, 1).any(dim=1).all()
    short = digits_seen_and_heard(tmp_path / "s", most_rows=2)
    for m, rows in data.features.items():
        there = data.lengths[m] > 0
        valid = torch.arange(rows.shape[1]) < data.lengths[m][:, None]
        assert short.features[m].shape[1] <= 2
        assert torch.equal(short.lengths[m] > 0, there)
        if rows.shape[1] > 2:
            means = segment_means(rows, valid, 2)
            assert torch.equal(short.features[m], means)
    few = digits_seen_and_heard(tmp_path / "s", most_features=6)
    assert few.dims == {"video": 6, "audio": 6, "image": 5}
    for m in ("video", "audio"):
        assert torch.equal(few.lengths[m], data.lengths[m])
        kept = few.features[m][torch.from_numpy(parts["train"])]
        valid = (
            torch.arange(kept.shape[1]) < data.lengths[m][torch.from_numpy(parts["train"]), None]
        )
        torch.testing.assert_close(kept[valid].mean(dim=0), torch.zeros(6), atol=1e-5, rtol=0)
        assert not kept[~valid].any()
