"""Reading several corpora."""

import pytest

from speechtools.core.errors import ConfigError, PluginError
from speechtools.corpora.reading import each_corpus
from tests.corpora.layouts import make_audiomnist, make_folder


def test_several_corpora_get_a_prefix_and_a_single_one_none(tmp_path):
    make_folder(tmp_path / "voices")
    make_audiomnist(tmp_path / "digits")
    (alone,) = each_corpus(["folder"], [tmp_path / "voices"])
    folders = [tmp_path / "voices", tmp_path / "digits", tmp_path / "voices"]
    joined = list(each_corpus(["folder", "audiomnist", "folder"], folders, {"audiomnist": {"keywords": ["1"]}}))
    assert [u.utt_id for u in joined[2]] == [f"folder2-{u.utt_id}" for u in alone]
    assert {u.speaker for u in joined[1]} == {"audiomnist1-01", "audiomnist1-02", "audiomnist1-60"}
    assert {u.text for u in joined[1]} == {"1"} and [u.path for u in joined[0]] == [u.path for u in alone]


@pytest.mark.parametrize(
    "names, folders, options, error, message",
    [
        (["folder", "timit"], ["x"], None, ConfigError, "2 corpora .* 1 data folders"),
        (["folder"], [""], None, ConfigError, "folder has no folder"),
        (["foldr"], ["x"], None, PluginError, "Did you mean 'corpus/folder'"),
        (["folder"], ["x"], {"timitt": {}}, PluginError, "Did you mean 'corpus/timit'"),
    ],
)
def test_impossible_arguments(names, folders, options, error, message):
    with pytest.raises(error, match=message):
        list(each_corpus(names, folders, options))
