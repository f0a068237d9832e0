"""The check of a recipe's yaml files."""

import pytest

from speechtools.training import check_recipe


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
