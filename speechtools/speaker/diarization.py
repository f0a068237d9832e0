"""Diarization: who speaks when in a recording, without or with enrolled voices."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from speechtools.audio import voicing
from speechtools.audio.io import OffsetMean, blocks, decode
from speechtools.audio.recordings import as_audio_error, as_list, open_source
from speechtools.audio.sources import AudioSource, Channel, Recording, is_path
from speechtools.audio.turns import Turn, join_turns, place_changes, write_rttm
from speechtools.audio.vad import EnergyVAD
from speechtools.core.checks import check_number
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.registry import build
from speechtools.speaker import dvectors
from speechtools.speaker.clustering import SAME_SPEAKER, Windows, cluster_windows, label_times
from speechtools.speaker.partitions import centroids
from speechtools.speaker.vectors import unit
from speechtools.speaker.verification import Match, SpeakerVerification

#: Speakers that are estimated at most.
MAX_SPEAKERS = 8
#: Windows that are embedded together.
_BATCH_WINDOWS = 256
#: Lengths (s) of windows that are shorter than those of the model are multiples of this, so that few batches suffice.
_SHORT_STEP = 0.1


@dataclass(frozen=True)
class Diarization:
    """Who speaks when in a recording.

    Attributes
    ----------
    turns : list of Turn
        Sorted by start; those of two speakers may overlap where they change. Empty if there is no speech.
    seconds : float
        Length of the recording.
    matches : dict of str to Match
        The most similar enrolled voice of each speaker, if voices are enrolled. An accepted one gave the speaker its
        name.
    no_speech : str
        Reason for an empty result; empty if there are some.

    Examples
    --------
    >>> result = Diarization([Turn(0.0, 2.0, "anna"), Turn(2.5, 3.0, "speaker_1"), Turn(3.0, 4.0, "anna")], 4.5)
    >>> result.speakers, result.talk_times, result.speech_seconds
    (['anna', 'speaker_1'], {'anna': 3.0, 'speaker_1': 0.5}, 3.5)
    """

    turns: list[Turn]
    seconds: float
    matches: dict[str, Match] = field(default_factory=dict)
    no_speech: str = ""

    @property
    def speakers(self) -> list[str]:
        """The names of the speakers, in the order of their first turns."""
        return list(dict.fromkeys(turn.speaker for turn in self.turns))

    @property
    def talk_times(self) -> dict[str, float]:
        """Seconds of speech of each speaker; what two say at once counts for both."""
        return {name: sum(turn.duration for turn in self.turns if turn.speaker == name) for name in self.speakers}

    @property
    def speech_seconds(self) -> float:
        """Seconds in which somebody speaks."""
        return sum(turn.duration for turn in join_turns(turn._replace(speaker="") for turn in self.turns))

    def write_rttm(self, path: str | Path, recording: str) -> None:
        """Write the turns to an RTTM file, under the name of the recording."""
        write_rttm(path, {recording: self.turns})


class SpeakerDiarization(SpeakerVerification):
    """Who speaks when, with a trained d-vector encoder.

    The voice activity detector of the model finds the speech; sliding windows of it are embedded, and clustered by
    speaker. A hidden Markov model over the clusters smooths the turns and places their borders. Speakers that match an
    enrolled voice get its name; the others are ``speaker_1``, ``speaker_2`` … in the order in which they speak.

    Where two turns meet without a pause, they are taken to overlap for a short time; other overlapping speech is given
    to one of its speakers.

    Examples
    --------
    >>> diarizer = SpeakerDiarization.from_hparams()  # the bundled model
    >>> diarizer.diarize_file("meeting.wav").turns  # doctest: +SKIP
    [Turn(start=0.51, end=3.92, speaker='speaker_1'), Turn(start=4.33, end=9.05, speaker='speaker_2')]
    """

    #: Windows start every so many windows.
    STEP = 0.25
    #: Pauses of a speaker that are shorter (s) belong to the turn.
    MAX_PAUSE = 0.3
    #: Position of the threshold of ``vad/energy``: lower than for one voice, as some speak more quietly than others.
    VAD_THRESHOLD = 0.25
    #: Turns that are shorter (s) are not reported.
    MIN_TURN = 0.1
    #: A pause that is so near (s) to a change of speaker lies between the turns.
    CHANGE_REACH = 0.4
    #: The shortest pause (s) between the turns of two speakers.
    CHANGE_PAUSE = 0.05
    #: Turns that meet without a pause are extended by so much (s), as most of them overlap.
    CHANGE_OVERLAP = 0.3

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if self.segment is not None:
            raise ConfigError("A keyword model embeds one keyword alone. Use a model of free text for diarization.")
        if isinstance(self.vad, EnergyVAD):
            self.use_vad("energy")
        #: Cosine from which two speakers of a recording are the same, as it would be with very much speech of both.
        self.same_speaker: float = getattr(self.hparams, "same_speaker", SAME_SPEAKER)
        check_number("same_speaker", self.same_speaker, -1, 1)

    def use_vad(self, vad: str | Callable[..., torch.Tensor]) -> None:
        """Find the speech with another voice activity detector than the model's.

        Parameters
        ----------
        vad : str or callable
            The name of a plugin of the kind ``vad``, such as ``silero``, or a detector for the model's sample rate.

        Raises
        ------
        PluginError
            There is no plugin of this name.
        ConfigError
            Its package is not installed, or it does not take the model's sample rate.
        """
        if isinstance(vad, str):
            vad = build(f"vad/{vad.removeprefix('vad/')}", offered={"sample_rate": self.sample_rate})
            if isinstance(vad, EnergyVAD):
                vad.threshold = self.VAD_THRESHOLD
        self._modules.pop("vad", None)  # torch refuses to replace a module by a detector that is none
        self.vad = vad.to(self.device) if isinstance(vad, torch.nn.Module) else vad

    def diarize_file(
        self,
        path: Recording,
        num_speakers: int | None = None,
        *,
        max_speakers: int = MAX_SPEAKERS,
        threshold: float | None = None,
        sample_rate: float | None = None,
        channel: Channel = "mix",
    ) -> Diarization:
        """Find who speaks when in a recording of any length, in bounded memory.

        Parameters
        ----------
        path : str, bytes, PathLike, BinaryIO, np.ndarray or Tensor
            The recording, as in :meth:`encode_file`.
        num_speakers : int, optional
            Number of speakers. Default: it is estimated.
        max_speakers : int
            So many are estimated at most.
        threshold : float, optional
            A speaker with at least this cosine to an enrolled voice gets its name. Default: the model's threshold.
        sample_rate, channel
            As in :meth:`encode_file`.

        Returns
        -------
        Diarization
            Without turns if no speech is found: the recording is silent, or sounds like noise.

        Raises
        ------
        AudioError
            The recording cannot be read.
        ConfigError
            A number of speakers is less than 1, or the threshold is not finite, or needed and missing.
        SpeechtoolsError
            A number of speakers is given, and the package spectralcluster is not installed.
        """
        self._check_options(num_speakers, max_speakers, threshold)
        source = open_source(path, self.sample_rate, sample_rate, channel)
        windows, regions, pauses, seconds, reason = self._embed_speech(source)
        if windows is None:
            return Diarization([], seconds, no_speech=f"No speech was found in {source.name}: {reason}.")
        means = cluster_windows(windows, num_speakers, max_speakers, self.same_speaker)
        labels, edges, means, _ = label_times(windows, regions, means)
        labels, means = self._merge_named(labels, edges, means, threshold, num_speakers is None)
        turns = join_turns(
            (Turn(float(start), float(end), str(label)) for label, (start, end) in zip(labels, edges, strict=True)),
            1e-6,
        )
        turns = [turn for turn in _joined(turns, self.MAX_PAUSE) if turn.duration >= self.MIN_TURN] or turns[:1]
        if pauses:  # otherwise its level is too even to tell
            turns = place_changes(turns, pauses, self.CHANGE_REACH, self.CHANGE_OVERLAP)
        names, matches = self._names([int(turn.speaker) for turn in turns], means, threshold)
        turns = [turn._replace(speaker=names[int(turn.speaker)]) for turn in turns]
        return Diarization(turns, seconds, matches)

    def diarize_files(
        self,
        paths: Iterable[Recording] | Recording,
        num_speakers: int | None = None,
        *,
        max_speakers: int = MAX_SPEAKERS,
        threshold: float | None = None,
        sample_rate: float | None = None,
        channel: Channel = "mix",
    ) -> Iterator[tuple[Any, Diarization | AudioError]]:
        """Diarize many recordings, as :meth:`diarize_file` does for one.

        Yields
        ------
        path : Path or object
            In the order of ``paths``: a path, or the file or samples that were passed.
        result : Diarization or AudioError
            The turns, or the reason why this recording has none.
        """
        self._check_options(num_speakers, max_speakers, threshold)
        options: dict[str, Any] = {"max_speakers": max_speakers, "threshold": threshold}
        options |= {"sample_rate": sample_rate, "channel": channel}
        for path in as_list(paths):
            key = Path(path) if isinstance(path, str) else path
            try:
                yield key, self.diarize_file(path, num_speakers, **options)
            except ConfigError:
                raise
            except (AudioError, OSError, RuntimeError, MemoryError) as error:
                yield key, as_audio_error(error, key if is_path(path) else "The recording")

    # ----------------------------------------------------------------------------------------------------- from samples

    @torch.no_grad()
    def _embed_speech(
        self, source: AudioSource
    ) -> tuple[Windows | None, np.ndarray, list[tuple[float, float]], float, str]:
        """Embed the windows of a recording's speech; also returns its regions, pauses, length (s), and why none."""
        mean, count = OffsetMean(), 0
        for segment in decode(source, self.sample_rate):
            mean.add(segment)
            count += len(segment)
        vectors: list[np.ndarray] = []
        spans: list[np.ndarray] = []
        numbers: list[np.ndarray] = []
        regions: list[tuple[float, float]] = []
        pauses: list[tuple[float, float]] = []
        start, reason = 0, "it is silent"
        for block in blocks(source, self.sample_rate, self.CHUNK_SECONDS):
            wav = self._to_signal(torch.from_numpy(block - np.float32(mean.value)))
            places, problem = self._speech_regions(wav)
            reason = problem or reason
            if len(places):
                own_spans, own_numbers = self._windows(places)
                vectors.append(self._embed_spans(wav, own_spans))
                spans.append((own_spans + start) / self.sample_rate)
                numbers.append(own_numbers + len(regions))
                regions += ((places + start) / self.sample_rate).tolist()
                pauses += ((self._pauses(wav) + start) / self.sample_rate).tolist()
            start += len(block)
        seconds = count / self.sample_rate
        speech = sum(end - begin for begin, end in regions)
        if speech < self.MIN_SPEECH_SECONDS:
            reason = f"it contains {speech:.2f} s of sound that may be speech" if regions else reason
            return None, np.zeros((0, 2)), [], seconds, reason
        windows = Windows(np.concatenate(vectors), np.concatenate(spans), np.concatenate(numbers))
        return windows, np.array(regions), pauses, seconds, ""

    def _speech_regions(self, wav: torch.Tensor) -> tuple[np.ndarray, str]:
        """Start and end of the regions of speech in a chunk, (regions, 2) in samples, or why there are none."""
        hop = self.vad.hop_length
        speech = self.vad(wav.unsqueeze(0))[0]
        # (time,)
        if not speech.any():
            return np.zeros((0, 2), dtype=np.int64), ""
        if self.sample_rate == voicing.SAMPLE_RATE:
            log_odds = voicing.speech_log_odds(wav.cpu().numpy(), speech.cpu().numpy(), hop)
            if log_odds < voicing.LIMIT:
                return np.zeros((0, 2), dtype=np.int64), "what is loud in it sounds like noise"
        changes = np.flatnonzero(np.diff(speech.cpu().numpy().astype(np.int8), prepend=0, append=0))
        edges = np.minimum(changes.reshape(-1, 2) * hop, len(wav))
        gaps = edges[1:, 0] - edges[:-1, 1] >= self.MAX_PAUSE * self.sample_rate
        starts = edges[np.concatenate([[True], gaps]), 0]
        ends = edges[np.concatenate([gaps, [True]]), 1]
        return np.stack([starts, ends], axis=1), ""

    def _pauses(self, wav: torch.Tensor) -> np.ndarray:
        """Start and end of the pauses in a chunk, (pauses, 2) in samples: the short ones, too, that regions contain."""
        vad = EnergyVAD(self.sample_rate, threshold=self.VAD_THRESHOLD, hangover_ms=10.0, min_speech_ms=30.0)
        quiet = ~vad(wav.unsqueeze(0).float())[0].cpu().numpy()
        edges = np.flatnonzero(np.diff(quiet.astype(np.int8), prepend=0, append=0)).reshape(-1, 2) * vad.hop_length
        return edges[edges[:, 1] - edges[:, 0] >= self.CHANGE_PAUSE * self.sample_rate]

    def _windows(self, regions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Windows over regions: (windows, 2) in samples, and the number of each one's region (windows,)."""
        length = self.features.win_length + (self.window_frames - 1) * self.features.hop_length
        step = max(round(self.STEP * length), 1)
        spans, numbers = [], []
        for number, (start, end) in enumerate(regions.tolist()):
            first = [start + place for place in dvectors.window_starts(end - start, length, step)]
            spans += [(place, min(place + length, end)) for place in first]
            numbers += [number] * len(first)
        return np.array(spans), np.array(numbers)

    def _embed_spans(self, wav: torch.Tensor, spans: np.ndarray) -> np.ndarray:
        """d-vectors (windows, emb) of stretches (windows, 2) of a waveform; each is normalised as a whole utterance."""
        step = round(_SHORT_STEP * self.sample_rate)
        lengths = spans[:, 1] - spans[:, 0]
        longest = lengths.max()
        # Shorter windows are cut, so that batches need no padding.
        lengths = np.where(lengths == longest, longest, np.maximum(lengths // step, 1) * step)
        result = np.empty((len(spans), self.embedding_size), dtype=np.float32)
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            for first in range(0, len(rows), _BATCH_WINDOWS):
                batch = rows[first : first + _BATCH_WINDOWS]
                cuts = [wav[start : start + length] for start in spans[batch, 0].tolist()]
                wavs = torch.nn.utils.rnn.pad_sequence(cuts, batch_first=True)
                encoded = dvectors.unit(self.encoder(self.features(wavs).to(self.dtype)))
                result[batch] = encoded.float().cpu().numpy()
        return result

    # ------------------------------------------------------------------------------------------------------------ names

    def _check_options(self, num_speakers: int | None, max_speakers: int, threshold: float | None) -> None:
        if num_speakers is not None:
            check_number("num_speakers", num_speakers, 1, 100, whole=True)
        check_number("max_speakers", max_speakers, 1, 100, whole=True)
        if threshold is not None or self.voices:
            self.resolve_threshold(threshold)

    def _merge_named(
        self, labels: np.ndarray, edges: np.ndarray, means: np.ndarray, threshold: float | None, may_merge: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Number the speakers that have times by their first one, and merge those that match the same voice."""
        used, first, labels = np.unique(labels, return_index=True, return_inverse=True)
        order = np.argsort(first, kind="stable")
        means, labels = means[used][order], np.argsort(order)[labels]
        if not may_merge or not self.voices:
            return labels, means
        scores, names = self._voice_scores(means)
        best = scores.argmax(axis=1)
        accepted = scores.max(axis=1) >= self.resolve_threshold(threshold)
        keys = np.where(accepted, best, len(names) + np.arange(len(means)))
        kept, merged = np.unique(keys, return_index=True)[1], np.unique(keys, return_inverse=True)[1]
        if len(kept) == len(means):
            return labels, means
        times = np.bincount(labels, edges[:, 1] - edges[:, 0], minlength=len(means))
        means, labels = centroids(means, times, merged), merged[labels]
        order = np.argsort(np.unique(labels, return_index=True)[1], kind="stable")
        return np.argsort(order)[labels], means[order]

    def _voice_scores(self, means: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Cosines (speakers, voices) of centroids and enrolled voices, and the names of these."""
        names = sorted(self.voices)
        prints = unit(torch.stack([self.voices[name].detach().cpu().float() for name in names]).numpy())
        return means @ prints.T, names

    def _names(
        self, labels: Sequence[int], means: np.ndarray, threshold: float | None
    ) -> tuple[dict[int, str], dict[str, Match]]:
        """Name the speakers of turns, and match them with the enrolled voices, each voice at most once."""
        speakers = list(dict.fromkeys(labels))
        named: dict[int, str] = {}
        scores, voices = self._voice_scores(means[speakers]) if self.voices else (np.zeros((len(speakers), 0)), [])
        for row, column in zip(*linear_sum_assignment(-scores), strict=True):
            if scores[row, column] >= self.resolve_threshold(threshold):
                named[speakers[row]] = voices[column]
        names: dict[int, str] = {}
        matches: dict[str, Match] = {}
        number = 0
        for row, speaker in enumerate(speakers):
            name = named.get(speaker)
            while name is None or (speaker not in named and name in voices):
                number += 1
                name = f"speaker_{number}"
            names[speaker] = name
            if voices:
                best = voices.index(name) if speaker in named else int(scores[row].argmax())
                matches[name] = Match(voices[best], float(scores[row, best]), speaker in named)
        return names, matches


def _joined(turns: list[Turn], max_pause: float) -> list[Turn]:
    """Join consecutive turns of a speaker with a short pause, in which nobody else speaks."""
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1].speaker == turn.speaker and turn.start - joined[-1].end < max_pause:
            joined[-1] = joined[-1]._replace(end=turn.end)
        else:
            joined.append(turn)
    return joined
