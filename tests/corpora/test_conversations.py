"""Composed conversations: their reference is true, and they are what was asked for."""

import numpy as np
import pytest
import soundfile

from speechtools.audio.turns import Turn
from speechtools.core.errors import ConfigError
from speechtools.corpora.conversations import Conversation, compose
from speechtools.corpora.utterance import Utterance

RATE = 16000


@pytest.fixture(scope="module")
def utterances(tmp_path_factory):
    """Four speakers with six utterances of 2 s each: a tone of their own between 0.3 s of silence."""
    folder = tmp_path_factory.mktemp("corpus")
    result = []
    time = np.arange(2 * RATE) / RATE
    for number, name in enumerate("abcd"):
        for take in range(6):
            tone = 0.1 * np.sin(2 * np.pi * 400 * (number + 1) * time) * ((time > 0.3) & (time < 1.7))
            noise = 1e-4 * np.random.default_rng([number, take]).standard_normal(len(time))
            soundfile.write(folder / f"{name}{take}.wav", tone + noise, RATE)
            result.append(Utterance(f"{name}{take}", name, "test", folder / f"{name}{take}.wav", 2.0))
    return result


def test_equal_seeds_give_equal_conversations(utterances):
    first, second, other = (compose(utterances, 3, seed, seconds=20) for seed in (1, 1, 2))
    assert np.array_equal(first.samples, second.samples) and first.turns == second.turns
    assert first.turns != other.turns


@pytest.mark.parametrize("count", [1, 2, 4])
def test_everyone_speaks_where_the_reference_says(utterances, count):
    conversation = compose(utterances, count, 3, seconds=30, overlap=0.0)
    assert len(conversation.speakers) == count and conversation.overlap == 0.0
    assert conversation.samples.dtype == np.float32 and np.abs(conversation.samples).max() < 1
    outside = np.ones(len(conversation.samples), dtype=bool)
    for turn in conversation.turns:
        cut = slice(round(turn.start * RATE), round(turn.end * RATE))
        outside[cut] = False
        middle = conversation.samples[cut][len(conversation.samples[cut]) // 4 :][: RATE // 4]
        frequency = np.abs(np.fft.rfft(middle)).argmax() * RATE / len(middle)
        assert frequency == pytest.approx(400 * ("abcd".index(turn.speaker) + 1), abs=8)
    speech, rest = conversation.samples[~outside], conversation.samples[outside]
    assert np.sqrt(np.mean(rest**2)) < 0.1 * np.sqrt(np.mean(speech**2))


def test_turns_overlap_if_asked(utterances):
    assert compose(utterances, 3, 0, seconds=30, overlap=1.0).overlap > 0.05


def test_overlap_is_the_share_of_time_with_two_speakers():
    turns = [Turn(0.0, 2.0, "a"), Turn(1.0, 3.0, "b"), Turn(4.0, 5.0, "a")]
    assert Conversation(np.zeros(80000), RATE, turns).overlap == pytest.approx(0.25)


@pytest.mark.parametrize(
    "options, token", [({"num_speakers": 5}, "4 speakers"), ({"num_speakers": 2, "overlap": 2.0}, "overlap")]
)
def test_what_cannot_be_composed_is_refused(utterances, options, token):
    with pytest.raises(ConfigError, match=token):
        compose(utterances, **options)
