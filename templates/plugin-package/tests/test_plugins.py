"""Every part of this package keeps the contract of its kind, and is found through the entry point."""

import numpy as np
import pytest

import speechtools
from speechtools import audio
from speechtools.core import contract as contracts

PARTS = ["encoder/xvector", "speaker-loss/angular-prototypical"]


@pytest.mark.parametrize("name", PARTS)
def test_it_keeps_the_contract_of_its_kind(name):
    laws = contracts.contract(name.split("/")[0]).laws
    assert contracts.check(name) == [law.sentence for law in laws]


def test_the_corpus_keeps_the_contract_of_its_kind(tmp_path):
    for name in ("anna_1.wav", "anna_2.wav", "bert_1.wav"):
        noise = np.random.default_rng(len(name)).standard_normal(8000)
        audio.write(tmp_path / name, 0.1 * noise.astype(np.float32), 16000)
    laws = contracts.contract("corpus").laws
    assert contracts.check("corpus/flat-folder", tmp_path) == [law.sentence for law in laws]
    utterances = speechtools.build("corpus/flat-folder", data_folder=tmp_path)
    assert [utterance.speaker for utterance in utterances] == ["anna", "anna", "bert"]
