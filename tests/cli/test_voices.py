"""`speechtools enroll`, `verify`, `identify` and `voices`, with the bundled model."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from speechtools.audio import read
from speechtools.corpora.builtin import builtin
from speechtools.inference import QualityNet, SpeakerVerification
from speechtools.speaker.voices import read_voices


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


@pytest.fixture
def voices(tmp_path):
    return ["--voices", tmp_path / "voices.npz"]


@pytest.fixture
def enrolled(recordings, voices, call):
    """The file of the voices anna and bob."""
    assert call("enroll", "anna", *recordings[:2], *voices)[0] == 0
    assert "voices: anna, bob" in call("enroll", "bob", recordings[2], *voices)[1]
    return voices


def test_enroll_and_verify(recordings, enrolled, call, refused):
    for threshold, word in (("-1.1", "accepted"), ("1.1", "rejected")):
        status, output, _ = call("verify", "anna", recordings[2], *enrolled, "--threshold", threshold)
        assert status == 0 and output.startswith(f"{word}\tscore ")
        assert output.endswith(f"\tthreshold {threshold}000\n")
    assert "accepted\tscore 1.0000" in call("verify", recordings[0], recordings[0])[1]
    assert "No voice 'carl' is enrolled. Enrolled" in refused("verify", "carl", "gone.wav", *enrolled)
    assert "recording anna does not exist" in refused("verify", "anna", recordings[0])
    assert call("verify", "anna", recordings[0], *enrolled, "--threshold", "nan")[0] == 2


def test_swapped_words_and_a_missing_file_of_voices_are_explained(recordings, enrolled, tmp_path, refused):
    expected = f"`speechtools verify anna {recordings[0]} --voices {enrolled[1]}`"
    assert expected in refused("verify", recordings[0], "anna", *enrolled)
    assert "verify anna gone.wav" in refused("verify", "gone.wav", "anna", *enrolled)
    assert "leave out --voices" in refused("verify", *recordings[:2], *enrolled)
    assert "verify NAME RECORDING" in refused("verify", recordings[0], "anna")
    for command in (["verify", "anna"], ["identify"]):
        assert "speechtools enroll" in refused(*command, recordings[0], "--voices", tmp_path / "gone.npz")


def test_quiet_gives_the_decision_as_exit_status(recordings, enrolled, tmp_path, call, monkeypatch):
    noise = tmp_path / "silence.wav"
    soundfile.write(noise, np.zeros(16000), 16000)
    for arguments, expected in (
        (["anna", recordings[0], *enrolled], 0),
        (["anna", recordings[0], *enrolled, "--threshold", 1.5], 1),
        (["anna", tmp_path / "gone.wav", *enrolled], 2),
        (["carl", recordings[0], *enrolled], 2),
        (["anna", noise, *enrolled], 2),
        (["anna", recordings[0], "--voices", tmp_path / "gone.npz"], 2),
    ):
        status, output, errors = call("verify", "--quiet", *arguments)
        assert (status, output) == (expected, "") and bool(errors) == (expected == 2), arguments
    assert call("verify", "anna", noise, *enrolled)[0] == 1
    monkeypatch.setattr("speechtools.cli.voices._decide", lambda *_: 1 / 0)
    assert call("verify", "-q", "anna", recordings[0], *enrolled)[0] == 2


def test_a_name_is_replaced_or_extended_on_demand_only(recordings, enrolled, call, refused):
    before = enrolled[1].read_bytes()
    message = refused("enroll", "bob", recordings[0], *enrolled)
    assert "--overwrite" in message and "--add" in message and enrolled[1].read_bytes() == before
    assert "extended by 2 recordings" in call("enroll", "bob", *recordings[:2], *enrolled, "--add")[1]
    assert read_voices(enrolled[1]).find("bob").recordings == 3
    assert "enrolled again from 1 recording" in call("enroll", "bob", recordings[2], *enrolled, "--overwrite")[1]
    assert read_voices(enrolled[1]).find("bob").recordings == 1
    assert "exclude" in refused("enroll", "bob", recordings[2], *enrolled, "--overwrite", "--add")


def test_a_forgotten_name_or_recording_is_refused(recordings, voices, tmp_path, refused):
    for words in (recordings[:2], ["anna"], []):
        assert "enroll NAME RECORDING" in refused("enroll", *words, *voices)
    assert f"--from-folder={tmp_path}" in refused("enroll", tmp_path, *voices)
    assert "not both" in refused("enroll", "anna", recordings[0], "--from-folder", tmp_path, *voices)
    assert "is a recording" in refused("enroll", "anna", recordings[1], "--voices", recordings[0])
    assert "voices.npz" in refused("enroll", "anna", recordings[1], "--voices", tmp_path)
    assert soundfile.info(recordings[0]).frames == 32000
    assert not voices[1].exists()


def test_a_folder_enrolls_each_subfolder(recordings, voices, tmp_path, call, refused):
    folder = tmp_path / "speakers"
    for name, paths in {"anna": recordings[:2], "Zoë D": recordings[2:], "empty": [], "bad": []}.items():
        (folder / name).mkdir(parents=True)
        for path in paths:
            shutil.copy(path, folder / name)
    for name in ("bad", "anna"):
        (folder / name / "text.wav").write_text("no audio")
    status, output, errors = call("enroll", "--from-folder", folder, *voices)
    assert status == 1 and "anna enrolled from 2 recordings" in output and "Zoë D enrolled from 1" in output
    assert errors.count("not used: ") == 2 and "recordings of 'bad'" in errors and "empty contains no audio" in errors
    status, output, errors = call("enroll", "--from-folder", folder, *voices)
    assert status == 1 and not output and "anna is enrolled already" in errors
    assert sorted(read_voices(voices[1]).voices) == ["Zoë D", "anna"]
    assert "is not a folder" in refused("enroll", "--from-folder", recordings[0], *voices)
    assert "no subfolders" in refused("enroll", "--from-folder", folder / "anna", *voices)


def test_identify_ranks_voices_and_reports_bad_files(recordings, enrolled, tmp_path, call, refused):
    bad = tmp_path / "bad\n.wav"
    bad.write_text("no audio")
    status, output, errors = call("identify", recordings[2], bad, *enrolled, "--top", 3, "--threshold", -1)
    lines = [line.split("\t") for line in output.splitlines()]
    assert status == 1 and [name for _, name, _ in lines] == ["bob", "anna"] and "not identified" in errors
    assert lines[0][0] == recordings[2] and float(lines[0][2]) > float(lines[1][2])
    status, output, _ = call("identify", recordings[2], *enrolled, "--threshold", 1.5)
    assert status == 0 and output == f"{recordings[2]}\tnobody\t{float(lines[0][2]):.4f}\n"
    table, jsonl = tmp_path / "t.csv", tmp_path / "t.jsonl"
    status, output, _ = call("identify", recordings[2], bad, *enrolled, "--csv", table, "--jsonl", jsonl)
    assert status == 1 and output.count("1 recording identified") == 2
    with open(table, encoding="utf-8", newline="") as stream:
        first, second = csv.DictReader(stream)
    assert (first["file"], first["rank"], first["name"], first["error"]) == (recordings[2], "1", "bob", "")
    assert second["file"] == str(bad) and second["name"] == "" and "cannot be read" in second["error"]
    assert [json.loads(line)["name"] for line in jsonl.read_text().splitlines()] == ["bob", None]
    assert "would be replaced" in refused("identify", recordings[2], *enrolled, "--csv", enrolled[1])
    call("voices", "remove", "anna", "bob", *enrolled)
    assert "no voices" in refused("identify", recordings[2], *enrolled)


@pytest.fixture
def speech(tmp_path):
    """Two recordings of a synthetic speaker, and one of the same with noise in its last two thirds."""
    pytest.importorskip("espeakng_loader")
    utterances = list(builtin(num_train_speakers=1, num_test_speakers=1, num_workers=1))[:9]
    parts = [np.concatenate([read(u.path) for u in utterances[k : k + 3]]) for k in (0, 3, 6)]
    start = len(parts[2]) // 3
    parts[2][start:] += 0.05 * np.random.default_rng(0).standard_normal(len(parts[2]) - start)
    paths = [str(tmp_path / f"speech{number}.wav") for number in range(3)]
    for path, samples in zip(paths, parts, strict=True):
        soundfile.write(path, samples, 16000)
    return paths


def test_windows_are_weighed_by_quality(speech, voices, tmp_path, call, refused, monkeypatch):
    *clean, noisy = speech
    status, output, errors = call("enroll", "anna", *clean, *voices, "--weigh-by-quality")
    usable = re.search(r"anna enrolled from 2 recordings, (\d+\.\d) of (\d+\.\d) s usable: ", output)
    assert status == 0 and usable[1] == usable[2] and not errors
    plain = call("verify", "anna", noisy, *voices)[1]
    weighed = call("verify", "anna", noisy, *voices, "--weigh-by-quality")[1]
    pattern = r"\tthreshold 0\.\d{4} for \w+ recordings\t(probability [01]\.\d{4}\t)?\d+\.\d of \d+\.\d s usable\n$"
    assert re.search(pattern, weighed) and "usable" not in plain
    score, other = (float(line.split("score ")[1].split()[0]) for line in (plain, weighed))
    assert other > score
    table, jsonl = tmp_path / "t.csv", tmp_path / "t.jsonl"
    options = [*voices, "--threshold", -1, "--weigh-by-quality"]
    line = call("identify", noisy, *options)[1]
    assert line.startswith(f"{noisy}\tanna\t{other:.4f}\t") and line.endswith(" s usable\n")
    assert call("identify", noisy, *options, "--csv", table, "--jsonl", jsonl)[0] == 0
    with open(table, encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    usable = [float(row[key]) for key in ("usable_seconds", "speech_seconds")]
    assert f"{usable[0]:.1f} of {usable[1]:.1f} s usable" in line
    assert json.loads(jsonl.read_text())["usable_seconds"] == usable[0]
    monkeypatch.setattr("speechtools.speaker.weighing.LIMIT", 9.0)
    message = refused("enroll", "ben", *clean, *voices, "--weigh-by-quality")
    assert "0.0 of " in message and "'ben' is too bad to enroll" in message


def test_little_usable_speech_is_a_warning_at_enrollment(speech, voices, call, monkeypatch):
    verifier = SpeakerVerification.from_hparams()
    verifier.weigh_by_quality(QualityNet.from_hparams(), limit=0.0, spread=1.0)
    scores = np.sort(verifier.encode_file_windows(speech[2]).margins)
    monkeypatch.setattr("speechtools.speaker.weighing.LIMIT", float(scores[-2:].mean()))  # the best window alone
    status, output, errors = call("enroll", "anna", speech[2], *voices, "--weigh-by-quality")
    assert status == 0 and re.search(r"\d\.\d of \d\.\d s usable in the recording of 'anna'. Record again", errors)
    assert "s usable: " in output


def test_wrong_models_of_quality_are_refused(recordings, voices, refused):
    words = ["enroll", "anna", recordings[0], *voices]
    assert "Pass both" in refused(*words, "--quality_model", "quality-net")
    assert "--quality_model=speaker" in refused(*words, "--weigh-by-quality", "--quality_model", "speaker")
    assert not voices[1].exists()


def test_voices_are_listed_renamed_and_removed(recordings, enrolled, tmp_path, call, refused):
    rows = [line.split("\t") for line in call("voices", "list", *enrolled)[1].splitlines()]
    assert [(name, count) for name, count, _, _ in rows] == [("anna", "2"), ("bob", "1")]
    assert float(rows[0][2]) > 1 and rows[0][3].startswith("20")
    assert "--overwrite" in refused("voices", "rename", "anna", "bob", *enrolled)
    assert "blank" in refused("voices", "rename", "anna", " ", *enrolled)
    assert call("voices", "rename", "anna", "An\nna", *enrolled)[1] == "anna renamed to An\\nna\n"
    assert "An\\nna\t2" in call("voices", "list", *enrolled)[1]
    assert call("voices", "rename", "An\nna", "bob", *enrolled, "--overwrite")[0] == 0
    assert read_voices(enrolled[1]).find("bob").recordings == 2
    assert "No voice 'carl'" in refused("voices", "remove", "bob", "carl", *enrolled)
    assert call("voices", "remove", "bob", "bob", *enrolled)[:2] == (0, "removed: bob\n")
    assert call("voices", "list", *enrolled)[1] == ""
    former = tmp_path / "former.npz"
    np.savez(former, names=["anna"], voiceprints=np.eye(1, 128, dtype=np.float32), model="0")
    assert call("voices", "list", "--voices", former)[1] == "anna\t-\t-\t-\n"
    assert "another model" in refused("enroll", "ben", recordings[0], "--voices", former)
    assert "another model" in refused("identify", recordings[0], "--voices", former)


@pytest.mark.slow  # tests/speaker/test_voices.py has threads
def test_processes_that_enroll_at_the_same_time_lose_no_voice(recordings, voices):
    command = [sys.executable, "-m", "speechtools.cli", "enroll"]
    processes = [subprocess.Popen([*command, name, recordings[0], *voices]) for name in ("anna", "ben")]
    try:
        assert [process.wait(110) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    assert sorted(read_voices(voices[1]).voices) == ["anna", "ben"]
    assert not [name for name in os.listdir(voices[1].parent) if name.startswith(".")]
