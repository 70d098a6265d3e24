"""What was lost is said in seconds, by the place where it was lost."""

import pytest

from scfae.extract.losses import Losses


def account(promised_s: float | None = 2.0, container: str = "mov,mp4,m4a") -> Losses:
    return Losses.of(0.0, promised_s, container)


def test_nothing_lost_nothing_said() -> None:
    losses = account()
    losses.see(0.0, 1.0)
    losses.see(1.0, 2.0)
    assert losses.reason() == ""
    assert losses.span_s == (0.0, 2.0)


def test_the_start_is_what_lies_before_the_first_frame() -> None:
    losses = account()
    losses.hurt(0.04)
    losses.see(0.4, 2.0)
    assert losses.reason() == (
        "lost 0.40 s at the start; 1 damaged packets; 1.60 s of 2.00 s decoded"
    )


def test_the_middle_is_what_lies_between_frames_around_damage() -> None:
    losses = account()
    losses.see(0.0, 0.5)
    losses.hurt(0.1)
    losses.hurt(0.1)
    losses.see(0.75, 2.0)
    assert losses.reason() == (
        "lost 0.25 s in the middle; 2 damaged packets; 1.75 s of 2.00 s decoded"
    )


def test_a_gap_without_damage_is_no_loss() -> None:
    losses = account()
    losses.see(0.0, 0.5)
    losses.see(1.5, 2.0)
    assert losses.reason() == ""


def test_the_end_is_what_the_header_promised() -> None:
    losses = account()
    losses.see(0.0, 1.2)
    assert losses.reason() == "lost 0.80 s at the end; 1.20 s of 2.00 s decoded"


def test_a_broken_end_counts_from_the_first_packet() -> None:
    losses = account(None)
    losses.see(0.0, 1.9)
    losses.hurt(0.1)
    assert losses.reason() == "lost 0.10 s at the end; 1 damaged packets; 1.90 s decoded"


def test_a_container_that_breaks_off_says_so_where_nothing_else_is_known() -> None:
    losses = account(None)
    losses.see(0.0, 1.0)
    losses.breaks_off = True
    assert losses.reason() == "the file breaks off; 1.00 s decoded"


@pytest.mark.parametrize(
    ("container", "promised_s", "is_said"),
    [("mov,mp4", 100.0, True), ("mp3", 100.0, False), ("mp3", 200.0, True), ("wav", 1.0, False)],
)
def test_a_guessed_length_is_believed_less(
    container: str, promised_s: float, is_said: bool
) -> None:
    losses = account(promised_s, container)
    losses.see(0.0, {100.0: 98.0, 200.0: 180.0, 1.0: 0.6}[promised_s])
    assert bool(losses.reason()) == is_said


def test_made_up_pictures_are_damage() -> None:
    losses = account()
    losses.see(0.0, 1.0)
    losses.see(1.0, 1.25, is_flawed=True)
    losses.see(1.25, 2.0)
    assert losses.reason() == "0.25 s of it damaged; 2.00 s of 2.00 s decoded"
