"""``speechtools export``, and commands that take its files."""

import pytest
import soundfile

import speechtools
from speechtools.inference import QualityNet

pytest.importorskip("onnx", reason="pip install '.[onnx]'")
pytest.importorskip("onnxruntime", reason="pip install '.[onnx]'")


def test_a_model_is_exported_and_scores(pretrained, tmp_path, call, refused):
    path = tmp_path / "q.onnx"
    status, output, _ = call("export", pretrained, path)
    assert status == 0 and "largest difference from torch" in output
    assert "--overwrite" in refused("export", pretrained, path)
    status, output, _ = call("export", pretrained, path, "--int8", "--overwrite")
    assert status == 0 and "scores move" in output
    status, output, _ = call("score", speechtools.SAMPLE, "--model", path)
    score = QualityNet.from_hparams(pretrained).assess_file(speechtools.SAMPLE).score
    assert status == 0 and float(output.split("\t")[0]) == pytest.approx(score, abs=0.1)
    assert "`speechtools score`" in refused("enhance", speechtools.SAMPLE, tmp_path / "out.wav", "--model", path)
    assert "take ONNX files" in refused("embed", speechtools.SAMPLE, "--out", tmp_path / "d.npz", "--model", path)
    assert "CPU" in refused("score", speechtools.SAMPLE, "--model", path, "--device", "cuda")


def test_the_bundled_enhancer_is_exported_and_enhances(tmp_path, call):
    path = tmp_path / "e.onnx"
    assert call("export", "enhancer", path)[0] == 0
    assert call("enhance", speechtools.SAMPLE, tmp_path / "out.wav", "--model", path)[0] == 0
    assert soundfile.info(tmp_path / "out.wav").duration == soundfile.info(speechtools.SAMPLE).duration


def test_wrong_outputs_and_models_are_explained(tmp_path, refused):
    assert "does not exist" in refused("export", "quality-net", tmp_path / "gone" / "q.onnx")
    assert ".onnx" in refused("export", "quality-net", tmp_path / "q.bin")
    assert "does not exist" in refused("export", "quality-nat", tmp_path / "q.onnx")
    assert "does not exist" in refused("score", speechtools.SAMPLE, "--model", tmp_path / "q.onnx")
