"""One name for one plugin; mistakes get the nearest spelling; other packages cannot do harm."""

import importlib
import re
import sys
import warnings
from importlib.metadata import distributions
from pathlib import Path

import pytest
import runs

import speechtools
from speechtools.core import registry
from speechtools.core.errors import PluginError

pytestmark = pytest.mark.usefixtures("registry_restored")


def net(input_size, hidden_size=100):
    return input_size, hidden_size


# ---- plugin, find and build


def test_a_plugin_is_returned_unchanged_found_and_listed():
    assert speechtools.plugin("toy/net")(net) is net is speechtools.find("toy/net")
    for name in ("toy/lstm-big", "toy/lstm"):
        speechtools.plugin(name)(net)
    assert speechtools.available("toy") == ["toy/lstm", "toy/lstm-big", "toy/net"]
    assert "toy/net" in speechtools.available() and "toy" in registry.kinds()
    assert speechtools.available("toy/*lstm*") == ["toy/lstm", "toy/lstm-big"]
    assert speechtools.available("toy/nothing") == []


@pytest.mark.parametrize("name", ["toy/", "Toy/net", "toy/net/2", None])
def test_a_malformed_name_is_an_error(name):
    with pytest.raises(PluginError, match="Invalid plugin name .* Write kind/name"):
        speechtools.plugin(name)


def test_one_name_cannot_have_two_plugins():
    speechtools.plugin("toy/net")(net)
    with pytest.raises(PluginError, match="'toy/net' is taken") as caught:
        speechtools.plugin("toy/net")(install)
    for target in (net, install):
        assert f"{Path(__file__).name}:{target.__code__.co_firstlineno}" in str(caught.value)
    assert speechtools.find("toy/net") is net


