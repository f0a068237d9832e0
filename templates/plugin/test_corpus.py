"""corpus/my-net keeps the contract of its kind: `pytest test_my_net.py`."""

import my_net  # noqa: F401, registers the plugin
import numpy as np
import pytest

from speechtools import audio
from speechtools.core.contract import check, contract
from speechtools.core.errors import SpeechtoolsError


def make_corpus(folder):
    """Make the layout of your corpus here: recordings, and a list if the corpus has one."""
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 8000).astype(np.float32)
    for name in ("anna/a1.wav", "anna/a2.wav", "bert/b1.wav"):
        (folder / name).parent.mkdir(exist_ok=True)
        audio.write(folder / name, noise, 16000)


def test_it_keeps_its_contract(tmp_path):
    make_corpus(tmp_path)
    try:
        passed = check("corpus/my-net", tmp_path)
    except SpeechtoolsError as error:
        raise pytest.fail.Exception(f"{error} The folder is what make_corpus makes.", pytrace=False) from None
    assert passed == [law.sentence for law in contract("corpus").laws]
