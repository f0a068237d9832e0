"""`speechtools calibrate`, with a model that takes the d-vectors of a table, and the commands with what it writes."""

import itertools
import shutil

import numpy as np
import pytest
import soundfile
import torch

from speechtools.core.errors import AudioError
from speechtools.inference import SpeakerVerification
from speechtools.speaker.windows import Embedded
from tests.speaker.test_inference import load, write_model

SPEAKERS, RECORDINGS = 8, 4


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Recordings and all pairs of them; an empty file is not embedded."""
    rng = np.random.default_rng(1)
    voices = rng.normal(size=(SPEAKERS, 6))
    names = [f"{speaker}-{number}.wav" for speaker in range(SPEAKERS) for number in range(RECORDINGS)]
    vectors = {name: torch.from_numpy(voices[int(name[0])] + 0.5 * rng.normal(size=6)).float() for name in names}

    def embed_files(self, paths, batch_size=32, *, sample_rate=None, channel="mix"):
        for path in paths:
            known = path.exists() and path.name in vectors
            yield path, Embedded(vectors[path.name], seconds=2.0) if known else AudioError(f"{path} does not exist.")

    monkeypatch.setattr(SpeakerVerification, "embed_files", embed_files)
    for name in names:
        (tmp_path / name).touch()
    lines = [f"{int(a[0] == b[0])} {a} {b}\n" for a, b in itertools.combinations(names, 2)]
    (tmp_path / "trials.txt").write_text("".join(lines))
    write_model(tmp_path / "model", zero_bias=True)
    return tmp_path


def numbers(output):
    return {line.split("\t")[0]: line.split("\t")[1:] for line in output.splitlines() if "\t" in line}


def test_a_model_with_the_calibration_is_written(folder, call, monkeypatch, tone):
    options = (folder / "trials.txt", "--model", folder / "model")
    status, output, errors = call("calibrate", *options)
    lines = numbers(output)
    assert status == 0 and not errors and "Nothing was written" in output
    assert 0 < float(lines["min Cllr"][0]) <= float(lines["Cllr"][0]) < 0.8 and "before" not in lines["Cllr"][1]
    assert lines["trials"] == ["496", "48 target, 448 non-target, of 8 speakers"] and lines["left out"][0] == "0"
    status, output, _ = call("calibrate", *options, "--out", folder / "my model")
    assert status == 0 and f"--model '{folder / 'my model'}'" in output and numbers(output) == lines
    model = load(folder / "my model")
    assert model.threshold == pytest.approx(float(lines["threshold"][0]), abs=1e-4)
    assert f"EER {lines['EER'][0]}" in model.card
    output = call("trials", folder / "trials.txt", "--model", folder / "my model")
    assert output[0] == 1  # `trials` loads a SpeakerEncoder, and these files are empty
    again = call("calibrate", folder / "trials.txt", "--model", folder / "my model")[1]
    assert "; 0." in numbers(again)["Cllr"][1] and "before" in numbers(again)["Cllr"][1]
    monkeypatch.undo()
    for name in ("a.wav", "b.wav"):
        soundfile.write(folder / name, tone(3.0), 16000)
    pair = (folder / "a.wav", folder / "b.wav")
    line = call("verify", *pair, "--model", folder / "my model")[1]
    assert line.startswith("accepted\tscore 1.0000\t") and " for 1 recording\tprobability 0.9" in line
    assert "probability" not in call("verify", *pair, "--model", folder / "my model", "--threshold", 0.5)[1]
    assert " for several recordings\n" in call("verify", *pair, "--model", folder / "model")[1]
    voices = ("--model", folder / "my model", "--voices", folder / "v.npz")
    assert call("enroll", "anna", *pair, *voices)[0] == 0
    assert " for 2 recordings\tprobability 0." in call("verify", "anna", pair[0], *voices)[1]
    assert call("verify", "anna", pair[0], "--model", folder / "model", "--voices", folder / "v.npz")[0] == 0
    name, score, probability = call("identify", pair[0], *voices)[1].rstrip().split("\t")[1:]
    assert (name, score) == ("anna", "1.0000") and 0.9 < float(probability) <= 1
    table = folder / "who.csv"
    assert call("identify", pair[0], *voices, "--threshold", 0.5, "--csv", table)[0] == 0
    assert ",probability," in table.read_text().splitlines()[0]


def test_recordings_that_cannot_be_used_are_left_out(folder, call):
    shutil.move(folder / "0-0.wav", folder / "gone.wav")
    status, output, errors = call(
        "calibrate", folder / "trials.txt", "--model", folder / "model", "--out", folder / "o"
    )
    assert status == 1 and errors.count("not embedded") == 1 and "0-0.wav does not exist" in errors
    assert numbers(output)["left out"] == ["31", "of 496 trials, for 1 recording of 32"]
    assert load(folder / "o").calibration is not None


def test_bad_input_is_one_message_and_nothing_is_lost(folder, call, refused):
    lines = (folder / "trials.txt").read_text().splitlines(keepends=True)

    def of(*chosen, **options):
        (folder / "list.txt").write_text("".join(chosen))
        return refused("calibrate", folder / "list.txt", "--model", folder / "model", "--out", folder / "out")

    assert "All 48 trials" in of(*(line for line in lines if line[0] == "1"))
    assert "All 448 trials" in of(*(line for line in lines if line[0] == "0"))
    assert "5 target and 448 non-target trials" in of(
        *(line for line in lines if line[0] == "0"), *[line for line in lines if line[0] == "1"][:5]
    )
    assert "of 4 speakers" in of(*(line for line in lines if line[2] < "4" and line.split()[2][0] < "4"))
    assert "Line 1 of" in of("anna ben\n")
    assert not (folder / "out").exists()
    assert "--root" in refused("calibrate", shutil.copy(folder / "trials.txt", folder / "model" / "t.txt"))
    (folder / "model" / "t.txt").unlink()
    options = (folder / "trials.txt", "--model", folder / "model", "--out")
    before = {path.name: path.read_bytes() for path in (folder / "model").iterdir()}
    assert "--overwrite" in refused("calibrate", *options, folder / "model")
    assert "contains other files" in refused("calibrate", *options, folder)
    assert "is a file" in refused("calibrate", *options, folder / "trials.txt")
    assert {path.name: path.read_bytes() for path in (folder / "model").iterdir()} == before
    swapped = "".join(str(1 - int(line[0])) + line[1:] for line in lines)
    assert "speakers" in of(swapped) or "higher scores" in of(swapped)
    assert call("calibrate", *options, folder / "model", "--overwrite")[0] == 0
    assert load(folder / "model").calibration is not None


def test_a_converted_model_gets_a_threshold(folder, call):
    write_model(folder / "converted", threshold=None, zero_bias=True)
    out = folder / "out"
    assert call("calibrate", folder / "trials.txt", "--model", folder / "converted", "--out", out)[0] == 0
    assert -1 < load(out).threshold < 1 and load(out).calibration is not None
