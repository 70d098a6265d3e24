"""Figures of rows that cannot be run are printed ones, and say so."""

from scfae.fusion import list_fusions, published_rows


def test_art_avdf_has_its_six_printed_figures_and_no_method() -> None:
    figures = {(f.modalities, f.metric): f.percent for f in published_rows()}
    assert figures == {
        ("audio", "accuracy"): 66.30,
        ("video", "accuracy"): 80.70,
        ("audio+video", "accuracy"): 96.40,
        ("audio", "auc"): 68.90,
        ("video", "auc"): 84.30,
        ("audio+video", "auc"): 98.20,
    }
    assert {(f.row, f.table, f.dataset) for f in published_rows()} == {
        ("ART-AVDF", 4, "FakeAVCeleb")
    }
    rows = {info.paper_row for info in list_fusions()}
    assert rows.isdisjoint(f.row for f in published_rows())
