"""Signals become exceptions, in the main thread."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

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


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_during_the_import_of_torch_ends_the_process_with_a_message(tmp_path, name, status):
    """An exception in torch's C++ code would abort it."""
    (tmp_path / "torch.py").write_text(f"import os, signal, time\nos.kill(os.getpid(), signal.{name})\ntime.sleep(9)")
    program = "from speechtools.core.signals import raise_terminated\nwith raise_terminated(): import torch"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == status and done.stderr.startswith("speechtools: ") and done.stderr.count("\n") == 1
