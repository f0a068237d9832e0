"""`speechtools list`, `show` and `check`."""

import csv
import os

import pytest

import speechtools
from speechtools import cli
from speechtools.core import registry
from speechtools.core.errors import CorpusError
from speechtools.corpora.utterance import Utterance


def one_line(data_folder):
    """Utterances of one line.

    More about them.
    """
    raise CorpusError(f"{data_folder} is empty. Fill it.")


@pytest.fixture(autouse=True)
def plugins(monkeypatch):
    speechtools.available()  # imports everything before the copy
    monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))
    speechtools.plugin("corpus/one-line")(one_line)


def test_list_shows_every_plugin_under_its_kind(capsys):
    assert cli.main(["list"]) == 0
    output = capsys.readouterr().out
    words = [line.split()[0] for line in output.splitlines() if line.strip()]
    assert [word for word in words if word in speechtools.available()] == speechtools.available()
    assert [word for word in words if word in registry.kinds()] == registry.kinds()
    assert "\x1b" not in output


def test_list_of_a_kind_or_pattern_shows_contract_and_summaries(capsys):
    assert cli.main(["list", "corpus"]) == 0
    output = capsys.readouterr().out
    assert registry.contract("corpus").sentence in " ".join(output.split()) and "features/" not in output
    (line,) = (line for line in output.splitlines() if line.strip().startswith("corpus/one-line"))
    assert line.split(maxsplit=1)[1] == "Utterances of one line."
    assert cli.main(["list", "corpus/one*"]) == 0
    assert "corpus/timit" not in capsys.readouterr().out


def test_a_kind_without_a_contract(capsys):
    speechtools.plugin("toy/net")(one_line)
    assert cli.main(["list", "toy"]) == 0 and cli.main(["show", "toy/net"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["toy", "toy/net"]


def test_show_prints_signature_place_documentation_and_contract(capsys):
    assert cli.main(["show", "corpus/one-line"]) == 0
    output = capsys.readouterr().out
    assert output.startswith("corpus/one-line(data_folder)\n")
    assert f"{__file__}:{one_line.__code__.co_firstlineno}" in output
    assert "Utterances of one line.\n\nMore about them." in output
    contract = registry.contract("corpus")
    for sentence in (contract.sentence, *(law.sentence for law in contract.laws)):
        assert sentence in " ".join(output.split())


def test_check_prints_each_law_that_holds(capsys):
    assert cli.main(["check", "plugin", "corpus/one-line"]) == 0
    output = capsys.readouterr().out
    assert [line[4:] for line in output.splitlines() if line.startswith("ok  ")] == [
        law.sentence for law in registry.contract("corpus").laws[:3]
    ]
    assert "corpus/one-line keeps its contract (3 laws tested)" in output and "--data_folder=" in output


def test_check_ends_at_the_broken_law_with_status_1(capsys, tmp_path):
    def reader(data_folder):
        if not os.path.exists(data_folder) or not os.listdir(data_folder):
            raise CorpusError(f"{data_folder} is empty. Fill it.")
        return [Utterance("a", "", "train", tmp_path / "a.wav", 1.0)]

    (tmp_path / "a.wav").touch()
    speechtools.plugin("corpus/broken")(reader)
    assert cli.main(["check", "plugin", "corpus/broken", f"--data_folder={tmp_path}"]) == 1
    captured = capsys.readouterr()
    assert captured.out.count("ok  ") == 3 and "keeps its contract" not in captured.out
    assert captured.err.startswith("speechtools: corpus/broken (") and captured.err.count("\n") == 1


@pytest.fixture
def manifest(tmp_path):
    """A manifest of one speaker, whose audio is missing."""
    path = tmp_path / "train.csv"
    with open(path, "w", newline="") as stream:
        csv.writer(stream).writerows(
            [
                ["utt_id", "speaker", "path", "duration", "shard", "start", "samples"],
                ["a", "anna", "a.wav", "1.0", "a.npy", "-5", "16000"],
            ]
        )
    return path


def test_check_manifest_prints_a_line_for_each_problem(manifest, capsys):
    assert cli.main(["check", "manifest", str(manifest)]) == 1
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) > 1 and all(line.startswith(f"speechtools: {manifest}, row 2 (a)") for line in lines[:1])
    assert captured.out.endswith(f"{len(lines)} problems found\n")


def test_the_former_check_warns_and_works(manifest, tmp_path, capsys):
    (tmp_path / "recipe").mkdir()
    for arguments, kind, status in (
        (["corpus/one-line"], "plugin", 0),
        (["--data_folder", "/nowhere", "corpus/one-line"], "plugin", 1),
        ([str(manifest)], "manifest", 1),
        ([str(tmp_path / "recipe")], "recipe", 1),
    ):
        assert cli.main(["check", *arguments]) == status
        warning = capsys.readouterr().err.splitlines()[0]
        assert f"Use `speechtools check {kind} {arguments[-1]}`" in warning and "deprecated" in warning


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["list", "corpsu"], "Did you mean 'corpus'"),
        (["list", "corpus/one-lien"], "Did you mean 'corpus/one-line'"),
        (["show", "corpus/one-lien"], "Did you mean 'corpus/one-line'"),
        (["show", "one-line"], "'one-line'"),
        (["check", "plugin", "corpus/one-line", "--data_folder=/nowhere"], "/nowhere is empty"),
        (["check", "plugin", "features/magnitude", "--data_folder=x"], "data_folder='x'"),
        (["check", "plugin", "my_net.py"], "my_net.py is a module"),
        (["check", "manifest", "nowhere.csv"], "nowhere.csv"),
    ],
)
def test_a_mistake_is_one_message_and_status_1(capsys, arguments, message):
    assert cli.main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("speechtools: ") and error.count("\n") == 1 and message in error
