"""`speechtools convert`, and the commands with what it writes."""

import pytest
import torch

from tests.speaker.test_conversion import Linear, make, save_state


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.pt"
    save_state(make(Linear), path)
    return path


def test_a_converted_model_works_in_the_commands(weights, tmp_path, tone, call, refused):
    import soundfile

    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / name, tone(3.0), 16000)
    recordings, folder = (tmp_path / "a.wav", tmp_path / "b.wav"), tmp_path / "my model"
    status, output, errors = call("convert", "resemblyzer", weights, folder, "--vad", "energy")
    assert (status, errors) == (0, "") and f"--model '{folder}'" in output
    assert "has no threshold" in refused("verify", *recordings, "--model", folder)
    assert call("verify", "--quiet", *recordings, "--model", folder)[0] == 2
    assert call("verify", *recordings, "--model", folder, "--threshold", 0.5)[1].startswith("accepted\tscore 1.0000")
    assert call("enroll", "anna", *recordings, "--model", folder, "--voices", tmp_path / "v.npz")[0] == 0
    identify = ("identify", recordings[0], "--model", folder, "--voices", tmp_path / "v.npz")
    assert "has no threshold" in refused(*identify)
    assert "\tanna\t1.0000" in call(*identify, "--threshold", 0.5)[1]
    assert "2 d-vectors of size 6" in call("embed", *recordings, "--model", folder, "--out", tmp_path / "d.npz")[1]
    assert "Pass --overwrite" in refused("convert", "resemblyzer", weights, folder, "--vad", "energy")
    again = ("convert", "resemblyzer", weights, folder, "--vad", "energy", "--overwrite", "--threshold", 0.5)
    assert "no threshold" not in call(*again)[1]
    assert call("verify", *recordings, "--model", folder)[1].endswith("threshold 0.5000\n")


def test_what_cannot_be_converted_is_one_message(weights, tmp_path, refused):
    torch.save({"conv.weight": torch.zeros(2, 3)}, tmp_path / "other.pt")
    assert "conv.weight 2×3. Known are" in refused("convert", "resemblyzer", tmp_path / "other.pt", tmp_path / "out")
    assert "does not exist" in refused("convert", "resemblyzer", tmp_path / "gone.pt", tmp_path / "out")
    assert "Unknown project 'pyannote'" in refused("convert", "pyannote", weights, tmp_path / "out")
    assert "is a file" in refused("convert", "resemblyzer", weights, weights)
    assert "vad/magic" in refused("convert", "resemblyzer", weights, tmp_path / "out", "--vad", "magic")
