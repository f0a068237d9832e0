"""Cutting long utterances."""

import numpy as np
import pytest
import soundfile

from speechtools import audio
from speechtools.core.errors import CorpusError
from speechtools.corpora.cutting import cut_utterances, quietest_cuts
from speechtools.corpora.utterance import Utterance

RATE = 8000


def write(folder, name, samples):
    path = folder / f"{name.replace('/', '+')}.wav"
    audio.write(path, samples, RATE)
    return Utterance(name, "anna", "train", path, len(samples) / RATE, text="words")


def speech(seconds, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE)).clip(-3, 3).astype(np.float32)


def cut(utterances, folder, max_seconds=3.0):
    return cut_utterances(utterances, max_seconds, folder / "cut", RATE, num_workers=1)


@pytest.mark.parametrize("seconds", [3.01, 4.5, 8.0, 31.7])
@pytest.mark.parametrize("seed", range(3))
def test_no_piece_is_too_long_and_together_they_are_the_utterance(tmp_path, seconds, seed):
    samples = speech(seconds, seed)
    cuts = quietest_cuts(samples, RATE, 3.0)
    lengths = np.diff(cuts)
    assert cuts[0] == 0 and cuts[-1] == len(samples)
    assert lengths.min() > 0 and lengths.max() <= 3 * RATE
    original = write(tmp_path, "x", samples)
    pieces = cut([original], tmp_path)
    assert [piece.utt_id for piece in pieces] == [f"x-part{number}" for number in range(len(lengths))]
    assert [piece.duration for piece in pieces] == [length / RATE for length in lengths]
    assert {(piece.speaker, piece.split, piece.text) for piece in pieces} == {("anna", "train", None)}
    joined = np.concatenate([audio.read(piece.path, RATE) for piece in pieces])
    assert np.array_equal(joined, audio.read(original.path, RATE))


def test_cuts_are_in_pauses():
    samples = speech(8.0)
    for start in (1.9, 4.2, 6.1):
        samples[round(start * RATE) : round((start + 0.1) * RATE)] *= 1e-3
    cuts = np.array(quietest_cuts(samples, RATE, 3.0)[1:-1]) / RATE
    assert cuts == pytest.approx([1.95, 4.25, 6.15], abs=0.05)


def test_recordings_that_exceed_full_scale_are_made_softer(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, 5 * speech(4.0), RATE, subtype="FLOAT")
    assert np.abs(audio.read(path, RATE)).max() > 1.2
    pieces = cut([Utterance("x", "anna", "train", path, 4.0)], tmp_path)
    joined = np.concatenate([audio.read(piece.path, RATE) for piece in pieces])
    assert np.abs(joined).max() == pytest.approx(0.99, abs=1e-3)
    assert np.corrcoef(joined, speech(4.0))[0, 1] > 0.9999


def test_pieces_without_speech_are_left_out(tmp_path):
    samples = speech(9.0)
    samples[round(2.5 * RATE) :] *= 1e-3
    pieces = cut([write(tmp_path, "x", samples)], tmp_path)
    assert 0 < sum(piece.duration for piece in pieces) < 5
    assert all(np.abs(audio.read(piece.path, RATE)).max() > 0.1 for piece in pieces)


def test_short_and_unreadable_utterances_stay_and_pieces_are_made_once(tmp_path):
    short, long = write(tmp_path, "short", speech(2.0)), write(tmp_path, "long", speech(5.0))
    broken = Utterance("broken", "anna", "train", tmp_path / "missing.wav", 60.0)
    result = cut([short, broken, long], tmp_path)
    assert result[:2] == [short, broken] and all(piece.utt_id.startswith("long-part") for piece in result[2:])
    times = [piece.path.stat().st_mtime_ns for piece in result[2:]]
    assert cut([short, broken, long], tmp_path) == result
    assert times == [piece.path.stat().st_mtime_ns for piece in result[2:]]
    assert cut([short], tmp_path / "other") == [short] and not (tmp_path / "other").exists()


def test_ids_with_a_slash_have_files_of_their_own_and_no_id_occurs_twice(tmp_path):
    long = [write(tmp_path, name, speech(4.0, seed)) for seed, name in enumerate(("a/b", "a_b", "a%2Fb"))]
    pieces = cut(long, tmp_path)
    assert len({piece.path for piece in pieces}) == len(pieces) == 3 * len(quietest_cuts(speech(4.0), RATE, 3.0)[1:])
    other = write(tmp_path, "a_b-part0", speech(1.0))
    with pytest.raises(CorpusError, match="'a_b-part0'"):
        cut([*long, other], tmp_path)
