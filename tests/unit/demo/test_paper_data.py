"""The paper's data sets as the demo plays them: every table can be planned on them."""

from pathlib import Path

import pytest

from scfae.demo.paper_data import SIZES, make_paper_data
from scfae.fusion import fusion_info
from scfae.train.reproduce.plan import Planner
from scfae.train.reproduce.protocols import PROTOCOLS
from scfae.train.reproduce.tables import TABLES, read_table


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_options_of_their_methods(name: str) -> None:
    assert set(SIZES[name]) <= set(fusion_info(name).options)


@pytest.mark.slow
def test_every_table_can_be_planned_on_the_demo_s_data(tmp_path: Path) -> None:
    counts = {"train": 24, "val": 8, "test": 8}
    parts = make_paper_data(tmp_path, counts=counts, say=lambda text: None)
    widths = {name: part.image_dim for name, part in parts.items()}
    assert widths == {"activitynet": 12, "fakeavceleb": 0, "mosei": 0}
    for protocol in PROTOCOLS.values():
        planner = Planner(tmp_path / "runs", protocol, num_seeds=1)
        for name in TABLES:
            table = read_table(name)
            rows = planner.plan(table, parts[table.dataset]).rows
            assert any(row.cells for row in rows)
    # What is there of an earlier call is used.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "features").rglob("*.zip")}
    make_paper_data(tmp_path, counts=counts, say=lambda text: None)
    assert before == {path: path.stat().st_mtime_ns for path in before}
