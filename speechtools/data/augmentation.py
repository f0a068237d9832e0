"""Augmentation of waveforms for small corpora: SpeechBrain's augmenters, and the noises and rooms that they need."""

from pathlib import Path

import numpy as np
from speechbrain.augment.augmenter import Augmenter
from speechbrain.augment.freq_domain import SpectrogramDrop
from speechbrain.augment.time_domain import AddNoise, AddReverb, SpeedPerturb

from speechtools.data import audio
from speechtools.data.corpora.builtin import builtin_noises
from speechtools.data.manifests import fingerprint, write_rows
from speechtools.data.mixing import cut_noise, read_noise_types
from speechtools.errors import ConfigError

#: Seconds of a cut of noise: longer than any partial utterance, short enough to be read for every step.
CUT_SECONDS = 2.5


def spec_augmenter(enabled: bool = True, max_frames: int = 20, max_filters: int = 6) -> Augmenter | None:
    """SpecAugment: stretches of frames, and bands of filters, set to 0 (the mean, where features have it taken out).

    ``(batch, time, size)`` features; up to three stretches of at most ``max_frames``, and up to two bands of at most
    ``max_filters``, the same for a whole batch. None where it is not ``enabled``.
    """
    if not enabled:
        return None
    drops = [
        SpectrogramDrop(1, max_frames, 1, 3, "zeros", dim=1),
        SpectrogramDrop(1, max_filters, 1, 2, "zeros", dim=2),
    ]
    return Augmenter(concat_original=False, min_augmentations=1, max_augmentations=2, augmentations=drops)


def augmenter(
    save_folder: str | Path,
    enabled: bool = True,
    noise_folder: str | Path = "",
    snr_low: float = 5.0,
    snr_high: float = 25.0,
    speeds: tuple[int, ...] = (95, 100, 105),
    num_rooms: int = 60,
    max_rt60: float = 0.4,
    min_augmentations: int = 1,
    max_augmentations: int = 2,
    augment_prob: float = 0.8,
    sample_rate: int = 16000,
    seed: int = 0,
) -> Augmenter | None:
    """Noise, reverberation and speed, of which every batch gets some, drawn anew; None where it is not ``enabled``.

    Arguments
    ---------
    save_folder : str or Path
        Cuts of noise and room impulse responses are written here once.
    noise_folder : str or Path
        Noise recordings; empty means the built-in, generated ones.
    snr_low, snr_high : float
        SNR in dB, drawn for each utterance.
    speeds : tuple of int
        In percent; one for the whole batch. Much more than 5 % would make another voice of it.
    num_rooms, max_rt60 : int, float
        Number of room responses, exponentially decaying noise behind a direct path, and the longest time in seconds
        in which they fall by 60 dB.
    min_augmentations, max_augmentations, augment_prob
        How many of the three a batch gets, and the share of batches that get any.

    Raises
    ------
    ConfigError
        An SNR range or a number is impossible, or the noise folder holds no audio.
    """
    if not enabled:
        return None
    if snr_low > snr_high or num_rooms < 1 or max_rt60 <= 0.1:
        raise ConfigError(
            f"snr_low={snr_low}, snr_high={snr_high}, num_rooms={num_rooms}, max_rt60={max_rt60} cannot be: the SNRs "
            "must be in order, at least one room is needed, and max_rt60 must be longer than 0.1 s."
        )
    options = {"noise": str(noise_folder), "rooms": num_rooms, "rt60": max_rt60, "rate": sample_rate, "seed": seed}
    folder = Path(save_folder).absolute() / f"augmentation-{fingerprint(options)}"
    noises, rooms = folder / "noises.csv", folder / "rooms.csv"
    if not noises.exists():
        _write_noises(noises, noise_folder or builtin_noises(), sample_rate, seed)
    if not rooms.exists():
        _write_rooms(rooms, num_rooms, max_rt60, sample_rate, seed)
    return Augmenter(
        concat_original=False,
        min_augmentations=min_augmentations,
        max_augmentations=max_augmentations,
        shuffle_augmentations=True,
        augment_prob=augment_prob,
        augmentations=[
            SpeedPerturb(sample_rate, list(speeds)),
            AddReverb(str(rooms)),
            AddNoise(str(noises), snr_low=snr_low, snr_high=snr_high),
        ],
    )


def room_response(rng: np.random.Generator, rt60: float, sample_rate: int = 16000) -> np.ndarray:
    """A room impulse response (samples,): a direct path, and noise that falls by 60 dB in ``rt60`` seconds after it."""
    time = np.arange(round(rt60 * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / rt60)
    # The direct path is 0 to 10 dB stronger than all that follows.
    tail *= 10 ** (-rng.uniform(0, 10) / 20) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    return (tail / np.abs(tail).max() * 0.5).astype(np.float32)


def _write_noises(manifest: Path, noise_folder, sample_rate: int, seed: int) -> None:
    rows, size = [], round(CUT_SECONDS * sample_rate)
    files = [path for paths in read_noise_types(noise_folder).values() for path in paths]
    for number, path in enumerate(files):
        samples = audio.read(path, sample_rate)
        for cut in range(max(1, min(4, len(samples) // size))):
            target = manifest.parent / "noises" / f"{number}_{cut}.wav"
            audio.write(target, cut_noise(samples, size, seed + 1000 * number + cut), sample_rate)
            rows.append(_row(target, CUT_SECONDS))
    _write_manifest(manifest, rows)


def _write_rooms(manifest: Path, num_rooms: int, max_rt60: float, sample_rate: int, seed: int) -> None:
    rng, rows = np.random.default_rng([seed, 7]), []
    for number in range(num_rooms):
        rt60 = rng.uniform(0.1, max_rt60)
        target = manifest.parent / "rooms" / f"{number}.wav"
        audio.write(target, room_response(rng, rt60, sample_rate), sample_rate)
        rows.append(_row(target, rt60))
    _write_manifest(manifest, rows)


def _row(path: Path, seconds: float) -> dict:
    return {"ID": path.stem, "duration": f"{seconds:.3f}", "wav": str(path), "wav_format": "wav", "wav_opts": ""}


def _write_manifest(path: Path, rows: list[dict]) -> None:
    write_rows(path, ["ID", "duration", "wav", "wav_format", "wav_opts"], rows)
