"""How the tests run commands."""

import pytest

from speechtools import cli


@pytest.fixture
def call(capsys):
    """Run ``speechtools`` and return its exit status, output and errors."""
    return lambda *arguments: (cli.main([str(word) for word in arguments]), *capsys.readouterr())


@pytest.fixture
def refused(call):
    """Run ``speechtools``, which must fail with one message, and return that."""

    def run(*arguments):
        status, _, error = call(*arguments)
        assert status == 1 and error.startswith("speechtools: ") and error.count("\n") == 1, error
        return error

    return run
