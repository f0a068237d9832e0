"""Reading several corpora."""

import pytest

from speechtools.core.errors import ConfigError, PluginError
from speechtools.corpora.reading import each_corpus
from tests.corpora.layouts import make


def test_several_corpora_get_a_prefix_and_a_single_one_none(tmp_path):
    make("folder", tmp_path / "voices")
    make("audiomnist", tmp_path / "digits")
    (alone,) = each_corpus(["folder"], [tmp_path / "voices"])
    folders = [tmp_path / "digits", tmp_path / "voices"]
    digits, voices = each_corpus(["audiomnist", "folder"], folders, {"audiomnist": {"keywords": ["1"]}})
    assert [(u.utt_id, u.path) for u in voices] == [(f"folder1-{u.utt_id}", u.path) for u in alone]
    assert {u.speaker for u in digits} == {"audiomnist0-01", "audiomnist0-02", "audiomnist0-60"}
    assert {u.text for u in digits} == {"1"}


@pytest.mark.parametrize(
    "names, folders, options, error, message",
    [
        (["folder", "timit"], ["x"], None, ConfigError, "2 corpora .* 1 data folders"),
        (["folder"], [""], None, ConfigError, "folder has no folder"),
        (["folder"], ["x"], {"timitt": {}}, PluginError, "Did you mean 'corpus/timit'"),
    ],
)
def test_impossible_arguments(names, folders, options, error, message):
    with pytest.raises(error, match=message):
        list(each_corpus(names, folders, options))
