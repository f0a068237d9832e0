"""A command that a signal ends: what is finished is stored, nothing else is left, and it goes on where it was."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
COUNT = 600  # takes seconds


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """Many short recordings."""
    folder = tmp_path_factory.mktemp("calls")
    noise = 0.1 * np.random.default_rng(0).standard_normal(8000)
    soundfile.write(folder / "0000.wav", noise * np.hanning(8000), 16000)
    for number in range(1, COUNT):
        os.link(folder / "0000.wav", folder / f"{number:04}.wav")
    return folder


@pytest.mark.parametrize(
    "signum",
    [
        signal.SIGTERM,
        signal.SIGKILL,
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_score(signum, calls, tmp_path, call):
    table = tmp_path / "scores.csv"
    words = ["score", str(calls), "--csv", str(table), "--batch_size=4"]
    with subprocess.Popen([sys.executable, "-m", "speechtools", *words], stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not table.exists() or table.stat().st_size < 2000:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signum)
        try:
            _, errors = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == (-signum if signum == signal.SIGKILL else 128 + signum)
    assert "Traceback" not in errors and os.listdir(tmp_path) == ["scores.csv"]
    rows = table.read_text().splitlines()[1:-1]
    assert 10 < len(rows) < COUNT - 10
    assert call(*words, "--resume")[0] == 0
    lines = table.read_text().splitlines()
    assert set(rows) < set(lines) and len(set(lines)) == len(lines) == COUNT + 1
