"""Laws of the registry: one name, one part; mistakes are named; other packages cannot do harm."""

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
from speechtools.core.errors import PluginError, SpeechtoolsError


@pytest.fixture(autouse=True)
def registry_restored(monkeypatch):
    speechtools.available()  # everything is imported before the copy, so that restoring loses nothing
    monkeypatch.setattr(registry, "_parts", dict(registry._parts))


def net(input_size, hidden_size=100):
    return input_size, hidden_size


def other_net(input_size):
    return input_size


# ------------------------------------------------------------------------------------------------ plugin and find


def test_a_part_is_returned_unchanged_and_found():
    assert speechtools.plugin("toy/net")(net) is net
    assert speechtools.find("toy/net") is net
    assert speechtools.available("toy") == ["toy/net"]
    assert "toy/net" in speechtools.available()
    assert "toy" in registry.kinds()


def test_a_class_is_returned_unchanged():
    class Net:
        pass

    assert speechtools.plugin("toy/net-2")(Net) is Net
    assert isinstance(speechtools.build("toy/net-2"), Net)


@pytest.mark.parametrize("name", ["net", "toy/", "/net", "Toy/net", "toy/net_2", "toy/net/2", "toy net", "", 7, None])
def test_a_malformed_name_is_refused(name):
    with pytest.raises(PluginError, match="is no plugin name: it must read kind/name"):
        speechtools.plugin(name)


def test_two_places_cannot_have_one_name():
    speechtools.plugin("toy/net")(net)
    with pytest.raises(PluginError, match="'toy/net' is taken") as caught:
        speechtools.plugin("toy/net")(other_net)
    for part in (net, other_net):
        assert f"{Path(__file__).name}:{part.__code__.co_firstlineno}" in str(caught.value)
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


@pytest.mark.parametrize("kind", sorted(registry.KIND_MODULES))
def test_the_kinds_of_this_package_have_parts(kind):
    assert speechtools.available(kind)


# ------------------------------------------------------------------------------------------------------ mistakes


def test_a_misspelt_name_gets_the_nearest_and_the_list():
    speechtools.plugin("toy/lstmp")(net)
    with pytest.raises(PluginError, match="no plugin 'toy/lstpm'. Did you mean 'toy/lstmp'.* has: toy/lstmp"):
        speechtools.find("toy/lstpm")
    with pytest.raises(PluginError, match="Did you mean 'toy/lstmp'"):
        speechtools.build("toy/lstpm", input_size=1)


def test_a_misspelt_kind_gets_the_nearest():
    with pytest.raises(PluginError, match="no kind of plugin called 'corpsu'. Did you mean 'corpus'"):
        speechtools.find("corpsu/timit")
    with pytest.raises(PluginError, match="no kind of plugin called 'qualty'. Did you mean 'quality'"):
        speechtools.available("qualty")


@pytest.mark.parametrize("name", ["magnitude", "", None, 3])
def test_a_name_without_a_kind_is_refused(name):
    with pytest.raises(PluginError, match="write kind/name, .* Kinds: corpus, "):
        speechtools.find(name)


def test_a_misspelt_parameter_gets_the_nearest_and_the_signature():
    speechtools.plugin("toy/net")(net)
    signature = re.escape("toy/net(input_size, hidden_size=100)")
    with pytest.raises(PluginError, match=f"no parameter 'hiden_size'. Did you mean 'hidden_size'.*{signature}"):
        speechtools.build("toy/net", input_size=40, hiden_size=10)


def test_missing_arguments_are_named_with_the_signature():
    speechtools.plugin("toy/net")(net)
    signature = re.escape("toy/net(input_size, hidden_size=100)")
    with pytest.raises(PluginError, match=f"needs 'input_size', which was not given.*{signature}"):
        speechtools.build("toy/net", hidden_size=3)


def test_build_passes_its_arguments_on():
    speechtools.plugin("toy/net")(net)
    assert speechtools.build("toy/net", input_size=40) == (40, 100)
    assert speechtools.build("toy/net", input_size=40, hidden_size=3) == (40, 3)
    assert speechtools.build(plugin="toy/net", input_size=1) == (1, 100)  # as a yaml spells it


def test_errors_of_the_registry_are_speechtools_errors_and_value_errors():
    assert issubclass(PluginError, SpeechtoolsError) and issubclass(SpeechtoolsError, ValueError)


# ------------------------------------------------------------------------------------------ packages of other people


def make_distribution(folder: Path, name: str, module: str, source: str) -> None:
    """A package as pip leaves it: a module, and a .dist-info folder with its entry point."""
    (folder / f"{module}.py").write_text("from speechtools import plugin\n" + textwrap.dedent(source))
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[speechtools.plugins]\n{module} = {module}\n")


