"""``speechtools spot``."""

import csv
import io
import json
import signal
import sys
import types

import numpy as np
import pytest
import soundfile

from speechtools import cli
from speechtools.inference import SpeakerVerification
from speechtools.speaker.voices import read_voices
from tests.keyword.tones import RATE, silence, spoken, write_detector
from tests.speaker.test_inference import voice, write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(write_detector(tmp_path_factory.mktemp("model") / "pretrained"))


@pytest.fixture
def folder(tmp_path):
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    both = np.concatenate([silence(0.5), spoken("ok google"), silence(1.0), spoken("snow"), silence(0.5)])
    soundfile.write(recordings / "both.wav", both, RATE)
    soundfile.write(recordings / "none.flac", voice(2.0), RATE)
    return recordings


def run(*words):
    return cli.main(["spot", *map(str, words)])


def test_a_line_for_each_hit(model, folder, capsys):
    assert run(folder, "--model", model, "--keyword", "ok google", "--keyword", "snow:0.6") == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [(line[0], line[3]) for line in lines] == [
        (str(folder / "both.wav"), "ok google"),
        (str(folder / "both.wav"), "snow"),
    ]
    assert 0.3 < float(lines[0][1]) < float(lines[0][2]) < float(lines[1][1]) and float(lines[0][4]) > 0.9


def test_tables_have_every_recording(model, folder, tmp_path, capsys):
    (folder / "bad.wav").write_bytes(b"no audio")
    outputs = "--csv", tmp_path / "hits.csv", "--jsonl", tmp_path / "hits.jsonl"
    assert run(folder, "--model", model, "--keyword", "snow", *outputs) == 1
    assert "bad.wav" in capsys.readouterr().err
    rows = list(csv.DictReader(open(tmp_path / "hits.csv", encoding="utf-8")))
    by_name = {row["file"].rpartition("/")[2]: row for row in rows}
    assert by_name["both.wav"]["keyword"] == "snow" and by_name["none.flac"]["keyword"] == ""
    assert by_name["bad.wav"]["error"] and len(rows) == 3
    assert len((tmp_path / "hits.jsonl").read_text().splitlines()) == 3


def test_who_spoke_it(model, folder, tmp_path, capsys):
    voice_model = write_model(tmp_path / "voice")
    verifier = SpeakerVerification.from_hparams(voice_model, run_opts={"device": "cpu"})
    verifier.enroll("anna", [voice(3.0)])
    verifier.save_voices(tmp_path / "voices.npz")
    words = "--voices", tmp_path / "voices.npz", "--voice_model", voice_model
    assert run(folder / "both.wav", "--model", model, "--keyword", "snow", *words, "--jsonl", "-") == 0
    row = json.loads(capsys.readouterr().out.splitlines()[0])
    assert row["keyword"] == "snow" and row["speaker"] in ("anna", "unknown")
    assert "speaker_score" in row or row["error"]


def test_samples_from_standard_input(model, folder, capsys, monkeypatch):
    samples, _ = soundfile.read(folder / "both.wav", dtype="int16")
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BufferedReader(io.BytesIO(samples.tobytes()))))
    assert run("--raw", RATE, "--model", model, "--keyword", "ok google") == 0
    assert capsys.readouterr().out.split("\t")[0::3] == ["standard input", "ok google"]


def test_a_microphone(model, folder, capsys, monkeypatch):
    """A fake sounddevice: blocks, and Ctrl-C at the end."""
    samples, _ = soundfile.read(folder / "both.wav", dtype="int16")
    blocks = iter([samples[first : first + 1600, None] for first in range(0, len(samples), 1600)])

    class InputStream:
        def __init__(self, **options):
            assert options["samplerate"] == RATE and options["channels"] == 1

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def read(self, size):
            block = next(blocks)
            if len(block) < size:
                signal.raise_signal(signal.SIGINT)
            return block, False

    fake = types.SimpleNamespace(InputStream=InputStream, PortAudioError=OSError)
    monkeypatch.setitem(sys.modules, "sounddevice", fake)
    assert run("--live", "--model", model, "--keyword", "snow") == 0
    assert "snow" in capsys.readouterr().out

    def none(**_):
        raise OSError("no default input device")

    monkeypatch.setattr(fake, "InputStream", none)
    assert run("--live", "--model", model, "--keyword", "snow") == 1
    assert "No microphone" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert run("--live", "--model", model, "--keyword", "snow") == 1
    assert "speechtools[live]" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--keyword", "snöw"), "instead of 'ö'"),
        (("--keyword", "x"), "fewer than 3"),
        (("--keyword", "snow", "--voice_model", "speaker"), "--voices"),
        (("--keyword", "snow", "--voices", "gone.npz"), "gone.npz"),
    ],
)
def test_mistakes(model, folder, capsys, words, reason):
    assert run(folder, "--model", model, *words) == 1
    assert reason in capsys.readouterr().err


def test_the_bundled_model(folder, capsys):
    assert run(folder, "--keyword", "hey computer") == 0
    assert capsys.readouterr().out == ""


def test_wrong_usage(model, folder, capsys):
    for words in (("--keyword", "snow"), (folder, "--live", "--keyword", "snow"), (folder,)):
        assert run("--model", model, *words) == 2
    assert "--keyword" in capsys.readouterr().err


def test_enrollment_with_the_keyword_alone(model, folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(SpeakerVerification, "REFUSES_NOISE", False)  # these keywords are tones
    voice_model, voices = write_model(tmp_path / "voice"), tmp_path / "voices.npz"
    words = ["enroll", "anna", folder / "both.wav", "--voices", voices, "--model", voice_model]

    def enroll(*options):
        return cli.main([*map(str, words), *map(str, options)])

    assert enroll("--detector", model, "--keyword", "ok google") == 0
    expected = len(spoken("ok google")) / RATE
    assert read_voices(voices).voices["anna"].seconds == pytest.approx(expected, abs=0.6)
    capsys.readouterr()
    for options, reason in (
        (("--detector", model, "--keyword", "hey computer"), "was not heard"),
        (("--detector", model), "--keyword"),
        (("--detector", model, "--keyword", "x"), "fewer than 3"),
        (("--detector", voice_model, "--keyword", "snow"), "KeywordDetector"),
    ):
        assert enroll("--overwrite", *options) == 1
        assert reason in capsys.readouterr().err
    (folder / "anna").mkdir()
    for name in ("both.wav", "none.flac"):
        (folder / name).rename(folder / "anna" / name)
    words[1:3] = ["--from-folder", folder]
    assert enroll("--overwrite", "--detector", model, "--keyword", "ok google") == 1
    output = capsys.readouterr()
    assert "anna enrolled" in output.out and "none.flac" in output.err
