"""Every plugin of this package is found through the entry point and keeps the contract of its kind."""

import numpy as np
import pytest

import speechtools
from speechtools import audio
from speechtools.core.contract import check, contract


@pytest.mark.parametrize("name", ["encoder/xvector", "speaker-loss/angular-prototypical"])
def test_a_plugin_keeps_its_contract(name):
    assert check(name) == [law.sentence for law in contract(name.split("/")[0]).laws]


def test_the_corpus_keeps_its_contract(tmp_path):
    for name in ("anna_1.wav", "anna_2.wav", "bert_1.wav"):
        noise = np.random.default_rng(len(name)).standard_normal(8000)
        audio.write(tmp_path / name, 0.1 * noise.astype(np.float32), 16000)
    assert check("corpus/flat-folder", tmp_path) == [law.sentence for law in contract("corpus").laws]
    utterances = speechtools.build("corpus/flat-folder", data_folder=tmp_path)
    assert [utterance.speaker for utterance in utterances] == ["anna", "anna", "bert"]
