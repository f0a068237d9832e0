"""Enrolling, identifying and storing voices."""

import numpy as np
import pytest
import soundfile
import torch

from speechtools.core.errors import AudioError, ConfigError
from speechtools.speaker.voices import read_voices
from tests.speaker.test_inference import RATE, load, voice, write_model


@pytest.fixture(scope="module")
def verifier(tmp_path_factory):
    return load(write_model(tmp_path_factory.mktemp("model") / "pretrained"))


@pytest.fixture
def recordings(tmp_path, verifier):
    verifier.voices.clear()
    paths = []
    for number, pitch in enumerate((110, 112, 114, 200)):
        paths.append(tmp_path / f"v{number}.wav")
        soundfile.write(paths[-1], voice(3.0, pitch, number), RATE)
    return paths


def test_identification_ranks_the_voices(verifier, recordings, bad_file):
    for name, number in (("anna", 0), ("ben", 1), ("carl", 3)):
        verifier.enroll(name, recordings[number])
    matches = verifier.identify(recordings[3], top=5)
    assert matches[0].name == "carl" and matches[0].score == pytest.approx(1.0, abs=1e-5) and matches[0].accepted
    assert len(matches) == 3 and [m.score for m in matches] == sorted((m.score for m in matches), reverse=True)
    for match in matches:
        assert match.score == pytest.approx(verifier.verify(match.name, recordings[3]).score, abs=1e-5)
    (best,) = verifier.identify(recordings[3], threshold=1.5)
    assert best.name == "carl" and not best.accepted and "accepted=False" in repr(best)
    results = dict(verifier.identify_files([recordings[3], bad_file[0]], top=2))
    assert [match.name for match in results[recordings[3]]] == [match.name for match in matches[:2]]
    assert isinstance(results[bad_file[0]], AudioError)


def test_a_search_without_voices_or_with_invalid_options_is_refused(verifier, recordings):
    with pytest.raises(ConfigError, match="No voice is enrolled"):
        verifier.identify(recordings[0])
    verifier.enroll("anna", recordings[0])
    with pytest.raises(ConfigError, match="top=0"):
        verifier.identify(recordings[0], top=0)
    for call in (verifier.identify, lambda path, threshold: verifier.verify("anna", path, threshold)):
        with pytest.raises(ConfigError, match="threshold=nan"):
            call(recordings[0], threshold=float("nan"))


def test_details_of_voices_are_stored(verifier, recordings, tmp_path):
    verifier.enroll("anna", recordings[:3])
    seconds = sum(verifier.encode_file_windows(path).seconds for path in recordings[:3])
    path = tmp_path / "voices.npz"
    verifier.save_voices(path)
    stored = read_voices(path, verifier.model_id).find("anna")
    assert stored.recordings == 3 and stored.seconds == pytest.approx(seconds) and stored.date.startswith("20")
    verifier.voices["anna"] = torch.nn.functional.normalize(torch.ones(6), dim=0)  # of other recordings
    verifier.save_voices(path)
    assert read_voices(path).find("anna").recordings == 0
    verifier.load_voices(path)
    assert np.array_equal(verifier.details("anna").voiceprint, verifier.voice("anna").numpy())


def test_a_copy_without_voices_keeps_its_own(verifier, recordings):
    verifier.voices.clear()
    verifier.enroll("anna", [recordings[0]])
    copy = verifier.without_voices()
    assert copy.voices == {} and copy.encoder is verifier.encoder
    copy.restore_voice("berta", verifier.details("anna"))
    assert list(verifier.voices) == ["anna"] and list(copy.voices) == ["berta"]
    assert copy.details("berta").seconds == verifier.details("anna").seconds > 0


def test_a_size_other_than_that_of_the_model_is_refused(verifier, tmp_path):
    np.savez(tmp_path / "v.npz", names=["a"], voiceprints=np.eye(1, 5, dtype=np.float32), model=verifier.model_id)
    with pytest.raises(ConfigError, match="have size 5"):
        verifier.load_voices(tmp_path / "v.npz")


def test_bad_recordings_can_be_left_out(verifier, recordings, bad_file):
    with pytest.raises(AudioError):
        verifier.enroll("anna", [recordings[0], bad_file[0]])
    assert not verifier.voices
    errors = []
    voiceprint = verifier.enroll("anna", [recordings[0], bad_file[0]], errors)
    assert bad_file[1] in str(errors[0]) and verifier.details("anna").recordings == 1
    assert torch.allclose(voiceprint, verifier.encode_file(recordings[0]), atol=1e-5)
    with pytest.raises(AudioError, match="None of the 1 recordings of 'ben'"):
        verifier.enroll("ben", [bad_file[0]], [])
    with pytest.raises(ConfigError, match="blank"):
        verifier.enroll("\n", recordings)
