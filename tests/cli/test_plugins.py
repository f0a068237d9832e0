"""`speechtools list`, `show` and `check`."""

import pytest

import speechtools
from speechtools.core import registry
from speechtools.core.errors import CorpusError


def one_line(data_folder):
    """Utterances of one line.

    More about them.
    """
    raise CorpusError(f"{data_folder} is empty. Fill it.")


@pytest.fixture(autouse=True)
def plugins(registry_restored):
    speechtools.plugin("corpus/one-line")(one_line)


def test_list_shows_every_plugin_under_its_kind(call):
    status, output, _ = call("list")
    words = [line.split()[0] for line in output.splitlines() if line.strip()]
    assert status == 0 and [word for word in words if word in speechtools.available()] == speechtools.available()
    assert [word for word in words if word in registry.kinds()] == registry.kinds()


def test_list_of_a_kind_or_pattern_shows_contract_and_summaries(call):
    _, output, _ = call("list", "corpus")
    assert registry.contract("corpus").sentence in " ".join(output.split()) and "features/" not in output
    assert any(line.split(maxsplit=1) == ["corpus/one-line", "Utterances of one line."] for line in output.split("\n"))
    assert "corpus/timit" not in call("list", "corpus/one*")[1]
    speechtools.plugin("toy/net")(one_line)  # of a kind without a contract
    assert call("list", "toy")[1].split()[:2] == ["toy", "toy/net"] and call("show", "toy/net")[0] == 0


def test_show_prints_signature_place_documentation_and_contract(call):
    _, output, _ = call("show", "corpus/one-line")
    assert output.startswith("corpus/one-line(data_folder)\n")
    assert f"{__file__}:{one_line.__code__.co_firstlineno}" in output
    assert "Utterances of one line.\n\nMore about them." in output
    for contract in (registry.contract("corpus"), *registry.contract("corpus").laws):
        assert contract.sentence in " ".join(output.split())


def test_show_of_a_kind_names_list(call):
    status, _, error = call("show", "encoder")
    assert status == 1 and "speechtools list encoder" in error


def test_check_prints_each_law_that_holds(call):
    status, output, _ = call("check", "plugin", "corpus/one-line")
    passed = [line[4:] for line in output.splitlines() if line.startswith("ok  ")]
    laws = [law.sentence for law in registry.contract("corpus").laws]
    assert status == 0 and 0 < len(passed) < len(laws) and passed == laws[: len(passed)]
    assert f"corpus/one-line keeps its contract ({len(passed)} laws tested)" in output and "--data_folder=" in output


@pytest.fixture
def manifest(tmp_path):
    """A manifest of one speaker, whose audio is missing."""
    path = tmp_path / "train.csv"
    path.write_text("utt_id,speaker,path,duration,shard,start,samples\na,anna,a.wav,1.0,a.npy,-5,16000\n")
    return path


def test_check_manifest_prints_a_line_for_each_problem(manifest, call):
    status, output, errors = call("check", "manifest", manifest)
    lines = errors.splitlines()
    assert status == 1 and len(lines) > 1 and lines[0].startswith(f"speechtools: {manifest}, row 2 (a)")
    assert output.endswith(f"{len(lines)} problems found\n")


def test_the_former_check_warns_and_works(manifest, tmp_path, call):
    for arguments, kind, expected in (
        (["--data_folder", "/nowhere", "corpus/one-line"], "plugin", 1),
        ([manifest], "manifest", 1),
        ([tmp_path], "recipe", 1),
    ):
        status, _, errors = call("check", *arguments)
        warning = errors.splitlines()[0]
        assert status == expected and f"Use `speechtools check {kind} {arguments[-1]}`" in warning


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("list corpus/one-lien", "Did you mean 'corpus/one-line'"),
        ("show one-line", "'one-line'"),
        ("check plugin corpus/one-line --data_folder=/nowhere", "/nowhere is empty"),
        ("check plugin features/magnitude --data_folder=x", "data_folder='x'"),
        ("check plugin my_net.py", "my_net.py is a module"),
        ("check manifest nowhere.csv", "nowhere.csv"),
    ],
)
def test_a_mistake_is_one_message_and_status_1(refused, command, message):
    assert message in refused(*command.split())
