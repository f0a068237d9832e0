"""Every recipe's yaml and script agree, and whoever breaks one is told file, line, key and the nearest spelling."""

import itertools
import re
import shutil
from pathlib import Path

import pytest

from speechtools import cli
from speechtools.core.errors import ConfigError
from speechtools.training import consistency

ROOT = Path(__file__).parents[2]
RECIPES = consistency.find_recipes(ROOT)

SCRIPT = """
from speechtools import training


class NetBrain(training.RecipeBrain):
    def compute_forward(self, batch, stage):
        return self.modules.net(batch) * self.hparams.gain


if __name__ == "__main__":
    hparams, run_opts = training.start()
    brain = NetBrain(hparams["modules"], None, hparams, run_opts, hparams["checkpointer"])
    keys = ["net"]
    training.export(hparams, keys, {})
"""
YAML = """
seed: 1
__set_seed: !apply:speechbrain.utils.seed_everything [!ref <seed>]
output_folder: !ref results/<seed>
size: 3
gain: 1.0
max_grad_norm: 3.0
net: !new:torch.nn.Linear {in_features: !ref <size>, out_features: 1}
modules:
    net: !ref <net>
epoch_counter: !new:speechbrain.utils.epoch_loop.EpochCounter {limit: 1}
train_logger: !new:speechbrain.utils.train_logger.FileTrainLogger {save_file: !ref <output_folder>/log.txt}
checkpointer: null
"""


@pytest.fixture
def recipe(tmp_path):
    """A recipe that agrees; ``recipe(yaml={old: new}, script={old: new})`` writes it, changed."""

    def write(yaml=None, script=None, variant=None):
        (tmp_path / "hparams").mkdir(exist_ok=True)
        for path, text, changes in (("hparams/net.yaml", YAML, yaml), ("train.py", SCRIPT, script)):
            for old, new in (changes or {}).items():
                assert old in text
                text = text.replace(old, new)
            (tmp_path / path).write_text(text)
        if variant:
            (tmp_path / "hparams" / "variant.yaml").write_text(variant)
        return [message.replace(f"{tmp_path}/", "") for message in consistency.check_recipe(tmp_path)]

    return write


# ------------------------------------------------------------------------------------------------ the house's recipes


def test_all_recipes_are_found():
    assert {"quality", "enhancement"} <= {folder.name for folder in RECIPES if folder.parent.name == "TIMIT"}
    assert len(RECIPES) >= 4


@pytest.mark.parametrize("folder", RECIPES, ids=lambda folder: "/".join(folder.parts[-3:]))
def test_yaml_and_script_agree(folder):
    assert consistency.check_recipe(folder) == []


@pytest.mark.parametrize("folder", RECIPES, ids=lambda folder: "/".join(folder.parts[-3:]))
def test_a_key_that_is_added_to_a_yaml_is_found(folder, tmp_path):
    """The check looks at every recipe, and does not merely let it pass."""
    shutil.copytree(folder, tmp_path / "recipe", ignore=shutil.ignore_patterns("results"))
    base = next(p for p in sorted((tmp_path / "recipe/hparams").glob("*.yaml")) if "\nbase:" not in p.read_text())
    base.write_text(base.read_text() + "\nnobody_reads_this: 1\n")
    (message,) = [m for m in consistency.check_recipe(tmp_path / "recipe") if str(base) in m]
    assert "nothing uses 'nobody_reads_this'" in message


# ----------------------------------------------------------------------------------------------------- broken recipes


def test_a_recipe_that_agrees(recipe):
    assert recipe(variant="base: net.yaml\nsize: 5\n__plugins: !module:my_net\n") == []


@pytest.mark.parametrize(
    "changes, said",
    [
        (
            {"yaml": {"gain: 1.0": "gian: 1.0"}},
            "train.py:7 reads 'gain', which hparams/net.yaml does not have. Did you mean gian?",
        ),
        ({"yaml": {"gain: 1.0": "gian: 1.0"}}, "hparams/net.yaml:6: nothing uses 'gian'. Did you mean gain?"),
        ({"yaml": {"<size>": "<sizze>"}}, "hparams/net.yaml:8 refers to <sizze>, which is no key. Did you mean size?"),
        ({"yaml": {"<size>": "3"}}, "hparams/net.yaml:5: nothing uses 'size'"),
        ({"yaml": {"size: 3": "size: 3\n7: 1"}}, "hparams/net.yaml:6: nothing uses 7"),
        ({"yaml": {"size: 3": "size: 3\n_x: &x {rest: 2}\n<<: *x"}}, "hparams/net.yaml: nothing uses 'rest'"),
        (
            {"script": {"self.hparams.gain": "math.sqrt(self.hparams)", "\nfrom": "\nimport math\nfrom"}},
            "hparams/net.yaml:6: nothing uses 'gain'",
        ),
        ({"yaml": {"max_grad_norm": "max_gradient"}}, "nothing uses 'max_gradient'"),
        ({"yaml": {"train_logger:": "logger:"}}, "speechtools.training.RecipeBrain reads 'train_logger'"),
        ({"yaml": {"gain: 1.0": "gain: 1.0\ngain: 2.0"}}, 'no valid yaml: found duplicate key "gain"'),
        ({"script": {'["net"]': '["nett"]'}}, "train.py:14 reads 'nett', which hparams/net.yaml does not have"),
        ({"script": {"hparams.gain": "hparams.gane"}}, "train.py:7 reads 'gane'"),
        ({"script": {"self.hparams.gain": "getattr(self.hparams, 'gane')"}}, "train.py:7 reads 'gane'"),
        ({"script": {"hparams.gain": "modules.gain"}}, "hparams/net.yaml:6: nothing uses 'gain'"),
        ({"script": {'hparams["modules"]': "hparams[name]"}}, "train.py:12 reads a key that is only known in a run"),
        ({"script": {"from speechtools import": "from recipes.TIMIT import"}}, "a recipe stands for itself"),
        (
            {"script": {"from speechtools import": "from ..quality import train\nfrom speechtools import"}},
            "imports ..quality",
        ),
        ({"script": {"\nfrom": "\nimport not_a_module\nfrom"}}, "train.py:2 imports not_a_module, which is neither"),
        ({"script": {"\nfrom": "\nimport sys\nsys.path.append('..')\nfrom"}}, "train.py:3 changes or reads sys.path"),
        (
            {"variant": "base: net.yaml\nsizze: 5\n"},
            "hparams/variant.yaml:2: net.yaml, its base, has no 'sizze'. Did you mean size?",
        ),
        (
            {"variant": "base: nets.yaml\nsize: 5\n"},
            "says base: nets.yaml, and there is no such other file beside it. Did you mean net.yaml?",
        ),
        ({"variant": "base: net.yaml\nsize: !ref <sead>\n"}, "hparams/variant.yaml:2 refers to <sead>"),
    ],
)
def test_what_does_not_agree_is_named(recipe, changes, said):
    messages = recipe(**changes)
    assert any(said in message for message in messages), messages


