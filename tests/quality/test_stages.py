"""A test that shares speakers or noises with the training of the enhancer is labelled so."""

import logging
from pathlib import Path
from unittest.mock import Mock

import pytest

from speechtools import build
from speechtools.core.errors import ConfigError
from speechtools.core.rows import write_rows
from speechtools.corpora.noisy_speech import NoisySpeech, PreparedSets
from speechtools.enhancement.inference import SpeechEnhancer
from speechtools.quality.inference import QualityNet
from speechtools.quality.rows import QualityRow
from speechtools.quality.stages import check_equalizer, check_start, prepare_sets, refuse_other_sets
from tests.quality.test_data import quality_row

SPEAKERS, NOISES = ["mabc0", "fdef0", "mghi0"], ["street/1.wav", "white.wav"]


def rows(folder="a", corpus=""):
    """A row for each speaker with each noise, and a clean one."""
    paths = [*(Path(f"/{folder}/noises/{noise}") for noise in NOISES), None]
    return [quality_row(speaker=corpus + speaker, noise=path) for speaker in SPEAKERS for path in paths]


@pytest.fixture
def sets(tmp_path, monkeypatch):
    """``sets(heard)`` prepares sets with a model that records ``heard`` as its training data."""

    def prepared(heard):
        enhancer = Mock(facts={"heard": heard})
        monkeypatch.setattr(SpeechEnhancer, "from_hparams", lambda source, run_opts: enhancer)
        write_rows(tmp_path / "test.csv", QualityRow, rows())
        test = PreparedSets(tmp_path, {"test": tmp_path / "test.csv"}, "timit, recorded noises")
        options = {"enhanced_share": 0.5, "enhancer": "model", "sample_rate": 16000}
        sources = NoisySpeech(corpus="timit", data_folder="/nowhere")
        return prepare_sets(options | {"sources": sources, "prepare": lambda **_: test}, None, "cpu")

    return prepared


def test_names_do_not_depend_on_folders_or_the_order_of_corpora():
    alone = NoisySpeech(corpus="timit", data_folder="/a").heard(rows("one"))
    assert alone["speakers"] == ["timit-fdef0", "timit-mabc0", "timit-mghi0"]
    assert len(alone["noises"]) == 2 and not any("one" in noise for noise in alone["noises"])
    joined = NoisySpeech(corpus=["kaldi", "timit"], data_folder=["/b", "/c"])
    assert joined.heard(rows("two", "timit1-")) == alone
    kaldi = joined.heard(rows("three", "kaldi0-"))
    assert not set(kaldi["speakers"]) & set(alone["speakers"])


@pytest.mark.parametrize(
    "heard, text",
    [
        ({"speakers": ["timit-mabc0", "timit-mxyz0"], "noises": []}, "1 of the test's 3 speakers and 0 of its 2 noise"),
        (None, "the enhancer does not record its training data"),
        ({"speakers": ["timit-mxyz0", "kaldi-mabc0", "mabc0"], "noises": ["rain/1.wav", "street/2.wav"]}, ""),
    ],
)
def test_an_overlap_is_in_the_origin_and_in_a_warning(sets, caplog, heard, text):
    with caplog.at_level(logging.WARNING):
        origin = sets(heard).origin
    assert origin.startswith("timit, recorded noises; the enhancer " if text else "timit, recorded noises")
    assert text in origin and ("Leave out enhancer" in caplog.text) == bool(text)


def test_a_run_is_not_continued_on_other_sets(tmp_path):
    one, other = (PreparedSets(tmp_path / name, {}, "timit") for name in ("quality-1", "quality-2"))
    for sets in (one, one, other, one):  # before a checkpoint, nothing is lost
        refuse_other_sets(tmp_path, sets)
    (tmp_path / "save" / "CKPT+1").mkdir(parents=True)
    refuse_other_sets(tmp_path, one)
    with pytest.raises(ConfigError, match="quality-1 .* quality-2.*--name"):
        refuse_other_sets(tmp_path, other)


def test_a_model_to_start_from_has_the_same_features(pretrained):
    start = QualityNet.from_hparams(pretrained)
    check_start(start, 16000, build("features/magnitude", log1p=True))
    with pytest.raises(ConfigError, match="--log1p=True"):
        check_start(start, 16000, build("features/magnitude"))
    with pytest.raises(ConfigError, match="sample_rate=8000"):
        check_start(start, 8000, build("features/magnitude", log1p=True))


def test_a_model_to_start_from_is_the_same_network(pretrained):
    start, features = QualityNet.from_hparams(pretrained), build("features/magnitude", log1p=True)
    check_start(start, 16000, features, build("quality/blstm"))
    with pytest.raises(ConfigError, match="has quality/blstm, and this run has quality/conv-blstm.*quality_name=blstm"):
        check_start(start, 16000, features, build("quality/conv-blstm"))
    with pytest.raises(ConfigError, match="has features/magnitude, and this run has features/mel"):
        check_start(start, 16000, build("features/mel"))


def test_a_run_is_not_continued_with_other_ratings(tmp_path):
    sets = PreparedSets(tmp_path / "quality-1", {}, "timit")
    refuse_other_sets(tmp_path, sets, "ratings-1")
    (tmp_path / "save" / "CKPT+1").mkdir(parents=True)
    refuse_other_sets(tmp_path, sets, "ratings-1")
    with pytest.raises(ConfigError, match="quality-1 ratings-1 .* quality-1 ratings-2"):
        refuse_other_sets(tmp_path, sets, "ratings-2")


def test_an_equalizer_needs_magnitudes():
    for features in (build("features/magnitude"), build("features/magnitude", log1p=True)):
        check_equalizer(4.0, features)
    for name in ("mel", "log-mel"):
        check_equalizer(0.0, build(f"features/{name}"))
        with pytest.raises(ConfigError, match=f"equalizer_db=4 .*features/{name} .*--features_name=magnitude"):
            check_equalizer(4.0, build(f"features/{name}"))
    with pytest.raises(ConfigError, match="equalizer_db"):
        check_equalizer(-1.0, build("features/magnitude"))
