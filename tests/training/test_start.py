"""The start of a run: its folder belongs to one process, and mistakes end it with one message."""

import fcntl
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import pytest
import runs

from speechtools import training
from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.training import options
from speechtools.training.command_line import parse

start = sys.modules["speechtools.training.start"]
ROOT = Path(__file__).parents[2]
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def yaml(tmp_path):
    (tmp_path / "run.yaml").write_text("seed: 1\noutput_folder: results\n")
    return tmp_path / "run.yaml"


def started(arguments, pipe):
    """Start a run and fork a loader process, whose number is sent; or send the message of the error."""
    try:
        for _ in range(2):  # one process may start its run again
            training.start(arguments)
    except ConfigError as error:
        pipe.send(str(error))
        return
    loader = FORK.Process(target=time.sleep, args=(20,))
    loader.start()
    pipe.send(loader.pid)
    time.sleep(20)


@pytest.fixture
def run(yaml):
    """``run(options)`` starts a run in its own process, and returns the process and what it sent."""
    processes = []

    def begin(*words):
        receiver, sender = FORK.Pipe()
        processes.append(FORK.Process(target=started, args=([str(yaml), *words], sender)))
        processes[-1].start()
        assert receiver.poll(60)
        return processes[-1], receiver.recv()

    yield begin
    for process in processes:
        process.kill()


def test_two_processes_do_not_train_in_one_folder(run, tmp_path):
    folder, other = (f"--output_folder={tmp_path / name}" for name in ("run", "other"))
    first, loader = run(folder)
    assert isinstance(loader, int)
    before = (tmp_path / "run" / "hyperparams.yaml").read_text()
    message = run(folder, "--seed=2")[1]
    assert f"pid {first.pid} on" in message and "--output_folder=" in message
    assert (tmp_path / "run" / "hyperparams.yaml").read_text() == before
    assert isinstance(run(other)[1], int), "another folder is free"
    # A killed run is continued at once, even if its loader still lives.
    first.kill()
    limit = time.monotonic() + 20
    while first.exitcode is None and time.monotonic() < limit:  # join also waits for the loader
        time.sleep(0.01)
    assert first.exitcode == -signal.SIGKILL
    os.kill(loader, 0)
    assert isinstance(run(folder)[1], int)


def test_a_file_system_without_locks_is_logged(tmp_path, monkeypatch, caplog):
    def without_locks(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    assert start.lock(tmp_path / "run") is None
    assert "Cannot lock" in caplog.text and "Function not implemented" in caplog.text


@pytest.mark.parametrize(
    "word, token",
    [
        ("--max_grad_norm=-1", "max_grad_norm"),
        ("--grad_accumulation_factor=0", "grad_accumulation_factor"),
        ("--output_folder=[a]", "output_folder"),
    ],
)
def test_values_that_speechbrain_would_accept(yaml, monkeypatch, word, token):
    monkeypatch.chdir(yaml.parent)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(ConfigError, match=token):
        training.start([str(yaml), word])
    assert not (yaml.parent / "results").exists()


#: Values that the toolkit's classes refuse while the yaml is built, so before any data is prepared.
REFUSED = [
    ("TIMIT/quality", "qnet.yaml", "seed", -1),
    ("TIMIT/quality", "qnet.yaml", "number_of_epochs", 0),
    ("TIMIT/quality", "qnet.yaml", "dropout", 2),
    ("TIMIT/quality", "qnet.yaml", "average_decay", 2),
    ("TIMIT/quality", "qnet.yaml", "quality_name", "blst"),
    ("TIMIT/enhancement", "blstm.yaml", "lr", -1),
    ("TI-SV/GE2E", "ge2e.yaml", "optimizer_name", "adam"),
    ("TI-SV/GE2E", "ge2e.yaml", "optimizer_name", "LBFGS"),
    ("keyword/GE2E", "multireader.yaml", "num_layers", "null"),
    ("TIMIT/quality", "qnet.yaml", "scale", "raw_n"),
    ("TIMIT/quality", "qnet.yaml", "optimizer_name", "RMSPro"),
    ("TIMIT/quality", "qnet.yaml", "corpus", "timi"),
    ("TIMIT/quality", "qnet.yaml", "batch_size", 0),
    ("TIMIT/quality", "qnet.yaml", "degradations", "[clippin]"),
    ("TIMIT/quality", "qnet.yaml", "labels", "corpus"),
    ("TIMIT/quality", "qnet.yaml", "num_test_utterances", 0),
    ("TIMIT/quality", "qnet.yaml", "lr", ".inf"),
    ("TIMIT/quality", "qnet.yaml", "noise_folder", "/nowhere/noises"),
    ("TIMIT/enhancement", "blstm.yaml", "scale", "foo"),
    ("TI-SV/GE2E", "ge2e.yaml", "corpus", "foldr"),
    ("TI-SV/GE2E", "ge2e.yaml", "max_frames", 100),
    ("TI-SV/GE2E", "ge2e.yaml", "min_seconds", -1),
    ("TI-SV/GE2E", "ge2e.yaml", "speakers_per_batch", 1),
    ("keyword/GE2E", "multireader.yaml", "heldout_share", 1.5),
]


@pytest.mark.parametrize("recipe, yaml, option, value", REFUSED)
def test_values_out_of_range_are_refused_before_anything_is_made(recipe, yaml, option, value, tmp_path, monkeypatch):
    path = ROOT / "recipes" / recipe / "hparams" / yaml
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPEECHTOOLS_CACHE", str(tmp_path / "cache"))
    with pytest.raises(SpeechtoolsError, match=f"{option}|{str(value).strip('-')}") as caught:
        options.check(parse([str(path), f"--{option}={value}"]))
    assert not list(tmp_path.iterdir())
    assert "\n" not in str(caught.value)


def test_the_message_stands_alone_on_the_screen(tmp_path):
    """No traceback, nothing twice, status 1; nothing is made."""
    command = [sys.executable, "train.py", "hparams/ge2e.yaml", f"--output_folder={tmp_path}/run", "--reduction=max"]
    done = runs.call(command, cwd=ROOT / "recipes/TI-SV/GE2E", env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "reduction" in done.stderr and done.stderr.count("\n") == 1
    assert "Traceback" not in done.stdout and "quirks" not in done.stdout and "torchvision" not in done.stdout
    assert not list(tmp_path.iterdir())
