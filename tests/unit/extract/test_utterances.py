"""Pieces of sound for WavLM: exact lengths, rows on one grid, nothing lost and nothing twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scfae.extract.recipe import AudioChunk, StreamInfo, Window
from scfae.extract.utterances import UtteranceRecipe, UtteranceWindows, count_rows

RATE_HZ = 16_000


def cut(samples: int, rows: int, chunk: int = 1024, start_s: float = 0.0) -> list[Window]:
    """Return the pieces of sound whose sample i is i."""
    cutter = UtteranceWindows(rows)
    sound = np.arange(samples, dtype=np.float32)
    windows = []
    for at in range(0, samples, chunk):
        part = sound[at : at + chunk]
        windows += cutter.push(AudioChunk(part, start_s + at / RATE_HZ))
    return windows + cutter.end()


@pytest.mark.parametrize(
    ("samples", "rows"),
    [(0, 0), (399, 0), (400, 1), (719, 1), (720, 2), (16_000, 49), (320_080, 1000)],
)
def test_rows_are_those_of_the_convolutions(samples: int, rows: int) -> None:
    length = samples
    for kernel, stride in [(10, 5), *[(3, 2)] * 4, *[(2, 2)] * 2]:
        length = max(0, (length - kernel) // stride + 1)
    assert count_rows(samples) == length == rows


@pytest.mark.parametrize("samples", [400, 5_000, 16_000, 16_399])
def test_short_sound_is_one_piece_of_all_its_samples(samples: int) -> None:
    (window,) = cut(samples, rows=50)
    assert np.array_equal(window.array, np.arange(samples))
    assert len(window.times) == count_rows(samples)
    assert window.skip == 0


def test_too_little_sound_gives_nothing() -> None:
    assert cut(399, rows=50) == []
    assert UtteranceWindows(50).end() == []


def test_long_sound_goes_on_row_by_row() -> None:
    windows = cut(40_000, rows=50)  # 124 rows: 50, 50, and 24 of a piece that reaches back
    assert [(int(w.array[0]), len(w.array), w.skip, len(w.times)) for w in windows] == [
        (0, 16_080, 0, 50),
        (16_000, 16_080, 0, 50),
        (74 * 320, 16_080, 26, 24),
    ]


def test_times_are_on_the_medias_clock() -> None:
    windows = cut(40_000, rows=50, start_s=7.25)
    times = np.concatenate([w.times for w in windows])
    np.testing.assert_allclose(times[:, 0], 7.25 + 0.02 * np.arange(124), atol=1e-9)
    np.testing.assert_allclose(times[:, 1], times[:, 0] + 0.02, atol=1e-9)


@settings(deadline=None)
@given(samples=st.integers(1, 60_000), rows=st.integers(1, 60), chunk=st.integers(1, 30_000))
def test_every_row_comes_once_from_its_own_samples(samples: int, rows: int, chunk: int) -> None:
    windows = cut(samples, rows, max(chunk, samples // 50 + 1))
    found = []
    for window in windows:
        numbers = np.arange(count_rows(len(window.array)))[window.kept]
        assert len(numbers) == len(window.times)
        found += [int(window.array[0]) // 320 + int(n) for n in numbers]
        assert int(window.array[0]) % 320 == 0
        assert np.array_equal(window.array, window.array[0] + np.arange(len(window.array)))
    assert found == list(range(count_rows(samples)))
    if len(windows) > 1:
        assert {len(w.array) for w in windows} == {(rows - 1) * 320 + 400}


def test_what_is_held_does_not_grow_with_the_sound() -> None:
    cutter = UtteranceWindows(50)
    for at in range(200):
        cutter.push(AudioChunk(np.zeros(4_096, dtype=np.float32), at * 0.256))
        assert sum(map(len, cutter._held)) <= 2 * 16_080 + 4_096


def test_the_recipe_begins_a_cutter_of_its_rows() -> None:
    recipe = UtteranceRecipe(1000)
    cutter = recipe.begin(StreamInfo("audio", sample_rate_hz=RATE_HZ))
    assert cutter._length == 320_080
    assert (recipe.kind, recipe.sample_rate_hz) == ("audio", RATE_HZ)
