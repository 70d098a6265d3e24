"""What parts share: linear CKA by hand, and CLUB of Gaussians that depend on each other or not."""

import numpy as np
import pytest

from scfae.store.similarity import linear_cka
from scfae.train.analysis.parts import Part
from scfae.train.analysis.sharing import club_estimate, sharing_of


def test_cka_by_hand() -> None:
    """x = (1, -1, 0, 0) and y = (1, -1, 1, -1), both of mean 0.

    (x . y)^2 = 4, |x|^2 = 2, |y|^2 = 4: so 4 / 8.
    """
    x = np.array([[1.0], [-1.0], [0.0], [0.0]])
    y = np.array([[1.0], [-1.0], [1.0], [-1.0]])
    assert linear_cka(x, y) == pytest.approx(0.5)
    assert linear_cka(x, 3 * x + 7) == pytest.approx(1.0)
    assert linear_cka(x, np.ones((4, 2))) is None


def gaussians(correlation: float, *, count: int = 600, width: int = 4) -> list[np.ndarray]:
    """Return pairs whose features correlate one by one."""
    generator = np.random.default_rng(3)
    x, noise = (generator.standard_normal((count, width)) for _ in range(2))
    return [x, correlation * x + np.sqrt(1 - correlation**2) * noise]


def test_club_tells_dependent_gaussians_from_independent_ones() -> None:
    """By the true q the bound of d features is d r^2 / (1 - r^2): 7.1 for four at r = 0.8.

    They share 2.04 nats, so it is a bound, and a loose one.
    """
    dependent = club_estimate(*gaussians(0.8), seeds=2)
    independent = club_estimate(*gaussians(0.0), seeds=2)
    assert dependent.mean == pytest.approx(4 * 0.64 / 0.36, rel=0.25)
    for null in (independent.mean, independent.permuted, dependent.permuted):
        assert abs(null) < 0.3
    assert dependent.seeds == 2


def test_again_it_is_the_same_and_leaves_the_generator_alone() -> None:
    x, y = gaussians(0.5, count=60)
    assert club_estimate(x, y, seeds=1, steps=5) == club_estimate(x, y, seeds=1, steps=5)


def test_pairs_are_of_one_modality_or_of_one_kind_and_of_the_samples_that_have_both() -> None:
    generator = np.random.default_rng(0)

    def part(modality: str, kind: str, places: list[int]) -> Part:
        vectors = generator.standard_normal((len(places), 3))
        return Part(modality, kind, vectors, np.array(places), np.zeros(len(places)))  # type: ignore[arg-type]

    parts = [
        part(modality, kind, places)
        for kind in ("specific", "shared")
        for modality, places in (("audio", [0, 1, 2, 5]), ("video", [1, 2, 3, 5, 6]))
    ]
    found = {(one.first, one.second): one for one in sharing_of(parts)}
    assert set(found) == {
        ("audio, specific", "video, specific"),
        ("audio, shared", "video, shared"),
        ("audio, specific", "audio, shared"),
        ("video, specific", "video, shared"),
    }
    assert found["audio, shared", "video, shared"].n == 3
    assert found["audio, shared", "video, shared"].club is None  # too few to hold half out
    expected = linear_cka(parts[2].vectors[[1, 2, 3]], parts[3].vectors[[0, 1, 3]])
    assert found["audio, shared", "video, shared"].cka == pytest.approx(expected)