def test_a_module_may_be_imported_again(tmp_path, monkeypatch):
    (tmp_path / "toy_again.py").write_text("from speechtools import plugin\nplugin('toy/again')(lambda: 1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("toy_again")
    first = speechtools.find("toy/again")
    importlib.reload(module)
    assert speechtools.find("toy/again") is not first


def test_former_kinds_work_with_a_warning():
    with pytest.warns(FutureWarning, match="'loss/te2e' is now 'speaker-loss/te2e'"):
        assert speechtools.find("loss/te2e") is speechtools.find("speaker-loss/te2e")
    with pytest.warns(FutureWarning, match="speaker-loss"):
        speechtools.plugin("loss/mine")(net)
    assert speechtools.find("speaker-loss/mine") is net


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("toy/nett", "'toy/nett'. Did you mean 'toy/net'.* --__plugins=my_module .* 'toy': toy/my-net, toy/net"),
        ("toy/my_net", r"'toy/my_net'. Did you mean 'toy/my-net'\? Plugins of the kind"),
        ("toy/My_NET", r"'toy/My_NET'. Did you mean 'toy/my-net'\? Plugins of the kind"),
        ("ENCODER/lstmp", "Unknown kind 'ENCODER'. Did you mean 'encoder'"),
        ("toy/my-own", "If my_own.py registers it, import it: --__plugins=my_own in a recipe, --module my_own.py"),
        ("corpsu/timit", "Unknown kind 'corpsu'. Did you mean 'corpus'"),
        ("magnitude", "Write kind/name, .* Kinds: corpus, "),
    ],
)
def test_an_unknown_name_gets_the_nearest_and_the_list(name, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for file in ("my_own.py", "my_net.py"):
        (tmp_path / file).touch()
    speechtools.plugin("toy/net")(net)
    speechtools.plugin("toy/my-net")(lambda: None)
    with pytest.raises(PluginError, match=message):
        speechtools.build(name)


def test_build_passes_its_arguments_on():
    speechtools.plugin("toy/net")(net)
    assert speechtools.build(plugin="toy/net", input_size=1) == (1, 100)  # as a yaml spells it
    # What is offered reaches the plugin only where it has such a parameter.
    assert speechtools.build("toy/net", {"input_size": 2, "n_fft": 256}) == (2, 100)
    assert speechtools.build("toy/net", {"input_size": 2}, input_size=3) == (3, 100)
    signature = re.escape("toy/net(input_size, hidden_size=100)")
    with pytest.raises(PluginError, match=f"'hiden_size'. Did you mean 'hidden_size'.*{signature}"):
        speechtools.build("toy/net", input_size=40, hiden_size=10)
    with pytest.raises(PluginError, match=f"'input_size'.*{signature}"):
        speechtools.build("toy/net", hidden_size=3)


def test_an_error_within_a_plugin_has_its_place():
    @speechtools.plugin("features/stumbling")
    class Stumbling:
        def __init__(self):
            int("x")

    line = Stumbling.__init__.__code__.co_firstlineno + 1
    with pytest.raises(PluginError, match=rf"invalid literal .*\({__file__}:{line}\)"):
        speechtools.build("features/stumbling")


# ---- packages of other people


def install(folder, **sources):
    """Write packages as pip installs them, a module and the metadata with its entry point: ``name=source``."""
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(f"from speechtools import plugin\n{source}")
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[speechtools.plugins]\n{name} = {name}\n")


@pytest.fixture
def load_packages(tmp_path, monkeypatch):
    """Install packages and load them as the first use of the registry does; returns the warnings."""

    def load(**sources):
        install(tmp_path, **sources)
        points = [point for package in distributions(path=[str(tmp_path)]) for point in package.entry_points]
        points.sort(key=lambda point: point.name)
        monkeypatch.setattr(registry, "entry_points", lambda group: points)
        monkeypatch.setattr(registry, "_entry_points_loaded", False)
        monkeypatch.syspath_prepend(tmp_path)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            registry._load_entry_points()
        return [str(warning.message) for warning in caught]

    yield load
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


GOOD = "plugin('toy/good')(lambda: 1)\n"
KIND = """
from speechtools.core.contract import Contract, register_kind
register_kind('toy', Contract('build(name)', ()))
"""


def test_a_broken_package_is_skipped_with_a_warning_and_leaves_nothing(load_packages):
    (warning,) = load_packages(acme_broken=f"{KIND}plugin('toy/half')(lambda: 1)\nraise SystemExit\n", acme_good=GOOD)
    assert "'acme_broken'" in warning and "skipped" in warning
    assert speechtools.available("toy") == ["toy/good"] and "toy" not in registry.contracts()


def test_before_bundled_plugins_are_imported_no_package_takes_their_names(tmp_path):
    install(tmp_path, acme_good=GOOD, acme_thief="plugin('toy/bad')(len)\nplugin('corpus/timit')(lambda: 1)\n")
    program = """
import sys, speechtools
sys.path.append(sys.argv[1])
print(speechtools.available("toy"), speechtools.find("corpus/timit").__module__)
"""
    done = runs.call([sys.executable, "-c", program, tmp_path])
    assert done.stdout == "['toy/good'] speechtools.corpora.timit\n"
    assert "'acme_thief'" in done.stderr and "'acme_good'" not in done.stderr


def test_a_package_may_add_to_a_kind_or_bring_one_but_takes_no_name(load_packages):
    before = speechtools.available("corpus")
    slip, taken = load_packages(
        acme_corpus="plugin('corpus/acme')(lambda data_folder: [])\n",
        acme_kind=KIND + GOOD,
        acme_slip="plugin('corpsu/acme')(lambda data_folder: [])\n",
        acme_two=GOOD,
    )
    assert "new kind 'corpsu'. Did you mean 'corpus'" in slip
    assert "'acme_two'" in taken and speechtools.find("toy/good").__module__ == "acme_kind"
    assert speechtools.available("corpus") == sorted([*before, "corpus/acme"])
    assert "toy" in registry.contracts() and speechtools.available("toy") == ["toy/good"]
