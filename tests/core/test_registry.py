"""One name for one plugin; mistakes get the nearest spelling; other packages cannot do harm."""

import importlib
import json
import re
import sys
import textwrap
import warnings
from importlib.metadata import distributions
from pathlib import Path

import pytest
import runs

import speechtools
from speechtools.core import registry
from speechtools.core.errors import PluginError


@pytest.fixture(autouse=True)
def registry_restored(monkeypatch):
    speechtools.available()  # everything is imported before the copy, so that restoring loses nothing
    monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))
    monkeypatch.setattr(registry, "_contracts", dict(registry._contracts))


def net(input_size, hidden_size=100):
    return input_size, hidden_size


def other_net(input_size):
    return input_size


# ---- plugin and find


def test_a_plugin_is_returned_unchanged_and_found():
    assert speechtools.plugin("toy/net")(net) is net
    assert speechtools.find("toy/net") is net
    assert speechtools.available("toy") == ["toy/net"]
    assert "toy/net" in speechtools.available()
    assert "toy" in registry.kinds()


@pytest.mark.parametrize("name", ["net", "toy/", "/net", "Toy/net", "toy/net_2", "toy/net/2", "toy net", "", 7, None])
def test_a_malformed_name_is_an_error(name):
    with pytest.raises(PluginError, match="Invalid plugin name .* Write kind/name"):
        speechtools.plugin(name)


def test_one_name_cannot_have_two_plugins():
    speechtools.plugin("toy/net")(net)
    with pytest.raises(PluginError, match="'toy/net' is taken") as caught:
        speechtools.plugin("toy/net")(other_net)
    for target in (net, other_net):
        assert f"{Path(__file__).name}:{target.__code__.co_firstlineno}" in str(caught.value)
    assert speechtools.find("toy/net") is net


