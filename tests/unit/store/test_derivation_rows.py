"""The steps of a derivation on one sample's rows, against what can be said without them."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scfae.store.derivation import Chain
from scfae.store.derivation.projection import fit_pca, random_projection
from scfae.store.derivation.rows import Rows, pool, prepare, resample
from scfae.store.errors import ConfigError

Array = npt.NDArray[np.float64]
SIGNS = ["+-+-", "+--+", "--+-"]
values = st.floats(-100, 100, width=32)


def intervals(most: int) -> st.SearchStrategy[Array]:
    """Intervals in any order, some of them nested, some of no length, on a coarse grid."""
    starts = hnp.arrays(np.float64, st.integers(1, most), elements=st.integers(0, 12))
    return starts.flatmap(
        lambda begin: hnp.arrays(np.float64, len(begin), elements=st.integers(0, 4)).map(
            lambda length: np.stack([begin, begin + length], axis=1)
        )
    )


def slow_resample(rows: Rows, clock: Array) -> Array:
    """Say the same in the words of the docstring."""
    out = []
    for start, end in clock:
        mine = {start} if start == end else None
        overlap, gaps = [], []
        for value, (begin, stop) in zip(rows.values, rows.times, strict=True):
            if mine is None:
                meets = start <= begin < end if begin == stop else begin < end and stop > start
            else:
                meets = begin == start if begin == stop else begin <= start < stop
            overlap += [value] if meets else []
            gaps.append((max(begin - end, start - stop), begin))
        nearest = min(range(len(gaps)), key=lambda i: gaps[i])
        out.append(np.mean(overlap, axis=0) if overlap else rows.values[nearest])
    return np.array(out)


@given(times=intervals(8), clock=intervals(6))
@example(times=np.array([[2.0, 2.0], [0.0, 2.0]]), clock=np.array([[3.0, 3.0]]))
def test_resampling_is_the_mean_of_what_overlaps_or_the_nearest(times: Array, clock: Array) -> None:
    # Rows that begin at once hold the same, so that it does not matter which of two is nearest.
    found = Rows(np.stack([times[:, 0] * 3 + 1, -times[:, 0]], axis=1), times)
    np.testing.assert_allclose(resample(found, clock), slow_resample(found, clock), atol=1e-9)


def test_resampling_onto_its_own_clock_changes_nothing() -> None:
    times = np.stack([np.arange(5), np.arange(5) + 1.0], axis=1)
    found = Rows(np.random.default_rng(0).normal(size=(5, 3)), times)
    assert np.array_equal(resample(found, times), found.values)
    assert np.array_equal(resample(found, np.array([[9.0, 10.0]])), found.values[-1:])
    assert np.array_equal(resample(found, np.array([[-9.0, -8.0]])), found.values[:1])


@given(rows=hnp.arrays(np.float64, st.tuples(st.integers(1, 6), st.just(3)), elements=values))
def test_pooling_gives_one_row_over_the_whole_time(rows: Array) -> None:
    times = np.stack([np.arange(len(rows)), np.arange(len(rows)) + 2.0], axis=1)
    one = pool(Rows(rows, times), "mean+std")
    np.testing.assert_allclose(one.values, [[*rows.mean(axis=0), *rows.std(axis=0)]])
    assert one.times.tolist() == [[0.0, len(rows) + 1.0]]
    assert pool(Rows(rows, times), "max").values.tolist() == [rows.max(axis=0).tolist()]


def test_pooling_passes_over_unknown_times() -> None:
    times = np.array([[np.nan, np.nan], [1.0, 2.0]])
    assert pool(Rows(np.ones((2, 1)), times), "mean").times.tolist() == [[1.0, 2.0]]
    assert np.isnan(pool(Rows(np.ones((1, 1)), times[:1]), "mean").times).all()


def test_a_layer_is_a_block_of_each_row() -> None:
    rows = np.arange(12, dtype=np.float32).reshape(2, 6)
    found = prepare(rows, np.zeros((2, 2)), Chain(layer=1, layers=3))
    assert found.values.tolist() == [[2.0, 3.0], [8.0, 9.0]]


@given(seed=st.integers(0, 99), num_blocks=st.integers(1, 5), dim=st.integers(2, 6))
def test_principal_components_are_those_of_a_singular_value_decomposition(
    seed: int, num_blocks: int, dim: int
) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(40, dim)) * np.arange(1, dim + 1) ** 2 + 1e4
    found = fit_pca(np.array_split(rows, num_blocks), dim - 1)
    centred = rows - rows.mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    wanted = axes[: dim - 1].T
    wanted *= np.sign(wanted[np.abs(wanted).argmax(axis=0), np.arange(dim - 1)])
    np.testing.assert_allclose(found.mean, rows.mean(axis=0))
    np.testing.assert_allclose(found.matrix, wanted, atol=1e-6)
    np.testing.assert_allclose(found(rows), centred @ wanted, atol=1e-5)
    share = (sizes[: dim - 1] ** 2).sum() / (sizes**2).sum()
    assert found.facts == {"fitted_rows": 40, "explained_variance": pytest.approx(share, abs=1e-6)}


def test_components_beyond_the_rows_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 components of the 2 rows that --fit-split has"):
        fit_pca([np.ones((2, 5)), np.empty((0, 5))], 3)


def test_a_random_projection_keeps_distances_and_is_the_same_for_ever() -> None:
    found = random_projection(2000, 400, seed=1)
    rows = np.random.default_rng(0).normal(size=(10, 2000))
    ratio = np.linalg.norm(found(rows), axis=1) / np.linalg.norm(rows, axis=1)
    assert np.abs(ratio - 1).max() < 0.12
    assert np.array_equal(found.matrix, random_projection(2000, 400, seed=1).matrix)
    assert not np.array_equal(found.matrix, random_projection(2000, 400, seed=2).matrix)
    signs = random_projection(3, 4, seed=0).matrix * 2
    assert ["".join("+" if one > 0 else "-" for one in row) for row in signs] == SIGNS


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "nothing to do"),
        ({"seed": 3}, "nothing to do"),
        ({"pool": "median"}, "--pool: "),
        ({"pca": 0}, "--pca: "),
        ({"pca": 2, "project": 2}, "exclude each other"),
        ({"layer": 2}, "go together"),
        ({"layers": 2}, "go together"),
        ({"layer": 2, "layers": 2}, "count from 0"),
        ({"dtype": "int8"}, "--dtype: "),
        ({"fit_splits": "x", "pca": 1}, "--fit-splits: "),
    ],
)
def test_an_impossible_chain_is_refused_by_the_name_of_the_flag(
    fields: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        Chain.create(**fields)


def test_a_chain_says_what_it_does_in_order() -> None:
    chain = Chain(dtype="float16", pca=4, pool="mean+std", resample="a", layer=0, layers=2)
    wanted = "layer=0/2,resample=a,pool=mean+std,pca=4,fit_split=train,dtype=float16"
    assert chain.encoder == f"derived:{wanted}"
    assert (chain.dim_before_projection(12), chain.dim(12)) == (12, 4)
    with pytest.raises(ConfigError, match="rows of 13 features are not 2 equal layers"):
        chain.dim(13)
    with pytest.raises(ConfigError, match="--pca: 4 components of rows that have 2 features"):
        chain.dim(2)
