"""The check of a recipe's yaml files."""

import pytest

from speechtools.core.errors import ConfigError
from speechtools.training import check_recipe, options
from speechtools.training.command_line import parse


@pytest.mark.parametrize("corpus, problems", [("builtin", 0), ("folder", 1)])
def test_options_of_another_corpus_are_a_problem(tmp_path, corpus, problems):
    (tmp_path / "hparams").mkdir()
    (tmp_path / "train.py").write_text("")
    train = f"output_folder: out\ncorpus: {corpus}\ncorpus_options: {{}}\n"
    (tmp_path / "hparams" / "train.yaml").write_text(train)
    quick = "base: train.yaml\ncorpus_options: {builtin: {num_train_speakers: 2}}\n"
    (tmp_path / "hparams" / "quick.yaml").write_text(quick)
    reported = check_recipe(tmp_path)
    assert len(reported) == problems and all("quick.yaml" in problem and "builtin" in problem for problem in reported)
    words = [str(tmp_path / "hparams" / "quick.yaml"), f"--output_folder={tmp_path}"]
    if problems:
        with pytest.raises(ConfigError, match="builtin"):
            options.check(parse(words))
    options.check(parse([*words, "--corpus=timit"]))  # which may leave those of the yaml without effect


def test_recipes_may_have_modules_and_plugins_of_the_same_names(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name / "hparams").mkdir(parents=True)
        (tmp_path / name / "train.py").write_text("")
        plugin = f"from speechtools import plugin\n\n\n@plugin('vad/same')\ndef {name}(): ...\n"
        (tmp_path / name / "my_same_module.py").write_text(plugin)
        yaml = "output_folder: out\n__plugins: my_same_module\nvad: !apply:speechtools.build {plugin: vad/same}\n"
        (tmp_path / name / "hparams" / "train.yaml").write_text(yaml)
        assert check_recipe(tmp_path / name) == []
