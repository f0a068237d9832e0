"""Manifests of speech by speaker are checked against their shards, their sample rate, and row against row."""

import json
from dataclasses import replace

import numpy as np
import pytest

from speechtools.core.rows import check_manifest, write_rows
from speechtools.speaker.index import SpeakerRow
from tests.speaker.stores import row

ROWS = [row(f"u{number}", ("anna", "anna", "bert")[number], 1000 * number, 1000) for number in range(3)]


@pytest.fixture
def check(tmp_path):
    """``check(rows)`` writes a manifest and returns the problems found in it."""
    np.save(tmp_path / "a.npy", np.zeros(3000, np.int16))
    np.save(tmp_path / "flat.npy", np.zeros((30, 100), np.int16))
    (tmp_path / "text.npy").write_text("no array")

    def checked(rows):
        write_rows(tmp_path / "train.csv", SpeakerRow, rows)
        name, count, problems = check_manifest(tmp_path / "train.csv")
        assert (name, count) == ("speaker", len(rows))
        return problems

    return checked


def test_a_sound_manifest_has_no_problems(check, tmp_path):
    assert check([replace(row, keyword="yes") for row in ROWS]) == []
    for text in ("[1]", '{"sample_rate": "x"}', "{"):
        (tmp_path / "about.json").write_text(text)
        assert check(ROWS) == []


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"start": 2500}, "start=2500, samples=1000 are not within the 3000 of a.npy"),
        ({"duration": 0.0}, "duration=0"),
        ({"shard": "b.npy"}, "shard=b.npy does not exist"),
        ({"shard": "text.npy"}, "shard=text.npy is damaged"),
        ({"shard": "flat.npy"}, "shard=flat.npy does not contain int16"),
        ({"utt_id": "u0"}, "utt_id 'u0' is also in row 2"),
        ({"speaker": "anna"}, "the only speaker"),
        ({"keyword": "yes"}, "others none"),
    ],
)
def test_a_wrong_row_is_one_problem(check, columns, message):
    (problem,) = check([*ROWS[:2], replace(ROWS[2], **columns)])
    assert problem.startswith("row 4 (u") and message in problem


def test_rules_for_all_rows(check, tmp_path):
    (problem,) = check([ROWS[0], ROWS[2], ROWS[1]])
    assert problem.startswith("row 4 (u1): speaker=anna also has rows further up")
    (tmp_path / "about.json").write_text(json.dumps({"sample_rate": 8000}))
    problems = check(ROWS)
    assert len(problems) == 3 and "1000 samples at 8000 Hz" in problems[0]
