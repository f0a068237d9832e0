"""corpus/my-net keeps the contract of its kind: `pytest test_my_net.py`."""

import my_net  # noqa: F401, registers the plugin
import numpy as np

from speechtools import audio
from speechtools.core.contract import check, contract


def test_it_keeps_its_contract(tmp_path):
    noise = np.random.default_rng(0).uniform(-0.1, 0.1, 8000).astype(np.float32)
    for name in ("anna/a1.wav", "anna/a2.wav", "bert/b1.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        audio.write(tmp_path / name, noise, 16000)
    assert check("corpus/my-net", tmp_path) == [law.sentence for law in contract("corpus").laws]
