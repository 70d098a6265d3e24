"""Stored masks say for evaluation what each sample keeps, the same in every run."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from scfae.store import exact_rate_masks, masks_for, write_mask_table
from scfae.store.errors import ConfigError
from scfae.store.masking import parse_policy

MODALITIES = ("video", "audio", "text")
IDS = [f"s{i}" for i in range(30)]
MASKS = np.random.default_rng(0).random((30, 3)) < 0.6
AVAILABLE = np.random.default_rng(1).random((30, 3)) < 0.8


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_mask_table(tmp_path / "masks.parquet", IDS, MASKS, MODALITIES)
    return tmp_path / "masks.parquet"


def masks(path: Path, ids: list[str], available: Any, epoch: int = 0, **more: Any) -> Any:
    names = more.get("modalities", MODALITIES)
    return masks_for(ids, available, policy=f"table:{path}", seed=0, epoch=epoch, modalities=names)


def test_a_table_says_what_is_kept_of_what_is_there(table: Path) -> None:
    for epoch in (0, 5):
        assert (masks(table, IDS, AVAILABLE, epoch) == (MASKS & AVAILABLE)).all()


def test_ids_decide_and_not_places(table: Path) -> None:
    chosen = [17, 3, 29, 0]
    ids = [IDS[i] for i in chosen]
    assert (masks(table, ids, AVAILABLE[chosen]) == (MASKS & AVAILABLE)[chosen]).all()
    back = masks(table, IDS, AVAILABLE[:, ::-1], modalities=MODALITIES[::-1])
    assert (back[:, ::-1] == (MASKS & AVAILABLE)).all()


def test_a_view_may_have_fewer_modalities_than_the_table(table: Path) -> None:
    one = masks(table, IDS, AVAILABLE[:, 1:2], modalities=["audio"])
    assert (one[:, 0] == (MASKS & AVAILABLE)[:, 1]).all()


def test_samples_that_the_table_does_not_have_are_refused(table: Path) -> None:
    with pytest.raises(ConfigError, match=r"no row for 1 of 2 samples, such as 'new'"):
        masks(table, ["s1", "new"], AVAILABLE[:2])


def test_the_name_of_a_table_is_what_it_says(table: Path, tmp_path: Path) -> None:
    order = np.random.default_rng(2).permutation(30)
    write_mask_table(tmp_path / "b", [IDS[i] for i in order], MASKS[order], MODALITIES)
    write_mask_table(tmp_path / "c", IDS, ~MASKS, MODALITIES)
    a, b, c = (
        str(parse_policy(f"table:{path}", MODALITIES))
        for path in (table, tmp_path / "b", tmp_path / "c")
    )
    assert a == b != c


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"id": ["a"], "video": [True]}, "no column audio, text"),
        ({"video": [True], "audio": [True], "text": [True]}, "no column id"),
        ({"id": [1], "video": [True], "audio": [True], "text": [True]}, "id must be text"),
        ({"id": ["a"], "video": [1], "audio": [True], "text": [True]}, "video must be bool"),
        ({"id": ["a"], "video": [None], "audio": [True], "text": [True]}, "video must be bool"),
        ({"id": ["a"] * 2, **{m: [True] * 2 for m in MODALITIES}}, "names a sample twice"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(
    tmp_path: Path, columns: dict[str, Any], message: str
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "t")
    with pytest.raises(ConfigError, match=f"^masking: .*{message}"):
        masks(tmp_path / "t", ["a"], AVAILABLE[:1])


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"id,video\n")
    with pytest.raises(ConfigError, match=r"^masking: the table .* cannot be read"):
        masks(tmp_path / "t", ["a"], AVAILABLE[:1])


@pytest.mark.parametrize(
    ("ids", "kept", "message"),
    [
        (["a"], [[1, 1, 1]], "masks: must be bool"),
        (["a", "b"], [[True] * 3], "masks: must be bool"),
        (["a", "a"], [[True] * 3] * 2, "ids: one is there twice"),
    ],
)
def test_what_does_not_agree_is_not_written(
    tmp_path: Path, ids: list[str], kept: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        write_mask_table(tmp_path / "t", ids, kept, MODALITIES)
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.3, 0.5, 0.7])
def test_exact_rates_are_met_to_the_sample(rate: float) -> None:
    ids = [f"s{i}" for i in range(300)]
    kept = exact_rate_masks(ids, np.ones((300, 3)), rate, seed=1, modalities=MODALITIES)
    wanted = round(300 * min(rate, 2 / 3))
    assert ((~kept).sum(axis=0) == wanted).all()
    assert kept.any(axis=1).all()


def test_exact_rates_take_only_what_is_there() -> None:
    kept = exact_rate_masks(IDS, AVAILABLE, 0.4, seed=1, modalities=MODALITIES)
    assert not (kept & ~AVAILABLE).any()
    assert (kept.any(axis=1) == AVAILABLE.any(axis=1)).all()
    again = exact_rate_masks(IDS, AVAILABLE, 0.4, seed=1, modalities=MODALITIES)
    assert (kept == again).all()
    with pytest.raises(ConfigError, match="rate: must be from 0 to 1"):
        exact_rate_masks(IDS, AVAILABLE, 1.4, seed=1, modalities=MODALITIES)
