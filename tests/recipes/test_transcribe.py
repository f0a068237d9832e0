"""keyword/detection/transcribe.py, with a recognizer in place of Moonshine that hears the length of a recording."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

RECIPE = Path(__file__).parents[2] / "recipes" / "keyword" / "detection"
RECOGNIZER = """
class MoonshineOnnxModel:
    def __init__(self, models_dir, model_name):
        print("loaded", models_dir, model_name)
    def generate(self, samples, max_len):
        assert samples.shape[0] == 1
        return [[samples.shape[1]]]
class Tokenizer:
    def decode_batch(self, tokens):
        return [" Quite short." if tokens[0][0] < 32000 else " Oh."]
def load_tokenizer():
    return Tokenizer()
"""


@pytest.fixture
def corpus(tmp_path):
    """Kaldi lists of a recording of 1.5 s, one of 5 s with too few letters, and one of 20 s."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    (tmp_path / "moonshine_onnx.py").write_text(RECOGNIZER)
    (tmp_path / "decoder_model_merged.onnx").touch()
    lengths = {"a": 1.5, "b": 5.0, "c": 20.0}
    for name, seconds in lengths.items():
        samples = 0.1 * np.random.default_rng(0).standard_normal(round(16000 * seconds))
        soundfile.write(folder / f"{name}.wav", samples, 16000)
    (folder / "wav.scp").write_text("".join(f"{name} {name}.wav\n" for name in lengths))
    (folder / "utt2spk").write_text("".join(f"{name} anna\n" for name in lengths))
    return folder


def transcribe(corpus, *options):
    command = [sys.executable, "transcribe.py", str(corpus), str(corpus.parent / "heard"), *options]
    paths = os.pathsep.join([str(corpus.parent), str(RECIPE.parents[2])])
    environment = os.environ | {"PYTHONPATH": paths}
    return subprocess.run(command, cwd=RECIPE, capture_output=True, text=True, timeout=120, env=environment)


def test_texts_are_written_beside_the_lists(corpus):
    result = transcribe(corpus, "--model", str(corpus.parent))
    assert result.returncode == 0, result.stderr
    assert "1 of 2 recordings have a text" in result.stdout
    heard = corpus.parent / "heard"
    assert (heard / "text").read_text() == "a Quite short.\n"
    assert (heard / "utt2spk").read_text() == "a anna\n"
    assert (heard / "wav.scp").read_text() == f"a {corpus / 'a.wav'}\n"
    before = (heard / "heard.jsonl").read_text()
    assert transcribe(corpus, "--model", str(corpus.parent)).returncode == 0
    assert (heard / "heard.jsonl").read_text() == before  # nothing is heard twice


def test_a_folder_without_a_model(corpus):
    result = transcribe(corpus, "--model", str(corpus))
    assert result.returncode == 1
    assert result.stderr.strip().splitlines()[-1].startswith(f"error: --model={corpus} has no decoder_model")
