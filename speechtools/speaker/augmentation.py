"""Augmentation for small corpora: SpeechBrain's augmenters, and their voices, noises and rooms."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from speechbrain.augment.augmenter import Augmenter
from speechbrain.augment.freq_domain import SpectrogramDrop
from speechbrain.augment.time_domain import AddNoise, AddReverb, SpeedPerturb
from torch import Tensor, nn

from speechtools import audio
from speechtools.core.errors import ConfigError
from speechtools.core.files import fingerprint
from speechtools.core.rows import Row, read_rows, write_rows
from speechtools.corpora.builtin import builtin_noises
from speechtools.degradations.noise import cut_noise, read_noise_types
from speechtools.degradations.reverberation import room_response
from speechtools.speaker.batches import SpeakerBatch

#: Seconds of a cut of noise: longer than any partial utterance, short enough to read one for every step.
CUT_SECONDS = 2.5


@dataclass(frozen=True, kw_only=True)
class _RecordingRow(Row):
    """A row of a manifest that SpeechBrain's augmenters read."""

    ID: str
    duration: float
    wav: Path
    wav_format: str = "wav"
    wav_opts: str = ""


class VoiceSpeed(nn.Module):
    """Draw one speed for all utterances of a speaker in a batch, which changes pitch and formants: another voice.

    ``(speakers * utterances, samples) -> (speakers * utterances, samples / fastest speed)``: all are cut to the length
    of the fastest. GE2E compares within a batch only, so this multiplies the number of speakers.

    Parameters
    ----------
    speeds : sequence of int
        In percent.
    sample_rate : int

    Attributes
    ----------
    voices : Tensor
        (speakers,): the number of the speed of each speaker of the last batch in ``distinct``.
    distinct : list of int
        The speeds, the nearest to 100 % first.

    Examples
    --------
    >>> VoiceSpeed([90, 110])(torch.randn(4, 22000), num_utterances=2).shape
    torch.Size([4, 20000])
    """

    def __init__(self, speeds=(90, 100, 110), sample_rate: int = 16000):
        super().__init__()
        if not speeds or min(speeds) < 50 or max(speeds) > 200:
            raise ConfigError(f"speeds={list(speeds)} must be percents between 50 and 200.")
        self.fastest = max(speeds)
        self.distinct = sorted(set(speeds), key=lambda speed: (abs(speed - 100), speed))
        self.drawn = torch.tensor([self.distinct.index(speed) for speed in speeds])
        self.changes = nn.ModuleList(SpeedPerturb(sample_rate, [speed]) for speed in self.distinct)
        self.voices = torch.zeros(0, dtype=torch.long)

    def change(self, wavs: Tensor, voice: int) -> Tensor:
        """Change wavs (batch, samples) to the speed of a voice: (batch, samples / speed)."""
        # By default, SpeechBrain's would resample on the CPU.
        self.changes[voice].device = wavs.device  # type: ignore[assignment]
        # Waveforms are resampled in their own precision, whatever that of the training.
        with torch.autocast(wavs.device.type, enabled=False):
            return self.changes[voice](wavs)

    def forward(self, wavs: Tensor, num_utterances: int) -> Tensor:
        """Change the speed of wavs (batch, samples), with ``num_utterances`` of each speaker in turn."""
        by_speaker = wavs.view(-1, num_utterances, wavs.shape[1])
        # (speakers, utterances, samples)
        output = by_speaker[:, :, : wavs.shape[1] * 100 // self.fastest].clone()
        self.voices = self.drawn[torch.randint(len(self.drawn), (len(by_speaker),))]
        for voice in self.voices.unique().tolist():
            rows = torch.nonzero(self.voices == voice).flatten().to(wavs.device)
            changed = self.change(by_speaker[rows].flatten(0, 1), voice)
            output[rows] = changed[:, : output.shape[2]].view(len(rows), num_utterances, -1)
        return output.flatten(0, 1)


def num_voices(speed: VoiceSpeed | None) -> int:
    """Voices that each speaker has."""
    return 1 if speed is None else len(speed.distinct)


class WaveformAugmenter(nn.Module):
    """Change the speed of speakers, then add noise or reverberation: (batch, samples) -> (batch, fewer samples)."""

    def __init__(self, voice_speed: VoiceSpeed | None, others: Augmenter):
        super().__init__()
        self.voice_speed, self.others = voice_speed, others

    def forward(self, wavs: Tensor, num_utterances: int) -> Tensor:
        """Augment wavs (batch, samples), with ``num_utterances`` of each speaker in turn."""
        if self.voice_speed is not None:
            wavs = self.voice_speed(wavs, num_utterances)
        return self.others(wavs, torch.ones(len(wavs), device=wavs.device))[0]


class Partials(NamedTuple):
    """Augmented partial utterances of a batch, ready for the encoder.

    Attributes
    ----------
    feats : Tensor
        (speakers * utterances, time, size)
    targets : Tensor or None
        d-vectors of a teacher (speakers * utterances, teacher size), which heard the same voice.
    voices : Tensor or None
        Number of the voice of each speaker (speakers,); None if voices are not changed.
    """

    feats: Tensor
    targets: Tensor | None
    voices: Tensor | None


def voice_speed(augment: WaveformAugmenter | VoiceSpeed | None) -> VoiceSpeed | None:
    """What changes the voices in an augmenter of waveforms, if it does."""
    augment = augment.voice_speed if isinstance(augment, WaveformAugmenter) else augment
    return augment if isinstance(augment, VoiceSpeed) else None


def batch_features(
    batch: SpeakerBatch,
    features: nn.Module,
    augment: WaveformAugmenter | VoiceSpeed | None = None,
    augment_feats: nn.Module | None = None,
) -> Partials:
    """Augment a batch of partial utterances, and compute its features.

    Parameters
    ----------
    batch : SpeakerBatch
        With ``wavs`` (speakers * utterances, samples) as floats.
    features : nn.Module
        Waveforms to features.
    augment : WaveformAugmenter or VoiceSpeed, optional
    augment_feats : nn.Module, optional
        :class:`FeatureAugmenter`.
    """
    wavs, targets, num_utterances = batch.wavs, batch.targets, len(batch.wavs) // len(batch.speakers)
    if augment:
        wavs = augment(wavs, num_utterances)
    speed = voice_speed(augment)
    if targets is not None:
        rows = torch.arange(len(targets), device=targets.device)
        voices = 0 if speed is None else speed.voices.to(targets.device).repeat_interleave(num_utterances)
        targets = targets[rows, voices]
        # (speakers * utterances, teacher size)
    feats = features(wavs)
    return Partials(
        feats if augment_feats is None else augment_feats(feats), targets, None if speed is None else speed.voices
    )


class FeatureAugmenter(nn.Module):
    """SpecAugment (Park et al.: Interspeech 2019): set stretches of frames and bands of filters to 0.

    For features (batch, time, size): up to three stretches of at most ``max_frames``, and up to two bands of at most
    ``max_filters``, as many for the whole batch, at places drawn for each utterance.
    """

    def __init__(self, max_frames: int = 20, max_filters: int = 6):
        super().__init__()
        frames = SpectrogramDrop(1, max_frames, 1, 3, "zeros", dim=1)
        drops = [frames, SpectrogramDrop(1, max_filters, 1, 2, "zeros", dim=2)]
        self.drops = Augmenter(concat_original=False, min_augmentations=1, max_augmentations=2, augmentations=drops)

    def forward(self, feats: Tensor) -> Tensor:
        """Leave out frames and bands: (batch, time, size) -> (batch, time, size)."""
        return self.drops(feats, torch.ones(len(feats), device=feats.device))[0]


def spec_augmenter(enabled: bool = True, **options) -> FeatureAugmenter | None:
    """Build a :class:`FeatureAugmenter`, or None if it is not ``enabled``."""
    return FeatureAugmenter(**options) if enabled else None


def augmenter(
    save_folder: str | Path,
    enabled: bool = True,
    noise_folder: str | Path = "",
    snr_low: float = 5.0,
    snr_high: float = 25.0,
    speeds: tuple[int, ...] | None = (90, 100, 110),
    num_rooms: int = 60,
    max_rt60: float = 0.4,
    augment_prob: float = 0.8,
    sample_rate: int = 16000,
    seed: int = 0,
) -> WaveformAugmenter | None:
    """Build an augmenter of speeds, noise and reverberation, or None if it is not ``enabled``.

    Parameters
    ----------
    save_folder : str or Path
        Where cuts of noise and room impulse responses are written once.
    noise_folder : str or Path
        Noise recordings; empty: the built-in, generated ones.
    snr_low, snr_high : float
        SNR in dB, drawn for each utterance.
    speeds : tuple of int
        In percent; see :class:`VoiceSpeed`. None changes no speed.
    num_rooms, max_rt60 : int, float
        Number of :func:`room responses <speechtools.degradations.reverberation.room_response>`, and the longest time
        in seconds in which they fall by 60 dB.
    augment_prob : float
        Share of the batches that get noise, reverberation or both.

    Raises
    ------
    ConfigError
        An option is out of range, or the noise folder contains no audio.
    """
    if not enabled:
        return None
    if snr_low > snr_high or num_rooms < 1 or max_rt60 <= 0.1:
        raise ConfigError(
            f"snr_low={snr_low}, snr_high={snr_high}, num_rooms={num_rooms}, max_rt60={max_rt60}: the SNRs must be in "
            "order, num_rooms at least 1, and max_rt60 above 0.1 s."
        )
    options = {"noise": str(noise_folder), "rooms": num_rooms, "rt60": max_rt60, "rate": sample_rate, "seed": seed}
    folder = Path(save_folder).absolute() / f"augmentation-{fingerprint(options)}"
    noises, rooms = folder / "noises.csv", folder / "rooms.csv"
    for manifest in (noises, rooms):
        _follow(manifest)
    if not noises.exists():
        _write_noises(noises, noise_folder or builtin_noises(), sample_rate, seed)
    if not rooms.exists():
        _write_rooms(rooms, num_rooms, max_rt60, sample_rate, seed)
    others = Augmenter(
        concat_original=False,
        min_augmentations=1,
        max_augmentations=2,
        shuffle_augmentations=True,
        augment_prob=augment_prob,
        augmentations=[AddReverb(str(rooms)), AddNoise(str(noises), snr_low=snr_low, snr_high=snr_high)],
    )
    return WaveformAugmenter(VoiceSpeed(speeds, sample_rate) if speeds else None, others)


def _follow(manifest: Path) -> None:
    """Correct the paths of a manifest whose folder was copied or moved; SpeechBrain takes absolute ones alone."""
    if manifest.exists():
        rows = read_rows(manifest, _RecordingRow)
        here = [replace(row, wav=manifest.with_suffix("") / row.wav.name) for row in rows]
        if here != rows:
            write_rows(manifest, _RecordingRow, here)


def _write_noises(manifest: Path, noise_folder, sample_rate: int, seed: int) -> None:
    rows, size = [], round(CUT_SECONDS * sample_rate)
    files = [path for paths in read_noise_types(noise_folder).values() for path in paths]
    for number, path in enumerate(files):
        samples = audio.read(path, sample_rate)
        for cut in range(max(1, min(4, len(samples) // size))):
            target = manifest.parent / "noises" / f"{number}_{cut}.wav"
            audio.write(target, cut_noise(samples, size, seed + 1000 * number + cut), sample_rate)
            rows.append(_RecordingRow(ID=target.stem, duration=CUT_SECONDS, wav=target))
    write_rows(manifest, _RecordingRow, rows)


def _write_rooms(manifest: Path, num_rooms: int, max_rt60: float, sample_rate: int, seed: int) -> None:
    rng, rows = np.random.default_rng([seed, 7]), []
    for number in range(num_rooms):
        rt60 = rng.uniform(0.1, max_rt60)
        target = manifest.parent / "rooms" / f"{number}.wav"
        audio.write(target, room_response(rng, rt60, sample_rate), sample_rate)
        rows.append(_RecordingRow(ID=target.stem, duration=rt60, wav=target))
    write_rows(manifest, _RecordingRow, rows)
