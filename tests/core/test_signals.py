"""Signals become exceptions, in the main thread."""

import os
import signal
import threading
import time

import pytest

from speechtools.core.signals import ENDING, Terminated, raise_terminated


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("signum", ENDING)
def test_a_signal_is_raised_in_the_block_alone(signum):
    before = signal.getsignal(signum)
    with pytest.raises(Terminated) as raised, raise_terminated():
        os.kill(os.getpid(), signum)
        time.sleep(5)
    assert raised.value.signum == signum and signal.getsignal(signum) == before


def test_other_threads_and_ignored_signals_are_left_alone():
    def run():
        with raise_terminated():
            pass

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(timeout=10)
    before = signal.signal(ENDING[0], signal.SIG_IGN)
    try:
        with raise_terminated():
            assert signal.getsignal(ENDING[0]) == signal.SIG_IGN
    finally:
        signal.signal(ENDING[0], before)
