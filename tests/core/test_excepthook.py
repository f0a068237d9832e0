"""Uncaught errors of the toolkit are printed as one message."""

import re
import sys

import pytest

from speechtools.core.errors import ConfigError, CorpusError
from speechtools.core.excepthook import show_messages_only
from speechtools.core.signals import Terminated


@pytest.fixture
def hook(monkeypatch):
    """Call the hook with an error; returns the errors that it passes on."""
    passed_on = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, traceback: passed_on.append(error))
    show_messages_only(ValueError, OSError, RuntimeError, MemoryError, KeyboardInterrupt)
    return lambda error: sys.excepthook(type(error), error, None) or passed_on


def test_errors_of_the_toolkit_and_the_system_are_one_message(hook, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    for error, message in (
        (ConfigError("Too few."), "error: Too few.\n"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (CorpusError("Caught.\nOriginal Traceback (most recent call last):\nCorpusError: Gone."), "error: Gone.\n"),
        (RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "), "(pid 12) was killed.*memory.*"),
        (RuntimeError("DataLoader worker (pid(s) 1, 2) exited unexpectedly"), "(pid 1, 2).*memory.*--num_workers"),
        (RuntimeError("DataLoader worker (pid 3) is killed by signal: Bus error. It is possible"), "/dev/shm"),
        (MemoryError(), "Memory ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "Memory ran out.*batches"),
        (RuntimeError("Connection closed by peer"), "Process 1 lost the connection"),
    ):
        assert hook(error) == []
        text = capsys.readouterr().err
        assert re.search(re.escape(message).replace(r"\.\*", ".*"), text) and "Traceback" not in text


@pytest.mark.parametrize(
    "error, name, status",
    [(KeyboardInterrupt(), "interrupted", 130), (Terminated(15), "SIGTERM", 143), (Terminated(1), "SIGHUP", 129)],
)
def test_an_interruption_is_one_line_and_a_status(hook, capsys, error, name, status):
    with pytest.raises(SystemExit) as ended:
        hook(error)
    text = capsys.readouterr().err
    assert ended.value.code == status and name in text and "start again" in text and text.count("\n") == 1


def test_other_errors_are_passed_on(hook, capsys):
    errors = [KeyError("x"), RuntimeError("CUDA error"), ValueError("of somebody else")]
    assert all(error in hook(error) for error in errors) and capsys.readouterr().err == ""
