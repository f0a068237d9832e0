"""Laws of the command line: usage errors, error messages and exit statuses."""

import os
import shlex
import subprocess
import sys
from importlib.metadata import entry_points
from unittest import mock

import pytest

import speechtools
from speechtools import cli
from speechtools.core import registry


def test_no_arguments_print_the_help(call):
    status, output, _ = call()
    assert status == 0
    for command in ("score", "enhance", "embed", "enroll", "verify", "list", "show", "check", "new"):
        assert f"\n  {command} " in output
    assert call("--version")[1] == f"speechtools {speechtools.__version__}\n"


def test_help_is_fast():
    """Neither it nor the parsing of a command imports torch."""
    program = "import sys, speechtools.cli as cli; cli.main(['score', '--help']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("lits", "Did you mean 'list'?"),
        ("check plugn corpus/timit", "Did you mean 'plugin'?"),
        ("check plugin corpus/timit --data-fodler=x", "Did you mean '--data_folder'?"),
        ("show", "Missing argument 'KIND/NAME'"),
    ],
)
def test_wrong_usage_is_status_2_and_names_the_nearest_spelling(call, command, message):
    status, _, errors = call(*command.split())
    usage, error = errors.splitlines()
    assert status == 2 and usage.startswith("Usage: speechtools") and error.startswith("speechtools: ")
    assert message in error


def test_an_error_is_one_message_unless_it_is_a_bug(call, monkeypatch):
    list_names = mock.Mock()
    monkeypatch.setattr(registry, "available", list_names)
    for error, status, message in (
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "scores.csv"), 1, "No space left on device: 'scores.csv'"),
    ):
        list_names.side_effect = error
        code, _, errors = call("list")
        (line,) = errors.strip().splitlines()
        assert code == status and line.startswith("speechtools: ") and message in line
    list_names.side_effect = ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        call("list")


def test_the_console_script_is_this_function():
    (script,) = entry_points(group="console_scripts", name="speechtools")
    assert script.load() is cli.main


@pytest.mark.parametrize("module", ["speechtools", "speechtools.cli"])
def test_python_m(module):
    command = [sys.executable, "-m", module, "--version"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout == f"speechtools {speechtools.__version__}\n"


def test_an_ascii_terminal_and_closed_streams():
    command = [sys.executable, "-m", "speechtools", "score", "--sample", "--model=\N{LATIN SMALL LETTER E WITH ACUTE}"]
    environment = os.environ | {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 1 and "The folder \\" in done.stderr and "Traceback" not in done.stderr
    if os.name == "posix":
        command = f"{shlex.join([sys.executable, '-m', 'speechtools', 'list', 'corpus'])} >&- 2>&-"
        assert subprocess.run(command, shell=True, timeout=60).returncode == 0


def test_a_reader_that_exits_early_is_no_error():
    command = [sys.executable, "-m", "speechtools.cli", "list", "corpus"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        error = process.stderr.read()
    assert "Traceback" not in error and "BrokenPipe" not in error


@pytest.mark.skipif(os.name != "posix", reason="elsewhere, a current folder cannot be removed")
def test_a_current_folder_that_was_deleted(tmp_path):
    program = (
        "import os, speechtools.cli as cli; os.rmdir(os.getcwd()); raise SystemExit(cli.main(['score', '--sample']))"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and "deleted" in result.stderr and "Traceback" not in result.stderr
