"""Times of frames and of sound: their own where they have one, never running back."""

import itertools

import pytest

from scfae.extract.clock import PictureClock, SoundClock

FRAME_S = 0.04


def shown(
    times_s: list[float | None],
    *,
    promised_end_s: float | None = None,
    length_s: float | None = None,
) -> list[float]:
    """Return the start of each frame, in the order of the frames."""
    clock: PictureClock[int] = PictureClock(FRAME_S, promised_end_s)
    placed = [one for k, t in enumerate(times_s) for one in clock.push(k, t, length_s)]
    placed += clock.flush()
    assert [number for number, _, _ in placed] == list(range(len(times_s)))
    starts = [start for _, start, _ in placed]
    assert all(a < b for a, b in itertools.pairwise(starts))
    return starts


def heard(times_s: list[float | None], length_s: float = 0.5, **options: bool) -> list[float]:
    clock = SoundClock()
    is_hurt = options.get("is_hurt", False)
    return [clock.place(t, length_s, is_hurt=is_hurt) for t in times_s]


def test_frames_keep_their_own_times_at_any_rate() -> None:
    assert shown([0.5, 0.54, 3.0, 3.04]) == [0.5, 0.54, 3.0, 3.04]


def test_frames_before_the_first_time_lie_before_it() -> None:
    assert shown([None, None, 0.1]) == pytest.approx([0.02, 0.06, 0.1])
    assert shown([None, 0.0], length_s=0.5) == [-0.5, 0.0]


def test_no_times_at_all_count_from_zero() -> None:
    assert shown([None] * 20) == pytest.approx([k * FRAME_S for k in range(20)])
    assert shown([None]) == [0.0]


def test_a_frame_without_a_time_follows_and_does_not_move_the_next() -> None:
    assert shown([0.0, None, 0.05, 0.09]) == pytest.approx([0.0, 0.04, 0.05, 0.09])
    assert shown([0.0, None, 0.03, 1.0])[-1] == 1.0


def test_time_that_runs_back_goes_on_from_the_last() -> None:
    assert shown([5.0, 5.04, 1.0, 1.1, 1.2]) == pytest.approx([5.0, 5.04, 5.08, 5.18, 5.28])


def test_two_frames_of_one_time_are_not_a_jump() -> None:
    assert shown([0.0, 0.04, 0.04, 0.08, 0.12]) == pytest.approx([0.0, 0.04, 0.041, 0.08, 0.12])


def test_a_leap_within_the_promise_is_believed_and_one_beyond_is_not() -> None:
    assert shown([0.0, 50.0], promised_end_s=60.0) == [0.0, 50.0]
    assert shown([0.0, 95_443.0, 95_443.1], promised_end_s=60.0) == pytest.approx([0.0, 0.04, 0.14])
    assert shown([0.0, 500.0]) == [0.0, 500.0]
    assert shown([0.0, 700.0]) == pytest.approx([0.0, 0.04])


def test_sound_is_counted_through_rounded_times() -> None:
    assert heard([0.025, 0.524, 1.027]) == pytest.approx([0.025, 0.525, 1.025])


def test_sound_that_stops_goes_on_at_its_own_time() -> None:
    assert heard([0.0, 0.75, 1.25]) == pytest.approx([0.0, 0.75, 1.25])


def test_after_damage_a_short_hole_counts_too() -> None:
    assert heard([0.0, 0.55]) == pytest.approx([0.0, 0.5])
    assert heard([0.0, 0.55], is_hurt=True) == pytest.approx([0.0, 0.55])


def test_sound_without_times_is_counted() -> None:
    assert heard([None, None, 1.0]) == pytest.approx([0.0, 0.5, 1.0])
    assert heard([2.0, None, None]) == pytest.approx([2.0, 2.5, 3.0])


def test_sound_that_runs_back_goes_on_from_the_last() -> None:
    assert heard([5.0, 5.5, 0.0, 0.5, 2.0]) == pytest.approx([5.0, 5.5, 6.0, 6.5, 8.0])