def test_a_module_may_be_imported_again(tmp_path, monkeypatch):
    (tmp_path / "toy_again.py").write_text(
        "from speechtools import plugin\n\n\n@plugin('toy/again')\ndef again():\n    return 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("toy_again")
    first = speechtools.find("toy/again")
    module = importlib.reload(module)
    assert speechtools.find("toy/again") is module.again is not first


def test_names_are_sorted_and_matched_by_pattern():
    for name in ("toy/lstm-big", "toy/conv", "toy/lstm"):
        speechtools.plugin(name)(net)
    assert speechtools.available("toy") == ["toy/conv", "toy/lstm", "toy/lstm-big"]
    assert speechtools.available("toy/*lstm*") == ["toy/lstm", "toy/lstm-big"]
    assert speechtools.available("toy/nothing") == []


def test_former_kinds_work_with_a_warning():
    with pytest.warns(DeprecationWarning, match="'loss/te2e' is now 'speaker-loss/te2e'"):
        assert speechtools.find("loss/te2e") is speechtools.find("speaker-loss/te2e")
    with pytest.warns(DeprecationWarning, match="speaker-loss"):
        assert speechtools.available("loss/te*") == ["speaker-loss/te2e"]
    with pytest.warns(DeprecationWarning, match="speaker-loss"):
        assert type(speechtools.build("loss/te2e")) is speechtools.find("speaker-loss/te2e")
    with pytest.warns(DeprecationWarning, match="speaker-loss"):
        speechtools.plugin("loss/mine")(net)
    assert speechtools.find("speaker-loss/mine") is net


# ---- mistakes


def test_a_misspelt_name_gets_the_nearest_and_the_list():
    speechtools.plugin("toy/lstmp")(net)
    with pytest.raises(PluginError, match="'toy/lstpm'. Did you mean 'toy/lstmp'.* 'toy': toy/lstmp"):
        speechtools.build("toy/lstpm", input_size=1)


def test_a_misspelt_kind_gets_the_nearest():
    with pytest.raises(PluginError, match="Unknown kind 'corpsu'. Did you mean 'corpus'"):
        speechtools.find("corpsu/timit")


@pytest.mark.parametrize("name", ["magnitude", None])
def test_a_name_without_a_kind_is_an_error(name):
    with pytest.raises(PluginError, match="Write kind/name, .* Kinds: corpus, "):
        speechtools.find(name)


def test_wrong_arguments_are_named_with_the_signature():
    speechtools.plugin("toy/net")(net)
    signature = re.escape("toy/net(input_size, hidden_size=100)")
    with pytest.raises(PluginError, match=f"'hiden_size'. Did you mean 'hidden_size'.*{signature}"):
        speechtools.build("toy/net", input_size=40, hiden_size=10)
    with pytest.raises(PluginError, match=f"'input_size'.*{signature}"):
        speechtools.build("toy/net", hidden_size=3)


def test_build_passes_its_arguments_on():
    speechtools.plugin("toy/net")(net)
    assert speechtools.build("toy/net", input_size=40, hidden_size=3) == (40, 3)
    assert speechtools.build(plugin="toy/net", input_size=1) == (1, 100)  # as a yaml spells it


def test_what_is_offered_reaches_the_plugin_only_where_it_has_such_a_parameter():
    speechtools.plugin("toy/net")(net)
    assert speechtools.build("toy/net", offered={"input_size": 2, "n_fft": 256}) == (2, 100)
    assert speechtools.build("toy/net", offered={"input_size": 2}, input_size=3) == (3, 100)


def test_an_error_within_a_plugin_has_its_place():
    @speechtools.plugin("features/stumbling")
    class Stumbling:
        def __init__(self):
            int("x")

    line = Stumbling.__init__.__code__.co_firstlineno + 1
    with pytest.raises(PluginError, match=rf"invalid literal .*\({__file__}:{line}\)"):
        speechtools.build("features/stumbling")


# ---- packages of other people


def make_distribution(folder: Path, name: str, source: str) -> None:
    """A package as pip installs it: a module, and a .dist-info folder with its entry point."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text("from speechtools import plugin\n" + textwrap.dedent(source))
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[speechtools.plugins]\n{module} = {module}\n")


def run_python(folder: Path, code: str) -> dict:
    """Run ``code``, which fills the dictionary ``seen``, in a new interpreter that sees the packages in ``folder``."""
    program = f"""
import json, sys, warnings
sys.path.insert(0, {str(folder)!r})
seen = {{}}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
{textwrap.indent(textwrap.dedent(code), "    ")}
seen["warnings"] = [str(w.message) for w in caught if "plugins of the package" in str(w.message)]
print(json.dumps(seen))
"""
    done = runs.call([sys.executable, "-c", program])
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def load_packages(tmp_path, monkeypatch):
    """Load the packages in the folder as the first use of the registry does; returns the warnings."""

    def load():
        points = [point for package in distributions(path=[str(tmp_path)]) for point in package.entry_points]
        monkeypatch.setattr(registry, "entry_points", lambda group: [point for point in points if point.group == group])
        monkeypatch.setattr(registry, "_entry_points_loaded", False)
        monkeypatch.syspath_prepend(tmp_path)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            registry._load_entry_points()
        return [str(warning.message) for warning in caught]

    yield load
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


GOOD = "@plugin('toy/good')\ndef good(): ...\n"
THIEF = "@plugin('toy/other')\ndef other(): ...\n\n@plugin('corpus/timit')\ndef timit(): ...\n"
KIND = (
    "from speechtools.core.contract import Contract, register_kind\nregister_kind('toy', Contract('build(name)', ()))\n"
)


@pytest.mark.parametrize(
    "last_line", ["raise RuntimeError('no GPU')", "import nowhere_to_be_found", "raise SystemExit"]
)
def test_a_broken_package_is_skipped_with_a_warning_and_leaves_nothing(load_packages, tmp_path, last_line):
    make_distribution(tmp_path, "acme-broken", f"{KIND}@plugin('toy/half')\ndef half(): ...\n{last_line}\n")
    make_distribution(tmp_path, "acme-good", GOOD)
    (warning,) = load_packages()
    assert "'acme-broken'" in warning and "skipped" in warning
    assert speechtools.available("toy") == ["toy/good"]
    assert "toy" not in registry.contracts()


def test_before_bundled_plugins_are_imported_no_package_takes_their_names(tmp_path):
    make_distribution(tmp_path, "acme-broken", "import speechtools.corpora\nraise OSError('no')\n")
    make_distribution(tmp_path, "acme-thief", THIEF)
    make_distribution(tmp_path, "acme-good", GOOD)
    seen = run_python(
        tmp_path,
        """
        import speechtools
        seen["toys"] = speechtools.available("toy")
        seen["corpora"] = speechtools.available("corpus")
        seen["timit"] = speechtools.find("corpus/timit").__module__
        """,
    )
    assert seen["toys"] == ["toy/good"] and seen["corpora"] == speechtools.available("corpus")
    assert seen["timit"].startswith("speechtools.")
    assert sorted(re.search("acme-[a-z]+", warning)[0] for warning in seen["warnings"]) == ["acme-broken", "acme-thief"]


def test_of_two_packages_with_one_name_the_first_keeps_it(load_packages, tmp_path):
    for name in ("acme-one", "acme-two"):
        make_distribution(tmp_path, name, GOOD)
    (warning,) = load_packages()
    assert speechtools.available("toy") == ["toy/good"]
    skipped = {"acme_one": "acme-two", "acme_two": "acme-one"}[speechtools.find("toy/good").__module__]
    assert f"'{skipped}'" in warning


def test_a_package_may_add_to_a_kind_or_bring_one(load_packages, tmp_path):
    before = speechtools.available("corpus")
    make_distribution(tmp_path, "acme-corpus", "@plugin('corpus/acme')\ndef acme(data_folder): ...\n")
    make_distribution(tmp_path, "acme-kind", KIND + GOOD)
    make_distribution(tmp_path, "acme-slip", "@plugin('corpsu/acme')\ndef acme(data_folder): ...\n")
    (warning,) = load_packages()
    assert "new kind 'corpsu'. Did you mean 'corpus'" in warning
    assert speechtools.available("corpus") == sorted([*before, "corpus/acme"])
    assert "toy" in registry.contracts() and speechtools.available("toy") == ["toy/good"]


def test_the_registry_imports_no_torch(tmp_path):
    seen = run_python(
        tmp_path,
        """
        import speechtools
        seen["package"] = sorted({"torch", "torchaudio", "speechbrain", "scipy", "soundfile"} & set(sys.modules))
        speechtools.core.registry.contracts()
        speechtools.available("corpus")
        seen["contracts and corpora"] = sorted({"torch", "torchaudio", "speechbrain"} & set(sys.modules))
        """,
    )
    assert seen["package"] == seen["contracts and corpora"] == []