def run_python(folder: Path, code: str) -> dict:
    """Run ``code`` in a new interpreter that sees the packages in ``folder``; it fills the dictionary ``seen``."""
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
    """Load the packages that were made in the folder, as the first question to the registry does: the warnings."""

    def load():
        found = [point for each in distributions(path=[str(tmp_path)]) for point in each.entry_points]
        monkeypatch.setattr(registry, "entry_points", lambda group: [point for point in found if point.group == group])
        monkeypatch.setattr(registry, "_entry_points_loaded", False)
        monkeypatch.syspath_prepend(tmp_path)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            registry._load_entry_points()
        return [str(each.message) for each in caught]

    yield load
    for name in [name for name in sys.modules if name.startswith("acme_")]:
        del sys.modules[name]


GOOD = "@plugin('toy/good')\ndef good(): ...\n"
THIEF = "@plugin('toy/other')\ndef other(): ...\n\n@plugin('corpus/timit')\ndef timit(): ...\n"


@pytest.mark.parametrize(
    "last_line", ["raise RuntimeError('no GPU')", "import nowhere_to_be_found", "raise SystemExit"]
)
def test_a_broken_package_is_named_and_skipped_and_leaves_nothing(load_packages, tmp_path, last_line):
    make_distribution(tmp_path, "acme-broken", "acme_broken", f"@plugin('toy/half')\ndef half(): ...\n{last_line}\n")
    make_distribution(tmp_path, "acme-good", "acme_good", GOOD)
    (warning,) = load_packages()
    assert "'acme-broken'" in warning and "skipped" in warning
    assert speechtools.available("toy") == ["toy/good"]


def test_a_package_cannot_take_a_name_of_ours(load_packages, tmp_path):
    make_distribution(tmp_path, "acme-thief", "acme_thief", THIEF)
    (warning,) = load_packages()
    assert "'acme-thief'" in warning and "'corpus/timit' is taken" in warning
    assert speechtools.find("corpus/timit").__module__.startswith("speechtools.")
    assert "toy/other" not in speechtools.available()


def test_before_ours_are_imported_no_package_takes_a_name_or_a_part_with_it(tmp_path):
    """In a new interpreter, where other packages come before any kind of ours."""
    make_distribution(tmp_path, "acme-broken", "acme_broken", "import speechtools.corpora\nraise OSError('no')\n")
    make_distribution(tmp_path, "acme-thief", "acme_thief", THIEF)
    make_distribution(tmp_path, "acme-good", "acme_good", GOOD)
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
        make_distribution(tmp_path, name, name.replace("-", "_"), GOOD)
    (warning,) = load_packages()
    assert speechtools.available("toy") == ["toy/good"]
    skipped = {"acme_one": "acme-two", "acme_two": "acme-one"}[speechtools.find("toy/good").__module__]
    assert f"'{skipped}'" in warning


def test_a_package_may_add_to_a_kind_of_ours(load_packages, tmp_path):
    before = speechtools.available("corpus")
    make_distribution(tmp_path, "acme-good", "acme_good", "@plugin('corpus/acme')\ndef acme(data_folder): ...\n")
    assert load_packages() == []
    assert speechtools.available("corpus") == sorted([*before, "corpus/acme"])


# ------------------------------------------------------------------------------------------------------ light start


def test_importing_the_package_is_light(tmp_path):
    seen = run_python(
        tmp_path,
        """
        import speechtools
        seen["of the package"] = sorted({"torch", "torchaudio", "speechbrain", "scipy", "soundfile"} & set(sys.modules))
        speechtools.available("corpus")
        seen["of the corpora"] = sorted({"torch", "torchaudio", "speechbrain"} & set(sys.modules))
        """,
    )
    assert seen["of the package"] == seen["of the corpora"] == []


def test_what_is_offered_reaches_the_part_only_where_it_has_such_a_parameter():
    part = speechtools.build("features/magnitude", offered={"n_fft": 256, "hidden_size": 100}, hop_length=128)
    assert (part.n_fft, part.hop_length) == (256, 128)
    with pytest.raises(PluginError, match="takes no parameter 'hidden_size'"):
        speechtools.build("features/magnitude", hidden_size=100)
    part = speechtools.build("features/magnitude", offered={"n_fft": 256, "hop_length": 64}, hop_length=128)
    assert part.hop_length == 128


def test_an_error_within_a_part_tells_its_place():
    @speechtools.plugin("features/stumbling")
    class Stumbling:
        def __init__(self):
            int("x")

    line = Stumbling.__init__.__code__.co_firstlineno + 1
    with pytest.raises(PluginError, match=rf"invalid literal .* \({__file__}:{line}\)\. The signature"):
        speechtools.build("features/stumbling")
