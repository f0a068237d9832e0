"""`speechtools embed`, `enroll` and `verify`, with the bundled model."""

import numpy as np
import pytest
import soundfile


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


def test_enroll_and_verify(recordings, tmp_path, call, refused):
    voices = ["--voices", tmp_path / "voices.npz"]
    call("enroll", "anna", *recordings[:2], *voices)
    assert "voices: anna, bob" in call("enroll", "bob", recordings[2], *voices)[1]
    for threshold, word in (("-1.1", "accepted"), ("1.1", "rejected")):
        status, output, _ = call("verify", "anna", recordings[2], *voices, "--threshold", threshold)
        assert status == 0 and output.startswith(f"{word}\tscore ")
        assert output.endswith(f"\tthreshold {threshold}000\n")
    assert "accepted\tscore 1.0000" in call("verify", recordings[0], recordings[0])[1]
    assert "No voice 'carl' is enrolled. Enrolled" in refused("verify", "carl", recordings[0], *voices)
    assert "recording anna does not exist" in refused("verify", "anna", recordings[0])
