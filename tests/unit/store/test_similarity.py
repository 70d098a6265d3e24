"""Likeness of features: against closed forms, scikit-learn and columns whose likeness is known."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import NearestNeighbors

from scfae.cli import main
from scfae.store import ColumnInfo, FeatureStore, SampleRow, ShardSample, compare_columns
from scfae.store.comparison import comparison_text
from scfae.store.errors import SchemaMismatch, UnknownColumn
from scfae.store.similarity import linear_cka, majority_share, neighbour_overlap, probe_accuracy

Features = npt.NDArray[np.float64]
RANDOM = np.random.default_rng(0)
WIDE = RANDOM.normal(size=(60, 90))
TALL = RANDOM.normal(size=(60, 7))


def hsic_cka(x: Features, y: Features) -> float:
    """Linear CKA by its definition over Gram matrices and the centring matrix."""
    centring = np.eye(len(x)) - 1 / len(x)
    k, m = centring @ x @ x.T @ centring, centring @ y @ y.T @ centring
    return float(np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m)))


@pytest.mark.parametrize("one", [WIDE, TALL])
@pytest.mark.parametrize("other", [TALL[:, :3] ** 2, WIDE * np.arange(90)])
def test_linear_cka_is_its_definition(one: Features, other: Features) -> None:
    assert linear_cka(one, other) == pytest.approx(hsic_cka(one, other))


def test_linear_cka_is_blind_to_rotation_scale_and_offset() -> None:
    rotation, _ = np.linalg.qr(RANDOM.normal(size=(7, 7)))
    assert linear_cka(TALL, 3 * TALL @ rotation + 5) == pytest.approx(1.0)
    assert linear_cka(TALL, np.ones((60, 2))) is None


def test_neighbours_are_those_of_scikit_learn() -> None:
    def near(x: Features) -> list[set[int]]:
        finder = NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(x)
        return [set(row[1:]) for row in finder.kneighbors(x, return_distance=False)]

    wanted = np.mean([len(a & b) / 5 for a, b in zip(near(TALL), near(WIDE), strict=True)])
    assert neighbour_overlap(TALL, WIDE, k=5) == pytest.approx(wanted)
    assert neighbour_overlap(TALL, TALL * 2, k=5) == 1.0
    assert neighbour_overlap(TALL[:5], TALL[:5], k=5) is None


def test_a_probe_finds_what_is_there_and_nothing_in_noise() -> None:
    labels = ["real" if value > 0 else "fake" for value in TALL[:, 0]]
    ids = [str(i) for i in range(60)]
    assert probe_accuracy(TALL, labels, ids) > 0.85
    assert probe_accuracy(RANDOM.normal(size=(60, 90)), labels, ids) < 0.75
    assert majority_share(["a", "b", "a", "a"]) == 0.75


def test_a_probe_is_not_fitted_on_the_group_it_is_asked_about() -> None:
    # Within a group the features give the label away; across groups they are the wrong way round.
    groups = np.repeat(np.arange(20), 3)
    labels = groups % 2
    features = np.eye(20)[groups] * 10
    assert probe_accuracy(features, labels.tolist(), [f"g{i}" for i in groups]) < 0.7
    assert probe_accuracy(features, labels.tolist(), [str(i) for i in range(60)]) > 0.9


def test_a_probe_names_what_scikit_learn_names() -> None:
    labels = (TALL[:, 0] + TALL[:, 1] > 0.3).astype(int)
    from scfae.store.similarity import _probe

    for x in (TALL, np.hstack([TALL, WIDE])):
        train, new = x[:40], x[40:]
        scaled = [
            (part - train.mean(0)) / train.std(0) / np.sqrt(x.shape[1]) for part in (train, new)
        ]
        ridge = RidgeClassifier(alpha=1e-2 * 40 / np.sqrt(x.shape[1])).fit(scaled[0], labels[:40])
        np.testing.assert_array_equal(_probe(train, labels[:40], new), ridge.predict(scaled[1]))


def test_one_class_or_one_group_cannot_be_probed() -> None:
    with pytest.raises(SchemaMismatch, match="at least two labels"):
        probe_accuracy(TALL, ["a"] * 60, [str(i) for i in range(60)])
    with pytest.raises(SchemaMismatch, match="at least two labels"):
        probe_accuracy(TALL, ["a", "b"] * 30, ["one"] * 60)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    rows = [
        SampleRow(
            f"s{i}",
            split="test" if i % 4 == 0 else "train",
            labels={"kind": "ab"[int(TALL[i, 0] > 0)], "level": float(TALL[i, 0])},
        )
        for i in range(60)
    ]
    made = FeatureStore.create(tmp_path / "store", rows)
    for name, values in {"tall": TALL, "wide": np.hstack([WIDE, TALL])}.items():
        info = ColumnInfo.create(name, "audio", encoder=name, dim=values.shape[1])
        by_id = {f"s{i}": values[i] for i in range(60)}
        with made.add_column(info) as writer:
            writer.commit(
                0,
                [
                    ShardSample(status="missing", reason="none")
                    if one == "s7" and name == "tall"
                    else ShardSample(np.stack([by_id[one], by_id[one]]))
                    for one in made.samples.ids
                ],
            )
    return made


def test_columns_of_other_dims_are_compared(store: FeatureStore) -> None:
    report = compare_columns(store, "tall", "wide", label="kind")
    assert report["rows"] is None
    assert report["coverage"] == {"both": 59, "only_first": 0, "only_second": 1, "neither": 0}
    found = report["similarity"]
    ids = [str(one) for one in store.samples.ids if one != "s7"]
    order = [int(one[1:]) for one in ids]
    both = [np.hstack([WIDE, TALL])[order].astype("f4").astype(float), TALL[order].astype("f4")]
    assert found["linear_cka"] == pytest.approx(hsic_cka(both[1].astype(float), both[0]), abs=1e-5)
    norm = np.linalg.norm(TALL[order], axis=1).mean()
    assert found["mean_norm"]["tall"] == pytest.approx(norm, abs=1e-5)
    probe = found["probe"]
    assert probe["samples"] == sum(i % 4 != 0 for i in order)  # none of the test split
    assert probe["accuracy"]["tall"] > 0.75
    text = comparison_text(report)
    assert f"linear CKA {found['linear_cka']:.4f}" in text
    assert "linear probe of 'kind' over" in text


def test_fewer_samples_are_enough_and_labels_must_be_classes(store: FeatureStore) -> None:
    assert compare_columns(store, "tall", "wide", most_samples=20)["similarity"]["samples"] == 20
    with pytest.raises(SchemaMismatch, match="'level' is a real number"):
        compare_columns(store, "tall", "wide", label="level")
    with pytest.raises(UnknownColumn, match="no label 'mood'"):
        compare_columns(store, "tall", "wide", label="mood")


def test_the_command_takes_a_label(store: FeatureStore, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["store", "diff", str(store.path), "tall", "wide", "--label", "kind"]
    assert main(words) == 0
    assert "linear probe of 'kind'" in capsys.readouterr().out
    assert main([*words, "--samples", "1"]) == 2
