"""A run that signals interrupt at any moment, and that is started again, ends like an undisturbed one.

The moments and signals are drawn anew every time: ``python tests/stress.py --repeats 10`` with this file tries many.
"""

import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import runs

from tests.recipes.small import QUALITY, results

pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(sys.platform != "linux", reason="signals of POSIX, and forked loader processes"),
]

SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT]
#: Seconds until a run has begun a stage.
PATIENCE = 90


def start(folder, name):
    """Start a run in a process group of its own; its output goes to ``<name>.txt``."""
    arguments = QUALITY.arguments(folder / "run", folder / "prepared", "--ckpt_interval_steps=1")
    variables = {**os.environ, **runs.ALONE}
    output = str(folder / f"{name}.txt")
    process = runs.FORKS.Process(
        target=runs._work,
        args=("train.py", arguments, str(QUALITY.folder), variables, [output, output]),
        kwargs={"before": own_group},
    )
    process.start()
    return process


def own_group():
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process ignores it


def interrupt(folder, stage, to_all):
    """Start a run, send it a signal a moment after a stage has begun, and check how it ends; return what was done."""
    number, moment = random.choice(SIGNALS), random.uniform(0, 1)
    process = start(folder, "interrupted")
    deadline = time.monotonic() + PATIENCE
    while process.is_alive() and not any(folder.glob(stage)):
        assert time.monotonic() < deadline, "the stage does not begin"
        time.sleep(0.01)
    process.join(moment)
    how = f"{number.name} {moment:.2f} s after {stage}{' to all processes' if to_all else ''}"
    if process.is_alive():
        (os.killpg if to_all else os.kill)(process.pid, number)
    process.join(30)
    assert process.exitcode in (0, -number if number == signal.SIGKILL else 128 + number), how
    text = (folder / "interrupted.txt").read_text()
    assert "Traceback" not in text, f"{how}: {text[-3000:]}"
    if number != signal.SIGKILL:
        assert not [*folder.rglob("*.part"), *folder.rglob(".saving-*")], how
    return how


def finish(folder):
    process = start(folder, "finished")
    process.join(PATIENCE)
    process.kill()
    assert process.exitcode == 0, (folder / "finished.txt").read_text()[-3000:]


def outcome(run, prepared):
    """Results of a run, and its labels."""
    metrics = {key: value for key, value in results(run).items() if key in ("overall", "reached", "by_subset")}
    (manifest,) = Path(prepared).glob("quality-*/train.csv")
    return metrics, manifest.read_text()


def check_end(folder, undisturbed, how):
    run, prepared, _ = undisturbed
    assert outcome(folder / "run", folder / "prepared") == outcome(run, prepared), how
    assert QUALITY.same_weights(folder / "run", run), how


@pytest.mark.parametrize("stage", ["audio/*.wav", "labels.csv.journal"], ids=["mixing", "labelling"])
def test_an_interrupted_preparation_goes_on(trained, tmp_path, stage):
    undisturbed = trained(QUALITY)
    how = interrupt(tmp_path, f"prepared/*/{stage}", random.random() < 0.5)
    finish(tmp_path)
    check_end(tmp_path, undisturbed, how)


def test_an_interrupted_training_goes_on(trained, tmp_path):
    undisturbed = trained(QUALITY)
    shutil.copytree(undisturbed[1], tmp_path / "prepared")
    how = interrupt(tmp_path, "run/save/CKPT*", random.random() < 0.5)
    finish(tmp_path)
    check_end(tmp_path, undisturbed, how)
