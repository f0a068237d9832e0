"""corpus/my-net keeps the contract of its kind: `pytest test_my_net.py`."""

import my_net  # noqa: F401, registers the plugin
import numpy as np

from speechtools import audio
from speechtools.core.contract import check, contract


def test_it_keeps_its_contract(tmp_path):
    lines = ["path,speaker,split"]
    for speaker, name in (("anna", "a1.wav"), ("anna", "a2.wav"), ("bert", "b1.wav")):
        noise = np.random.default_rng(len(lines)).standard_normal(8000)
        audio.write(tmp_path / name, 0.1 * noise.astype(np.float32), 16000)
        lines.append(f"{name},{speaker},train")
    (tmp_path / "utterances.csv").write_text("\n".join(lines))
    assert check("corpus/my-net", tmp_path) == [law.sentence for law in contract("corpus").laws]
