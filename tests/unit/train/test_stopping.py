"""The first signal is remembered, the second acts, and the handlers go back."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from scfae.train.stopping import SIGNALS, StopSignals


@pytest.mark.parametrize("signum", SIGNALS)
def test_the_first_signal_is_remembered(signum: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with StopSignals() as stop:
        assert stop.signum is None
        os.kill(os.getpid(), signum)
        assert stop.signum == signum
    assert [signal.getsignal(one) for one in SIGNALS] == before


@pytest.fixture
def ctrl_c_interrupts() -> Iterator[None]:
    """Python's own handler, which a shell takes away from what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_interrupts")
def test_the_second_ctrl_c_stops_at_once() -> None:
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signum == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_handlers_go_back_after_an_error() -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with contextlib.suppress(ZeroDivisionError), StopSignals():
        assert [signal.getsignal(one) for one in SIGNALS] != before
        raise ZeroDivisionError
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_another_thread_changes_no_handler() -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    seen: list[object] = []

    def enter() -> None:
        with StopSignals() as stop:
            seen.extend(signal.getsignal(one) for one in SIGNALS)
            seen.append(stop.signum)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [*before, None]
