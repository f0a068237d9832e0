"""``speechtools diarize``."""

import csv
import json

import numpy as np
import pytest
import soundfile

from speechtools import cli
from speechtools.audio.turns import read_rttm
from speechtools.inference import SpeakerVerification
from tests.speaker.test_inference import RATE, voice, write_model

pytest.importorskip("spectralcluster")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_model(tmp_path_factory.mktemp("model") / "pretrained"))


@pytest.fixture
def meetings(tmp_path):
    folder = tmp_path / "meetings"
    (folder / "b").mkdir(parents=True)
    soundfile.write(folder / "one.wav", np.concatenate([voice(3.0, 120.0), voice(3.0, 250.0)]), RATE)
    soundfile.write(folder / "b" / "one.flac", voice(3.0, 120.0), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    return folder


def run(*words):
    return cli.main(["diarize", *map(str, words)])


def test_a_line_for_each_recording_and_turn(model, meetings, capsys):
    assert run(meetings / "one.wav", "--model", model, "--speakers", 2) == 0
    first, *turns = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{meetings / 'one.wav'}: ") and "speech in 6.0 s" in first
    assert turns and all("speaker_" in line and "–" in line for line in turns)


def test_all_outputs_agree(model, meetings, tmp_path, capsys):
    outputs = {"--rttm": "out/all.rttm", "--csv": "out/all.csv", "--jsonl": "out/all.jsonl", "--png": "out/png"}
    words = [word for option, name in outputs.items() for word in (option, tmp_path / name)]
    assert run(meetings, "--model", model, *words) == 0
    message = capsys.readouterr().err
    assert "No speech was found" in message and "silent.wav" in message
    rttm = read_rttm(tmp_path / "out/all.rttm")
    assert set(rttm) == {"one", "one-2"}
    lines = [json.loads(line) for line in (tmp_path / "out/all.jsonl").read_text().splitlines()]
    rows = list(csv.DictReader(open(tmp_path / "out/all.csv", encoding="utf-8")))
    assert [row["file"] for row in rows] == [line["file"] for line in lines] and len(lines) == 3
    by_stem = {line["figure"].rpartition("/")[2][:-4]: line for line in lines}
    for name, turns in rttm.items():
        assert [(t["start"], t["speaker"]) for t in by_stem[name]["turns"]] == [(t.start, t.speaker) for t in turns]
        assert by_stem[name]["num_speakers"] == len(by_stem[name]["talk_times"]) == len({t.speaker for t in turns})
    assert by_stem["silent"]["turns"] == [] and by_stem["silent"]["num_speakers"] == 0
    assert {path.name for path in (tmp_path / "out/png").iterdir()} == {"one.png", "one-2.png", "silent.png"}


def test_rttm_on_the_standard_output_alone(model, meetings, capsys):
    assert run(meetings / "one.wav", "--model", model, "--rttm", "-") == 0
    assert all(line.startswith("SPEAKER one 1 ") for line in capsys.readouterr().out.splitlines())


def test_an_rttm_file_is_replaced_only_if_asked(model, meetings, tmp_path, capsys):
    (tmp_path / "reference.rttm").write_text("SPEAKER one 1 0.0 1.0 <NA> <NA> a <NA> <NA>\n")
    words = [meetings / "one.wav", "--model", model, "--rttm", tmp_path / "reference.rttm"]
    assert run(*words) == 1 and "--overwrite" in capsys.readouterr().err
    assert run(*words, "--overwrite") == 0
    assert run(meetings / "one.wav", "--model", model, "--rttm", meetings / "one.wav") == 1


def test_an_unreadable_recording_is_reported_and_the_others_are_diarized(model, meetings, capsys):
    (meetings / "text.wav").write_text("no audio")
    assert run(meetings, "--model", model) == 1
    captured = capsys.readouterr()
    assert "text.wav" in captured.err and "one.wav: " in captured.out


def test_voices_name_speakers_and_those_of_another_model_are_refused(model, meetings, tmp_path, capsys):
    verifier = SpeakerVerification.from_hparams(model, run_opts={"device": "cpu"})
    verifier.enroll("Anna Maria", meetings / "b" / "one.flac")
    verifier.save_voices(tmp_path / "voices.npz")
    words = [meetings / "b" / "one.flac", "--voices", tmp_path / "voices.npz"]
    assert run(*words, "--model", model, "--rttm", tmp_path / "out.rttm") == 0
    assert "Anna Maria" in capsys.readouterr().out
    assert {turn.speaker for turn in read_rttm(tmp_path / "out.rttm")["one"]} == {"Anna_Maria"}
    other = write_model(tmp_path / "other", seed=3)
    assert run(*words, "--model", other) == 1 and "another model" in capsys.readouterr().err


def test_a_model_without_threshold_needs_one_for_voices(meetings, tmp_path, capsys):
    folder = write_model(tmp_path / "converted", threshold=None)
    verifier = SpeakerVerification.from_hparams(folder)
    verifier.enroll("anna", meetings / "one.wav")
    verifier.save_voices(tmp_path / "voices.npz")
    words = [meetings / "one.wav", "--model", folder]
    assert run(*words) == run(*words, "--speakers", 2) == 0
    words += ["--voices", tmp_path / "voices.npz"]
    assert run(*words, "--rttm", tmp_path / "out.rttm") == 1 and "--threshold" in capsys.readouterr().err
    assert not (tmp_path / "out.rttm").exists()
    assert run(*words, "--threshold", 0.6) == 0


def test_wrong_options_are_refused(model, meetings, tmp_path, capsys):
    assert run(meetings, "--speakers", 0) == 2
    assert run(meetings, "--model", model, "--vad", "energie") == 1 and "vad/energy" in capsys.readouterr().err
    assert run(meetings, "--model", "quality-net") == 1 and "score" in capsys.readouterr().err
