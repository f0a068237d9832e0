"""Laws of the command line: plain output, one message for each mistake, an exit status that tells."""

import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import runs

import speechtools
from speechtools import cli
from speechtools.core import contract as contracts
from speechtools.core import registry
from speechtools.core.errors import CorpusError
from speechtools.corpora.utterance import Utterance


def one_line(data_folder):
    """Utterances of one line.

    More about them.
    """
    raise CorpusError(f"{data_folder} holds nothing. Fill it.")


@pytest.fixture(autouse=True)
def parts(monkeypatch):
    speechtools.available()  # everything is imported before the copy, so that restoring loses nothing
    monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))
    speechtools.plugin("corpus/one-line")(one_line)


def run(*arguments):
    """The command in an interpreter of its own."""
    command = [sys.executable, "-m", "speechtools.cli", *arguments]
    return runs.call(command)


# ------------------------------------------------------------------------------------------------------ subcommands


def test_list_shows_every_part_under_its_kind(capsys):
    assert cli.main(["list"]) == 0
    output = capsys.readouterr().out
    lines = output.splitlines()
    kinds = sorted(registry.contracts())
    assert [line for line in lines if line in kinds] == kinds
    listed = [line.split()[0] for line in lines if "/" in line.strip().split(" ")[0]]
    assert listed == speechtools.available()
    assert "\x1b" not in output


def test_list_of_a_kind_shows_its_sentence_and_first_lines(capsys):
    assert cli.main(["list", "corpus"]) == 0
    output = capsys.readouterr().out
    assert contracts.contract("corpus").sentence in " ".join(output.split())
    (line,) = (line for line in output.splitlines() if line.strip().startswith("corpus/one-line"))
    assert line.split(maxsplit=1)[1] == "Utterances of one line."
    assert "features/" not in output


def test_list_takes_a_pattern(capsys):
    assert cli.main(["list", "corpus/one*"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if "corpus/" in line] == [
        "corpus/one-line"
    ]


def test_list_of_a_kind_without_a_contract(capsys):
    speechtools.plugin("toy/net")(one_line)
    assert cli.main(["list", "toy"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["toy", "toy/net"]


def test_show_tells_all_of_a_part(capsys):
    assert cli.main(["show", "corpus/one-line"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("corpus/one-line(data_folder)\n")
    assert f"{__file__}:{one_line.__code__.co_firstlineno}" in output
    assert "Utterances of one line.\n\nMore about them." in output
    flat = " ".join(output.split())
    assert contracts.contract("corpus").sentence in flat
    for law in contracts.contract("corpus").laws:
        assert law.sentence in flat


def test_check_prints_each_law_that_holds(capsys):
    assert cli.main(["check", "corpus/one-line"]) == 0
    output = capsys.readouterr().out
    passed = [line for line in output.splitlines() if line.startswith("ok  ")]
    assert passed == [f"ok  {law.sentence}" for law in contracts.contract("corpus").laws[:3]]
    assert "corpus/one-line keeps its contract (3 laws tested)" in output
    assert "Give --data_folder=" in output


def test_check_ends_at_the_broken_law_with_status_1(capsys, tmp_path):
    def reader(data_folder):
        if not os.path.exists(data_folder) or not os.listdir(data_folder):
            raise CorpusError(f"{data_folder} holds nothing. Fill it.")
        return [Utterance("a", "", "train", tmp_path / "a.wav", 1.0)]

    (tmp_path / "a.wav").touch()
    speechtools.plugin("corpus/broken")(reader)
    assert cli.main(["check", "corpus/broken", f"--data_folder={tmp_path}"]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("ok  ") == 3 and "keeps its contract" not in captured.out
    assert captured.err.startswith("speechtools: corpus/broken (")
    assert "has speaker=''" in captured.err and captured.err.count("\n") == 1


# --------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["list", "corpsu"], "'corpsu'. Did you mean 'corpus'"),
        (["list", "corpus/one-lien"], "No plugin matches 'corpus/one-lien'. Did you mean 'corpus/one-line'"),
        (["show", "corpus/one-lien"], "'corpus/one-lien'. Did you mean 'corpus/one-line'"),
        (["show", "one-line"], "'one-line'. Write kind/name"),
        (["check", "corpus/one-lien"], "Did you mean 'corpus/one-line'"),
        (["check", "corpus/one-line", "--data_folder=/nowhere"], "could not be tested: /nowhere holds nothing"),
        (["check", "features/magnitude", "--data_folder=x"], "reads no folder"),
    ],
)
def test_a_mistake_is_one_message_and_status_1(capsys, arguments, said):
    assert cli.main(arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("speechtools: ") and captured.err.count("\n") == 1
    assert said in captured.err
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["lits"], "invalid choice: 'lits'.*Did you mean 'list'?"),
        (["chek", "corpus/timit"], "Did you mean 'check'?"),
        (["xyzzy"], "invalid choice: 'xyzzy'"),
        (
            ["check", "corpus/timit", "--data-folder=x"],
            "unrecognized arguments: --data-folder=x. Did you mean '--data_folder'?",
        ),
        (["check", "corpus/timit", "--zzz=x"], "unrecognized arguments: --zzz=x"),
        (["show"], "the following arguments are required: kind/name"),
    ],
)
def test_a_misspelt_command_line_gets_usage_and_the_nearest_spelling(capsys, arguments, said):
    with pytest.raises(SystemExit, match="2"):
        cli.main(arguments)
    error = capsys.readouterr().err
    assert error.startswith("usage: speechtools")
    for piece in said.split(".*"):
        assert piece in error
    if "Did you mean" not in said:
        assert "Did you mean" not in error


def test_alone_it_prints_the_help(capsys):
    assert cli.main([]) == 0
    output = capsys.readouterr().out
    for command in ("list", "show", "check"):
        assert f"\n    {command} " in output


def test_version(capsys):
    with pytest.raises(SystemExit, match="0"):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"speechtools {speechtools.__version__}\n"


def raising(error):
    def raise_it(*arguments):
        raise error

    return raise_it


def test_an_interrupt_is_status_130(capsys, monkeypatch):
    monkeypatch.setattr(registry, "available", raising(KeyboardInterrupt()))
    assert cli.main(["list"]) == 130
    assert capsys.readouterr().err == "speechtools: interrupted.\n"


def test_a_full_disk_is_one_message(capsys, monkeypatch):
    monkeypatch.setattr(registry, "available", raising(OSError(28, "No space left on device", "scores.csv")))
    assert cli.main(["list"]) == 1
    error = capsys.readouterr().err
    assert "No space left on device: 'scores.csv'" in error and error.count("\n") == 1


def test_a_mistake_of_the_program_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(registry, "available", raising(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        cli.main(["list"])


# ------------------------------------------------------------------------------------------------- as a real command


def test_the_console_script_is_this_function():
    (script,) = entry_points(group="console_scripts", name="speechtools")
    assert script.load() is cli.main


def test_a_reader_that_closes_early_is_no_error():
    command = [sys.executable, "-m", "speechtools.cli", "list", "corpus"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        error = process.stderr.read()
    assert "Traceback" not in error and "BrokenPipe" not in error


def test_the_bundled_recording_has_the_score_that_the_readme_shows(capsys):
    assert cli.main(["score", "--sample"]) == 0
    score, path = capsys.readouterr().out.split()
    assert path == str(speechtools.SAMPLE)
    assert f"speechtools score --sample     # {score}:" in (Path(__file__).parents[2] / "README.md").read_text()
