"""Which runs rows need, what makes two of them the same, and what protocols change."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scfae.store import FeatureStore, SampleRow
from scfae.store.errors import ConfigError
from scfae.train.reproduce.data import check_columns, official_part
from scfae.train.reproduce.plan import PlannedRow, PlannedTable, Planner, all_cells
from scfae.train.reproduce.protocols import PROTOCOLS, ProtocolName
from scfae.train.reproduce.tables import read_table
from scfae.train.sweeps.plan import Cell

from .small_data import QUICK, paper_store, parts_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    return paper_store(tmp_path_factory.mktemp("paper") / "store")


def plan(store: FeatureStore, name: str, **options: Any) -> PlannedTable:
    protocol: ProtocolName = options.pop("protocol", "honest")
    overrides = options.pop("overrides", QUICK)
    asked = {"num_seeds": 1, "overrides": overrides} | options
    table = read_table(name)
    part = parts_of(store)[table.dataset]
    return Planner(Path("out"), PROTOCOLS[protocol], **asked).plan(table, part)


def rows(planned: PlannedTable) -> dict[str, PlannedRow]:
    return {row.row.label: row for row in planned.rows}


def only(row: PlannedRow) -> Cell:
    (cells,) = row.cells.values()
    return cells[0]


def test_a_run_that_several_tables_need_is_one(store: FeatureStore) -> None:
    names = ("table5", "table7", "table10", "table11")
    planned = [rows(plan(store, name)) for name in names]
    labels = ("SCFAE", "A→V→T", "n = 2, b = 0.5", "λ = 1.0")
    cells = [only(one[label]) for one, label in zip(planned, labels, strict=True)]
    assert len({cell.name for cell in cells}) == 1
    other = [only(one["128-128 SCFAE"]).name for one in (rows(plan(store, "table3")),)]
    assert other == [only(rows(plan(store, "table8"))["128-128 SCFAE"]).name]
    assert other == [only(rows(plan(store, "table9"))["128-128 Cos"]).name]
    assert len({one.name for one in all_cells([plan(store, n) for n in names])}) == (
        sum(bool(row.cells) for row in plan(store, "table5").rows) + 2 + 8 + 4
    )


def test_seeds_are_runs_and_a_table_of_seeds_has_no_fewer(store: FeatureStore) -> None:
    (cells,) = rows(plan(store, "table14", num_seeds=3))["SCFAE (Full)"].cells.values()
    assert [cell.config.loop.seed for cell in cells] == [1, 2, 3]
    (four,) = rows(plan(store, "seeds-fakeavceleb"))["SCFAE"].cells.values()
    assert len(four) == 4
    assert four[0].name == cells[0].name


def test_branches_are_masked_in_one_run(store: FeatureStore) -> None:
    names = {only(row).name for row in plan(store, "table14").rows}
    assert len(names) == 1


def test_the_paper_protocol_trains_as_authors_do(store: FeatureStore) -> None:
    found = rows(plan(store, "table5", protocol="paper", overrides={}))
    ours = only(found["SCFAE"]).config
    assert (ours.optim.epochs, ours.optim.lr, ours.optim.warmup) == (125, 5e-4, 0.2)
    assert ours.loop.masking == "none"
    assert only(found["MMIN"]).config.optim.epochs == 200
    assert only(found["DLF"]).config.model.options == {"leading": "text"}
    detector = only(rows(plan(store, "table4", protocol="paper", overrides={}))["SCFAE"]).config
    assert detector.optim.epochs == 10


def test_one_model_a_condition_where_authors_do_so(store: FeatureStore) -> None:
    momke = rows(plan(store, "table5", protocol="paper"))["MoMKE"]
    masks = {key: cells[0].config.loop.masking for key, cells in momke.cells.items()}
    assert masks == {
        "a": "only:audio",
        "t": "only:text",
        "v": "only:video",
        "av": "only:audio,video",
        "at": "only:audio,text",
        "tv": "only:video,text",
        "atv": "none",
    }
    assert list(rows(plan(store, "table5"))["MoMKE"].cells) == ["full"]


def test_the_honest_protocol_trains_all_alike(store: FeatureStore) -> None:
    planned = plan(store, "table5", overrides={})
    optimizers = {
        only(row).config.optim.model_copy(update={"combiner": "sum"})
        for row in planned.rows
        if row.cells
    }
    assert len(optimizers) == 1
    assert {only(row).config.loop.masking for row in planned.rows if row.cells} == {"subsets"}


def test_settings_of_generated_data_win_over_the_protocol_s_and_lose_to_a_user_s(
    store: FeatureStore,
) -> None:
    part = replace(parts_of(store)["mosei"], training={"epochs": 7, "lr": 2e-3})
    table = read_table("table5")
    for overrides, epochs in (({}, 7), ({"epochs": 3}, 3)):
        planner = Planner(Path("out"), PROTOCOLS["paper"], num_seeds=1, overrides=overrides)
        planned = planner.plan(table, part)
        configs = [cell.config for cell in all_cells([planned])]
        assert {config.optim.epochs for config in configs} == {epochs}
        assert {config.optim.lr for config in configs} == {2e-3}


def test_the_128_setting_maps_the_video(store: FeatureStore) -> None:
    found = rows(plan(store, "table3"))
    assert only(found["128-128 SCFAE"]).config.model.linear_maps == {"video": 6}
    assert only(found["4096-128 SCFAE"]).config.model.linear_maps == {}
    assert only(found["128-128 SCFAE"]).config.flat()["columns"] == {
        "video": "video",
        "image": "image",
    }


def test_orders_are_of_the_data_s_modalities(store: FeatureStore) -> None:
    found = rows(plan(store, "table7"))
    assert only(found["A→T→V"]).config.model.options == {"order": ["audio", "text", "video"]}


def test_a_changed_label_or_setting_is_another_run(tmp_path: Path) -> None:
    store = paper_store(tmp_path / "store", num_samples=60)
    before = only(rows(plan(store, "table10"))["n = 2, b = 0.5"]).name
    assert before == only(rows(plan(store, "table10"))["n = 2, b = 0.5"]).name
    other = plan(store, "table10", overrides=QUICK | {"lr": 5e-3})
    assert only(rows(other)["n = 2, b = 0.5"]).name != before
    name = str(store.samples.ids[0])
    store.update_labels([SampleRow(id=name, split="train", labels={"sentiment": 1.25})])
    now = FeatureStore.open(store.path)
    assert only(rows(plan(now, "table10"))["n = 2, b = 0.5"]).name != before


def test_rows_that_are_not_run_say_why(store: FeatureStore) -> None:
    planned = rows(plan(store, "table4", methods=["scfae"]))
    assert planned["SCFAE"].cells
    assert planned["MISA"].why_not == "not run: its method was not asked for"
    assert planned["ART-AVDF"].why_not.startswith("cannot be rerun: no code")
    table = read_table("table4")
    retrieval = rows(plan(store, "table3"))
    assert "gives no embedding of video, image alone" in retrieval["128-128 DLF"].why_not
    without = Planner(Path("out"), PROTOCOLS["paper"], num_seeds=1).plan(table, None)
    assert not all_cells([without])
    assert "no data of fakeavceleb" in without.rows[0].why_not


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"epoch": 3}, r"settings\.epoch: no such setting\. Did you mean epochs"),
        ({"fusion": "misa"}, r"settings\.fusion: the table decides that"),
        ({"seed": 3}, r"settings\.seed: the table decides that"),
        ({"epochs": 0}, r"Specific-only: the config cannot be used:\n  epochs = 0"),
    ],
)
def test_settings_that_cannot_be(
    store: FeatureStore, overrides: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        plan(store, "table14", overrides=overrides)


def test_seeds_that_cannot_be(store: FeatureStore) -> None:
    with pytest.raises(ConfigError, match="seeds must be at least 1, not 0"):
        plan(store, "table14", num_seeds=0)


def test_a_store_that_is_not_the_data_set(store: FeatureStore, tmp_path: Path) -> None:
    from scfae.store.testing import make_store

    other = make_store(tmp_path / "other")
    with pytest.raises(ConfigError, match=r"has no label sentiment \(it has digit\), so it is not"):
        official_part("mosei", str(other.path))


def test_columns_are_chosen_where_there_are_several(store: FeatureStore) -> None:
    chosen = official_part("fakeavceleb", str(store.path), {"video": "image"})
    assert chosen.columns == {"audio": "audio", "video": "image"}
    only_there = official_part("fakeavceleb", str(store.path), {"mosei.video": "image"})
    assert only_there.columns["video"] == "video"
    with pytest.raises(ConfigError, match=r"columns\.vidio: no such modality\. Did you mean video"):
        check_columns({"vidio": "x"})
