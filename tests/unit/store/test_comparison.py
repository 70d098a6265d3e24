"""Two columns side by side: the figures are what the rows say."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from scfae.store import Chain, ColumnInfo, FeatureStore, SampleRow, ShardSample, compare_columns
from scfae.store import derive as derive_column
from scfae.store.comparison import comparison_text


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    made = FeatureStore.create(tmp_path / "store", [SampleRow(f"s{i}") for i in range(5)])
    one = np.array([[3.0, 4.0], [3.0, 4.0]])
    columns: dict[str, list[npt.NDArray[np.float64] | None]] = {
        "a": [one, one, one, None, None],
        "b": [one, one + 0.5, one[:1] * 2, one, None],
        "wide": [np.ones((1, 3))] * 5,
    }
    for name, values in columns.items():
        info = ColumnInfo.create(name, "audio", encoder=f"e-{name}", dim=3 if name == "wide" else 2)
        samples = [
            ShardSample(status="missing", reason="no") if rows is None else ShardSample(rows)
            for rows in values
        ]
        with made.add_column(info) as writer:
            writer.commit(0, samples)
    return made


def test_rows_and_fates_of_equal_dims_are_compared(store: FeatureStore) -> None:
    report = compare_columns(store, "a", "b")
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert report["differences"] == ["encoder", "fingerprint"]
    assert report["columns"]["a"]["counts"] == {"ok": 3, "partial": 0, "missing": 2, "failed": 0}
    assert report["columns"]["a"]["rows_per_sample"] == 2.0
    different = str(store.samples.ids[3])
    assert report["samples"] == {
        "count": 5,
        "status_differs": 1,
        "status_differs_in": [different],
        "length_differs": 2,
    }
    cosine = (3 * 3.5 + 4 * 4.5) / (5 * np.hypot(3.5, 4.5))
    assert report["rows"] == {
        "compared": 3,
        "identical": 1,
        "identical_share": 0.333333,
        "same_length": 2,
        "max_abs_difference": 0.5,
        "mean_cosine": round((1 + cosine + 1) / 3, 6),
    }


def test_a_column_is_identical_to_itself(store: FeatureStore) -> None:
    report = compare_columns(store, "a", "a")
    assert report["differences"] == []
    assert report["rows"]["identical_share"] == 1.0
    assert report["rows"]["max_abs_difference"] == 0.0


def test_rows_of_other_dims_are_not_compared(store: FeatureStore) -> None:
    report = compare_columns(store, "a", "wide")
    assert report["rows"] is None
    assert "dim" in report["differences"]
    assert "the dims differ" in comparison_text(report)


def test_the_text_holds_the_figures_and_says_what_is_the_same_once(store: FeatureStore) -> None:
    derive_column(store, "a", "half", Chain(dtype="float16"))
    text = comparison_text(compare_columns(store, "a", "half"))
    lines = [line.split() for line in text.splitlines()]
    assert ["modality", "audio", "same"] in lines
    assert ["dtype", "float32", "float16"] in lines
    assert ["encoder", "e-a", "derived:dtype=float16"] in lines
    assert "0 of 5 samples differ in status, 0 in the number of rows" in text
    assert "3 of 3 samples with rows in both are identical" in text
    assert "mean cosine of pooled rows: 1.0" in text
