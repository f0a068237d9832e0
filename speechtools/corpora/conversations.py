"""Conversations composed from the utterances of a corpus, with the turns that are in them.

They test diarization where there are no recordings of meetings with labels. What is composed is easier than a meeting
in some ways (each voice is recorded closely, nobody is cut short by others) and harder in one: people in a room know
each other's turns, and rarely leave no pause.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from speechtools.audio.recordings import read_short
from speechtools.audio.sources import AudioSource
from speechtools.audio.turns import Turn, join_turns
from speechtools.audio.vad import EnergyVAD
from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError
from speechtools.corpora.utterance import Utterance

#: Pauses of a speaker that are shorter (s) belong to the turn, as in the references of NIST's evaluations.
MAX_PAUSE = 0.3
#: Level (dB re full scale) of the speech of a speaker in the middle.
_LEVEL_DB = -26.0
_LONGEST_SECONDS = 60.0


@dataclass(frozen=True)
class Conversation:
    """A composed conversation.

    Attributes
    ----------
    samples : np.ndarray
        (samples,), float32.
    sample_rate : int
        In Hz.
    turns : list of Turn
        What each speaker says, sorted by start. The turns of two speakers may overlap.
    """

    samples: np.ndarray
    sample_rate: int
    turns: list[Turn]

    @property
    def seconds(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate

    @property
    def speakers(self) -> list[str]:
        """The names of the speakers, in the order of their first turns."""
        return list(dict.fromkeys(turn.speaker for turn in self.turns))

    @property
    def overlap(self) -> float:
        """Share of the time with speech in which two speakers or more speak."""
        edges = sorted([(turn.start, 1) for turn in self.turns] + [(turn.end, -1) for turn in self.turns])
        speech, both, active = 0.0, 0.0, 0
        for (time, step), (end, _) in zip(edges, edges[1:] + edges[-1:], strict=True):
            active += step
            speech += (end - time) * (active >= 1)
            both += (end - time) * (active >= 2)
        return both / speech if speech else 0.0


def compose(
    utterances: Iterable[Utterance],
    num_speakers: int,
    seed: int | Sequence[int] = 0,
    *,
    seconds: float = 120.0,
    overlap: float = 0.3,
    pause: tuple[float, float] = (0.1, 1.2),
    level_spread_db: float = 4.0,
    snr_db: float = 30.0,
    sample_rate: int = 16000,
) -> Conversation:
    """Compose a conversation from utterances of a corpus, each used at most once.

    Speakers are drawn, and how much each of them talks. A turn is one to three utterances of a speaker with short
    pauses; then another one speaks, after a pause or, in a share of the changes, before the turn has ended. Silence at
    both ends of an utterance is cut off. The turns of the reference are the speech that ``vad/energy`` finds in the
    utterance alone, with pauses of up to 0.3 s.

    Parameters
    ----------
    utterances : iterable of Utterance
        Of any corpus; only speakers with two utterances or more are drawn, if there are enough of them.
    num_speakers : int
        Everyone speaks at least once.
    seed : int or sequence of int
        Equal arguments give equal conversations.
    seconds : float
        The conversation ends with the turn that makes it as long, or earlier, when nobody else has utterances left.
    overlap : float
        Share of the changes of speaker, in [0, 1], in which the next one begins 0.2 to 1.5 s before the end.
    pause : tuple of float
        Shortest and longest pause (s) at the other changes.
    level_spread_db : float
        The levels of the speakers differ by up to so much from the middle, in dB.
    snr_db : float
        Level of the speech above that of a steady white noise.
    sample_rate : int
        In Hz.

    Raises
    ------
    ConfigError
        An option is out of its range, or the corpus has fewer speakers.
    AudioError
        A recording cannot be read.
    """
    check_number("num_speakers", num_speakers, 1, 100, whole=True)
    check_number("seconds", seconds, 1, 36_000)
    check_number("overlap", overlap, 0, 1)
    by_speaker: dict[str, list[Utterance]] = {}
    for utterance in utterances:
        by_speaker.setdefault(utterance.speaker, []).append(utterance)
    names = sorted(name for name, own in by_speaker.items() if len(own) > 1)
    names = names if len(names) >= num_speakers else sorted(by_speaker)
    if len(names) < num_speakers:
        raise ConfigError(f"num_speakers={num_speakers}, but the corpus has {len(names)} speakers. Pass fewer.")
    rng = np.random.default_rng(seed)
    speakers = [names[index] for index in rng.choice(len(names), num_speakers, replace=False)]
    left = {}
    for name in speakers:
        own = sorted(by_speaker[name], key=lambda utterance: utterance.utt_id)
        left[name] = [own[index] for index in rng.permutation(len(own))]
    shares = rng.dirichlet(np.full(num_speakers, 3.0))
    gains_db = _LEVEL_DB + rng.uniform(-level_spread_db, level_spread_db, num_speakers)
    vad = EnergyVAD(sample_rate)
    placed: list[tuple[int, np.ndarray]] = []
    turns: list[Turn] = []
    end, last = round(0.5 * sample_rate), -1
    order = rng.permutation(num_speakers).tolist()  # everyone speaks once before the draws
    while True:
        weights = shares * [bool(left[name]) for name in speakers]
        if num_speakers > 1 and last >= 0:
            weights[last] = 0.0
        if end > seconds * sample_rate or not weights.any():
            break
        index = order.pop(0) if order else int(rng.choice(num_speakers, p=weights / weights.sum()))
        name = speakers[index]
        samples, own_turns = _turn(left[name], rng, vad, 10 ** (gains_db[index] / 20))
        if last >= 0 and index != last and rng.random() < overlap:
            longest = min(len(samples), len(placed[-1][1])) / 2 / sample_rate
            gap = -min(rng.uniform(0.2, 1.5), longest)
        else:
            gap = rng.uniform(*pause)
        start = max(end + round(gap * sample_rate), 0)
        placed.append((start, samples))
        turns += [Turn(start / sample_rate + a, start / sample_rate + b, name) for a, b in own_turns]
        end, last = max(end, start + len(samples)), index
    mix = 10 ** ((_LEVEL_DB - snr_db) / 20) * rng.standard_normal(end + round(0.5 * sample_rate))
    for start, samples in placed:
        mix[start : start + len(samples)] += samples
    peak = np.abs(mix).max()
    mix = mix if peak <= 0.99 else mix * 0.99 / peak
    return Conversation(mix.astype(np.float32), sample_rate, join_turns(turns, MAX_PAUSE))


def _turn(
    utterances: list[Utterance], rng: np.random.Generator, vad: EnergyVAD, level: float
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Take one to three utterances off the list: their samples at a level, and the stretches (s) of speech in them."""
    rate = vad.hop_length * 100
    parts: list[np.ndarray] = []
    stretches: list[tuple[float, float]] = []
    length = 0
    for number in range(int(rng.integers(1, 4))):
        if not utterances:
            break
        samples, own = speech_stretches(utterances.pop(), vad, rate)
        if number:
            gap = np.zeros(round(rng.uniform(0.1, 0.5) * rate), dtype=np.float32)
            parts.append(gap)
            length += len(gap)
        stretches += [(start + length / rate, end + length / rate) for start, end in own]
        parts.append(samples)
        length += len(samples)
    samples = np.concatenate(parts)
    speech = np.concatenate([samples[round(start * rate) : round(end * rate)] for start, end in stretches])
    return samples * (level / max(float(np.sqrt(np.mean(np.square(speech, dtype=np.float64)))), 1e-9)), stretches


def speech_stretches(
    utterance: Utterance, vad: EnergyVAD, sample_rate: int
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Read an utterance without the silence at its ends: (samples,), and start and end (s) of its speech.

    Raises
    ------
    AudioError
        It cannot be read, is silent or longer than a minute.
    """
    source = AudioSource(utterance.path, sample_rate)
    samples = read_short(source, sample_rate, _LONGEST_SECONDS)
    if samples is None:
        raise ConfigError(f"{source.name} lasts more than {_LONGEST_SECONDS:g} s. Cut it into utterances.")
    speech = vad(torch.from_numpy(samples)[None])[0].numpy()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], speech, [False]]).astype(int))).reshape(-1, 2)
    if not len(edges):
        edges = np.array([[0, len(speech)]])
    edges = np.minimum(edges * vad.hop_length, len(samples))
    first, last = edges[0, 0], edges[-1, 1]
    return samples[first:last], [((a - first) / sample_rate, (b - first) / sample_rate) for a, b in edges.tolist()]
