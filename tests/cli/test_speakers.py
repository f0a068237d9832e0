"""`speechtools embed`, `enroll` and `verify`, with the bundled model."""

import numpy as np
import pytest
import soundfile

from speechtools import cli


@pytest.fixture
def recordings(tmp_path):
    """Two recordings of one buzzing voice, and one of another."""
    paths = []
    time = np.arange(2 * 16000) / 16000
    for number, pitch in enumerate((110, 112, 200)):
        wave = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 12)) * (np.sin(8 * time) > -0.6)
        noise = 0.0005 * np.random.default_rng(number).standard_normal(len(time))
        paths.append(str(tmp_path / f"v{number}.wav"))
        soundfile.write(paths[-1], 0.1 * wave + noise, 16000)
    return paths


def test_embed_writes_the_dvectors_and_reports_bad_files(recordings, tmp_path, capsys):
    out = tmp_path / "dvectors.npz"
    assert cli.main(["embed", *recordings, str(tmp_path / "gone.wav"), "--out", str(out)]) == 1
    with np.load(out) as content:
        assert content["files"].tolist() == recordings and content["dvectors"].shape == (3, 128)
    printed = capsys.readouterr()
    assert "gone.wav does not exist" in printed.err and "3 d-vectors of size 128" in printed.out


def test_embed_replaces_no_file_without_a_dvector(tmp_path, capsys):
    out = tmp_path / "dvectors.npz"
    out.write_bytes(b"earlier")
    assert cli.main(["embed", str(tmp_path / "gone.wav"), "--out", str(out)]) == 1
    assert out.read_bytes() == b"earlier" and "was not written" in capsys.readouterr().out
    assert cli.main(["embed", str(tmp_path / "gone.wav"), "--out", str(tmp_path)]) == 1
    assert "is a folder" in capsys.readouterr().err


def test_enroll_and_verify(recordings, tmp_path, capsys):
    voices = ["--voices", str(tmp_path / "voices.npz")]
    assert cli.main(["enroll", "anna", *recordings[:2], *voices]) == 0
    assert cli.main(["enroll", "bob", recordings[2], *voices]) == 0
    assert "voices: anna, bob" in capsys.readouterr().out
    for threshold, word in (("-1.1", "accepted"), ("1.1", "rejected")):
        assert cli.main(["verify", "anna", recordings[2], *voices, "--threshold", threshold]) == 0
        output = capsys.readouterr().out
        assert output.startswith(f"{word}\tscore ") and output.endswith(f"\tthreshold {threshold}000\n")
    assert cli.main(["verify", recordings[0], recordings[0]]) == 0
    assert "accepted\tscore 1.0000" in capsys.readouterr().out
    assert cli.main(["verify", "carl", recordings[0], *voices]) == 1
    assert "No voice 'carl' is enrolled. Enrolled voices: anna, bob" in capsys.readouterr().err
    assert cli.main(["verify", "anna", recordings[0]]) == 1
    assert "There is no recording anna" in (error := capsys.readouterr().err) and "--voices" in error