@pytest.mark.parametrize(
    "script",
    [
        "self.hparams.get('gain')",
        "getattr(self.hparams, 'gain', 2)",
        "(2 if 'gain' in self.hparams else 3)",
        "(2 if hasattr(self.hparams, 'gain') else 3)",
    ],
)
def test_what_may_be_missing_is_used_where_it_is_there(recipe, script):
    assert recipe(script={"self.hparams.gain": script}) == []
    assert recipe(script={"self.hparams.gain": script}, yaml={"gain: 1.0": ""}) == []


def test_a_module_beside_the_script_is_part_of_it(recipe, tmp_path):
    (tmp_path / "scaling.py").write_text("def gain(hparams):\n    return hparams['gain']\n")
    script = {"self.hparams.gain": "scaling.gain(self.hparams)", "\nfrom": "\nimport scaling\nfrom"}
    assert recipe(script=script) == []
    (tmp_path / "scaling.py").write_text("def gain(hparams):\n    return 1\n")
    (message,) = recipe(script=script)
    assert "nothing uses 'gain'" in message


def test_a_package_beside_the_script_is_part_of_it(recipe, tmp_path):
    (tmp_path / "scaling").mkdir()
    (tmp_path / "scaling" / "__init__.py").write_text("from scaling.gains import gain\n")
    (tmp_path / "scaling" / "gains.py").write_text("def gain(hparams):\n    return hparams['gain']\n")
    script = {"self.hparams.gain": "scaling.gain(self.hparams)", "\nfrom": "\nimport __main__\nimport scaling\nfrom"}
    assert recipe(script=script) == []


def test_an_import_that_is_not_there_is_one_message(recipe):
    with pytest.raises(ConfigError, match="imports what is not there: .*RecipeBrian.* Mend the import"):
        recipe(script={"RecipeBrain": "RecipeBrian"})


def test_a_script_that_is_no_python(recipe):
    with pytest.raises(ConfigError, match="train.py is no Python: .*line 5"):
        recipe(script={"class NetBrain": "clas NetBrain"})


# ---------------------------------------------------------------------------------------------------- for contributors


def test_the_command_names_what_to_mend(recipe, tmp_path, capsys):
    recipe()
    assert cli.main(["check", "recipe", str(tmp_path)]) == 0
    assert ": 0 problems found" in capsys.readouterr().out
    recipe(yaml={"gain: 1.0": "gian: 1.0"})
    assert cli.main(["check", "recipe", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 2 and captured.err.count("speechtools: ") == 2
    assert captured.out == f"{tmp_path}: 2 problems found\n"


@pytest.mark.parametrize(
    "left_out, said", [("train.py", "it has no train.py"), ("hparams/net.yaml", "no yaml in hparams")]
)
def test_a_folder_that_is_no_recipe(recipe, tmp_path, capsys, left_out, said):
    recipe()
    (tmp_path / left_out).unlink()
    assert cli.main(["check", "recipe", str(tmp_path)]) == 1
    assert said in capsys.readouterr().err


#: Alike on purpose: the template is the recipe TI-SV/GE2E, cut down to what a new one needs.
ALIKE = {("recipes/TI-SV/GE2E/train.py", "templates/recipe/task/train.py")}


def test_scripts_are_short_and_share_no_six_lines():
    scripts = {str(path.relative_to(ROOT)): path.read_text().splitlines() for path in ROOT.glob("*/*/*/train.py")}
    assert len(scripts) >= 5
    shared = {name: set() for name in scripts}
    for name, lines in scripts.items():
        assert len(lines) <= 140, f"{name} has {len(lines)} lines: what other recipes need too belongs in the toolkit"
        told = [line.strip() for line in lines if len(line.strip()) > 3 and not re.match(r"\s*(import|from) ", line)]
        shared[name] = {tuple(told[first : first + 6]) for first in range(len(told) - 5)}
    for one, other in itertools.combinations(sorted(scripts), 2):
        alike = [] if (one, other) in ALIKE else sorted(shared[one] & shared[other])
        assert not alike, f"{one} and {other} both have {alike[0]}: give these lines a place in the toolkit"
