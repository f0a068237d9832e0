"""Turns and RTTM files."""

import pytest

from speechtools.audio.turns import Turn, join_turns, place_changes, read_rttm, write_rttm
from speechtools.core.errors import CorpusError


def test_rttm_is_read_as_it_was_written(tmp_path):
    turns = {"one": [Turn(0.0, 1.25, "anna"), Turn(1.25, 2.0, "ben")], "empty": [], "two": [Turn(3.5, 4.0, "anna")]}
    write_rttm(tmp_path / "out.rttm", turns)
    assert read_rttm(tmp_path / "out.rttm") == {key: value for key, value in turns.items() if value}


def test_white_space_in_names_keeps_the_fields(tmp_path):
    write_rttm(tmp_path / "out.rttm", {"my meeting": [Turn(0.0, 1.0, "Anna\tMaria")]})
    assert read_rttm(tmp_path / "out.rttm") == {"my_meeting": [Turn(0.0, 1.0, "Anna_Maria")]}


def test_other_lines_are_skipped_and_malformed_ones_refused(tmp_path):
    path = tmp_path / "in.rttm"
    path.write_text(";; comment\nSPKR-INFO x 1 <NA> <NA> <NA> unknown a <NA>\nSPEAKER x 1 0.5 1.0 <NA> <NA> a <NA>\n")
    assert read_rttm(path) == {"x": [Turn(0.5, 1.5, "a")]}
    for line in ("SPEAKER x 1 0.5", "SPEAKER x 1 zero 1.0 <NA> <NA> a", "SPEAKER x 1 0.5 nan <NA> <NA> a"):
        path.write_text(line)
        with pytest.raises(CorpusError, match="Line 1"):
            read_rttm(path)
    with pytest.raises(CorpusError, match="cannot be read"):
        read_rttm(tmp_path / "gone.rttm")


def test_joined_turns_cover_the_same_time_once():
    turns = [Turn(0.0, 1.0, "a"), Turn(0.5, 2.0, "a"), Turn(2.2, 3.0, "a"), Turn(0.2, 0.4, "b")]
    assert join_turns(turns) == [Turn(0.0, 2.0, "a"), Turn(0.2, 0.4, "b"), Turn(2.2, 3.0, "a")]
    assert join_turns(turns, 0.3) == [Turn(0.0, 3.0, "a"), Turn(0.2, 0.4, "b")]


def test_a_change_of_speaker_lies_in_the_longest_pause_near_it():
    turns = [Turn(0.0, 2.0, "a"), Turn(2.0, 4.0, "b")]
    pauses = [(0.5, 1.2), (1.7, 1.8), (2.1, 2.3), (2.9, 3.5)]
    assert place_changes(turns, pauses, 0.4, 0.3) == [Turn(0.0, 2.1, "a"), Turn(2.3, 4.0, "b")]
    assert place_changes(turns, pauses, 0.0, 0.0) == turns


def test_turns_that_meet_without_a_pause_overlap():
    turns = [Turn(0.0, 2.0, "a"), Turn(2.0, 2.4, "b"), Turn(3.0, 5.0, "a"), Turn(5.0, 6.0, "a")]
    placed = [Turn(0.0, 2.2, "a"), Turn(1.8, 2.4, "b"), Turn(3.0, 6.0, "a")]
    assert [pytest.approx(turn[:2]) for turn in placed] == [turn[:2] for turn in place_changes(turns, [], 0.4, 0.3)]
    # One who is only heard between two turns of another speaks at the same time.
    within = [Turn(0.0, 2.0, "a"), Turn(2.0, 2.5, "b"), Turn(2.5, 4.0, "a")]
    assert place_changes(within, [], 0.4, 0.3) == [Turn(0.0, 4.0, "a"), Turn(1.75, 2.75, "b")]
    assert place_changes([], [], 0.4, 0.3) == []


def test_a_pause_separates_one_change_and_a_short_turn_stays():
    turns = [Turn(0.0, 3.0, "a"), Turn(3.0, 3.3, "b"), Turn(3.3, 6.0, "a")]
    placed = place_changes(turns, [(3.1, 3.25)], reach=0.4, overlap=0.6)
    assert [turn.speaker for turn in placed] == ["a", "b", "a"]
    assert [turn.start for turn in placed] == sorted(turn.start for turn in placed) and placed[1].start == 3.25
