"""`speechtools average`, and the commands with what it writes."""

import soundfile

from speechtools.inference import SpeakerVerification
from tests.speaker.test_inference import write_model


def speaker_model(folder, seed):
    return SpeakerVerification.from_hparams(write_model(folder, seed=seed)).save(folder)


def test_a_mean_works_in_the_commands(tmp_path, tone, call, refused):
    soundfile.write(tmp_path / "a.wav", tone(3.0), 16000)
    one, two, out = speaker_model(tmp_path / "one", 1), speaker_model(tmp_path / "two", 2), tmp_path / "the mean"
    status, output, errors = call("average", one, two, out, "--weights", "1,3")
    assert (status, errors) == (0, "") and "no threshold" in output and f"calibrate LIST --model '{out}'" in output
    facts = SpeakerVerification.from_hparams(out).facts
    assert [entry["model"] for entry in facts["averaged"]] == [str(one), str(two)]
    assert call("embed", tmp_path / "a.wav", "--model", out, "--out", tmp_path / "d.npz")[0] == 0
    assert "has no threshold" in refused("verify", tmp_path / "a.wav", tmp_path / "a.wav", "--model", out)
    assert "Pass --overwrite" in refused("average", one, two, out)
    assert call("average", one, two, out, "--overwrite")[0] == 0


def test_what_cannot_be_averaged_is_one_message(tmp_path, call, refused):
    one = speaker_model(tmp_path / "one", 1)
    out = tmp_path / "out"
    assert "at least 2 models" in refused("average", one, out)
    assert "model for SpeakerVerification" in refused("average", "quality-net", one, out)
    assert "Did you mean 'quality-net'" in refused("average", "quality-nett", one, out)
    assert "--weights: '1;3'" in refused("average", one, one, out, "--weights", "1;3")
    assert "does not name" in refused("average", write_model(tmp_path / "bare"), one, out)
    assert not out.exists() and call("average", one)[0] == 2
