"""Uncaught errors of the toolkit are printed as one message."""

import sys

import pytest

from speechtools.core.errors import ConfigError, CorpusError
from speechtools.core.excepthook import show_messages_only


@pytest.fixture
def hook(monkeypatch):
    """Call the hook with an error; returns the errors that it passes on."""
    passed_on = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, traceback: passed_on.append(error))
    show_messages_only(ValueError, OSError, RuntimeError)
    return lambda error: sys.excepthook(type(error), error, None) or passed_on


def test_errors_of_the_toolkit_and_the_system_are_one_message(hook, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    for error, message in (
        (ConfigError("Too few."), "error: Too few.\n"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (CorpusError("Caught.\nOriginal Traceback (most recent call last):\nCorpusError: Gone."), "error: Gone.\n"),
        (RuntimeError("Connection closed by peer"), "Process 1 lost the connection"),
    ):
        assert hook(error) == []
        text = capsys.readouterr().err
        assert message in text and "Traceback" not in text


def test_other_errors_are_passed_on(hook, capsys):
    errors = [KeyError("x"), RuntimeError("CUDA error"), ValueError("of somebody else")]
    assert all(error in hook(error) for error in errors) and capsys.readouterr().err == ""
