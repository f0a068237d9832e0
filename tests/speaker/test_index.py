"""Manifests of speech by speaker are checked against their shards, their sample rate, and row against row."""

import json
from dataclasses import replace

import numpy as np
import pytest

from speechtools import cli
from speechtools.core.rows import check_manifest, write_rows
from speechtools.speaker import data as speaker_data
from speechtools.speaker.index import SpeakerRow

ROWS = [
    SpeakerRow(
        utt_id=f"u{number}",
        speaker=speaker,
        path="x.wav",
        duration=0.0625,
        shard="a.npy",
        start=1000 * number,
        samples=1000,
    )
    for number, speaker in enumerate(("anna", "anna", "bert"))
]


@pytest.fixture
def check(tmp_path):
    """``check(rows)`` writes a manifest and returns the problems found in it."""
    np.save(tmp_path / "a.npy", np.zeros(3000, np.int16))
    np.savez(tmp_path / "a.npz", np.zeros(3000, np.int16))
    np.save(tmp_path / "flat.npy", np.zeros((30, 100), np.int16))
    (tmp_path / "text.npy").write_text("no array")

    def checked(rows):
        write_rows(tmp_path / "train.csv", SpeakerRow, rows)
        name, count, problems = check_manifest(tmp_path / "train.csv")
        assert (name, count) == ("speaker", len(rows))
        return problems

    return checked


def test_a_sound_manifest_has_no_problems(check, tmp_path):
    assert check(ROWS) == []
    assert check([replace(row, keyword="yes") for row in ROWS]) == []
    for text in ("[1]", '{"sample_rate": "x"}', "{"):
        (tmp_path / "about.json").write_text(text)
        assert check(ROWS) == []


def test_what_a_preparation_writes_is_sound(tmp_path, builtin_cache):
    options = {"builtin": {"num_train_speakers": 4, "num_test_speakers": 2}}
    sets = speaker_data.prepare(save_folder=tmp_path, corpus_options=options, valid_share=0.5, num_workers=1)
    for path in sets.manifests.values():
        name, count, problems = check_manifest(path)
        assert name == "speaker" and count > 0 and problems == []


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"start": 2500}, "start=2500, samples=1000 are not within the 3000 of a.npy"),
        ({"start": -1}, "start=-1"),
        ({"samples": 0}, "samples=0"),
        ({"duration": 0.0}, "duration=0"),
        ({"shard": "b.npy"}, "shard=b.npy does not exist"),
        ({"shard": "text.npy"}, "shard=text.npy is damaged"),
        ({"shard": "a.npz"}, "shard=a.npz does not hold int16"),
        ({"shard": "flat.npy"}, "shard=flat.npy does not hold int16"),
        ({"utt_id": "u0"}, "utt_id 'u0' is also in row 2"),
        ({"speaker": "anna"}, "the only speaker"),
        ({"keyword": "yes"}, "others none"),
    ],
)
def test_a_wrong_row_is_one_problem(check, columns, message):
    (problem,) = check([*ROWS[:2], replace(ROWS[2], **columns)])
    assert problem.startswith("row 4 (u") and message in problem


def test_rows_of_a_speaker_are_together(check):
    (problem,) = check([ROWS[0], ROWS[2], ROWS[1]])
    assert problem.startswith("row 4 (u1): speaker=anna also has rows further up")


def test_durations_match_the_sample_rate_of_the_preparation(check, tmp_path):
    (tmp_path / "about.json").write_text(json.dumps({"sample_rate": 8000}))
    problems = check(ROWS)
    assert len(problems) == 3 and "1000 samples at 8000 Hz" in problems[0]


def test_the_command_prints_a_line_for_each_problem_and_returns_1(check, tmp_path, capsys):
    path = tmp_path / "train.csv"
    assert check(ROWS) == [] and cli.main(["check", str(path)]) == 0
    assert "3 rows" in capsys.readouterr().out
    assert check([replace(row, samples=0) for row in ROWS]) and cli.main(["check", str(path)]) == 1
    assert [line.split(": samples")[0] for line in capsys.readouterr().err.splitlines()] != []
