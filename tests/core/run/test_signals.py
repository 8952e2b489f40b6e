"""Signals interrupt what may be interrupted, once, and are given back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from cal_pipeline.core.run.signals import Terminated, check_interruption, exposed, interruptible, shielded


@pytest.fixture
def handlers():
    """Handlers as in a fresh Python; checks that they are restored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_interrupts(handlers, number, error):
    with pytest.raises(KeyboardInterrupt) as caught, interruptible():
        signal.raise_signal(number)
    assert caught.type is error


def test_a_shielded_block_is_completed_before_the_interruption(handlers):
    done = []

    @interruptible()
    def work():
        with shielded():
            signal.raise_signal(signal.SIGINT)
            done.append("shielded")
        done.append("never")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["shielded"]


def test_cleaning_up_is_not_interrupted_again(handlers):
    done = []

    @interruptible()
    @shielded()
    def work():
        try:
            with exposed():
                signal.raise_signal(signal.SIGTERM)
        finally:
            with shielded():
                done.append("clean")
            done.append("all")

    with pytest.raises(Terminated):
        work()
    assert done == ["clean", "all"]


def test_an_interruption_that_a_finaliser_has_lost_is_raised_again(handlers):
    @interruptible()
    def work():
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        check_interruption()

    with pytest.raises(KeyboardInterrupt):
        work()


def test_the_second_signal_does_what_it_did_before(handlers):
    done = []

    @interruptible()
    @shielded()
    def work():
        signal.raise_signal(signal.SIGINT)
        done.append("first")
        signal.raise_signal(signal.SIGINT)
        done.append("second")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["first"]


def test_a_signal_that_comes_too_late_is_passed_on(handlers):
    with pytest.raises(KeyboardInterrupt), interruptible(), shielded():
        signal.raise_signal(signal.SIGINT)


def test_ignored_signals_stay_ignored(handlers):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruptible():
        signal.raise_signal(signal.SIGINT)
        check_interruption()
    assert signal.signal(signal.SIGINT, signal.default_int_handler) == signal.SIG_IGN


def test_a_thread_of_a_host_program_is_left_alone(handlers):
    found = []

    def work():
        with interruptible(), shielded(), exposed():
            check_interruption()
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [signal.SIG_DFL]


def test_blocks_of_one_command_share_the_handlers(handlers):
    found = []

    @interruptible()
    def work():
        found.append(signal.getsignal(signal.SIGTERM))
        with interruptible():
            found.append(signal.getsignal(signal.SIGTERM))
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Terminated):
        work()
    assert found[0] == found[1]


_ENDS_AT_ONCE = """
import signal, time
from cal_pipeline.core.run.signals import interruptible, shielded
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with interruptible(at_once=True), shielded():
        signal.raise_signal(signal.{first})
        print("still here", flush=True)
        signal.raise_signal(signal.{second})
        print("never")
finally:
    print("never")
"""


@pytest.mark.parametrize(("first", "second", "status"), [("SIGINT", "SIGINT", 130), ("SIGTERM", "SIGTERM", 143)])
def test_a_second_signal_ends_a_command_at_once(first, second, status):
    code = _ENDS_AT_ONCE.format(first=first, second=second)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (status, "still here\n", "")
