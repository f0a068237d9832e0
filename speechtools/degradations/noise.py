"""Additive noise: reading noise folders, mixing at an SNR, and ``degradation/noise``.

A *noise type* is what splits keep apart. Files in a subfolder of a noise folder share the type that the subfolder names
(ESC-10's classes); a file that lies directly in it is a type of its own (G. Hu's 100 sounds), without a number behind a
hyphen: ``rain-01.wav`` and ``rain-02.wav`` are both ``rain``.
"""

import functools
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soxr

from speechtools import audio
from speechtools.core.errors import AudioError, ConfigError, CorpusError
from speechtools.core.registry import plugin
from speechtools.degradations.ranges import Range, check_range, draw

NoiseTypes = dict[str, list[Path]]

#: No mixture exceeds this absolute sample, so that nothing clips; where it would, it is scaled down as a whole.
PEAK_LIMIT = 0.99
#: One step of 16-bit audio: what never exceeds it is digital silence.
DIGITAL_SILENCE = 1.5 / 32768
#: Generated noises that ``degradation/noise`` draws from.
_NUM_GENERATED = 144
#: Each worker process keeps so many samples in memory: 256 MB, 70 minutes at 16 kHz. Less would make it read the same
#: recordings again and again.
CACHE_SAMPLES = 2**26


@plugin("degradation/noise")
class AdditiveNoise:
    """Noise at an SNR: ``(clean, rng) -> clean + noise``, both (samples,).

    The speech keeps its level, so the sum may exceed full scale. Recording, offset and SNR are drawn for every call.

    Parameters
    ----------
    noise_folder : str
        Recordings, as :func:`read_noise_types` reads them; empty: ``noises``, or the generated training noises.
    snr_db : float or pair of floats
        SNR in dB, or the range to draw it from.
    sample_rate : int
        In Hz.
    noises : sequence of path
        Recordings to draw from.

    Examples
    --------
    >>> clean = np.sin(np.arange(16000, dtype=np.float32) / 5)
    >>> AdditiveNoise(snr_db=10)(clean, np.random.default_rng(0)).shape
    (16000,)
    """

    causes: tuple[str, ...] = ("noise",)

    def __init__(
        self,
        noise_folder: str = "",
        snr_db: Range = (-5, 20),
        sample_rate: int = 16000,
        noises: Sequence[str | Path] = (),
    ):
        self.snr_db, self.sample_rate = check_range("snr_db", snr_db), sample_rate
        types = read_noise_types(noise_folder) if noise_folder else {}
        self._files = [path for files in types.values() for path in files] or [Path(path) for path in noises]

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add a random stretch of a random noise to samples (samples,), at a random SNR."""
        if self._files:
            noise = read_cached(self._files[rng.integers(len(self._files))], self.sample_rate)
        else:
            noise = _generated_noise(int(rng.integers(_NUM_GENERATED)), self.sample_rate)
        return mix_at_snr(clean, cut_noise(noise, clean.size, rng), draw(self.snr_db, rng))


def read_noise_types(noise_folders: str | Path | Sequence[str | Path]) -> NoiseTypes:
    """Read the noise types of one folder or several, and their files, sorted.

    Raises
    ------
    CorpusError
        A folder does not exist or contains no audio.
    """
    if isinstance(noise_folders, (str, Path)):
        noise_folders = [noise_folders]
    types: NoiseTypes = {}
    for root in map(Path, noise_folders):
        if not root.is_dir():
            problem = "is a file" if root.is_file() else "does not exist"
            raise CorpusError(f"The noise folder {root} {problem}. Pass a folder of noise recordings.")
        in_folder: NoiseTypes = {}
        for path in audio.find_audio(root):
            relative = path.relative_to(root)
            name = relative.parts[0] if len(relative.parts) > 1 else re.sub(r"-\d+$", "", path.stem)
            in_folder.setdefault(name, []).append(path)
        if not in_folder:
            raise CorpusError(f"The noise folder {root} contains no audio file. Pass a folder of noise recordings.")
        for name, files in in_folder.items():  # a type in two folders is one type
            types.setdefault(name, []).extend(files)
    return dict(sorted(types.items()))


def mix_at_snr(speech: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Return ``speech + g * noise``, with g for an SNR of ``snr_db`` over the whole utterance.

    Parameters
    ----------
    speech, noise : np.ndarray
        (samples,), of one length.
    snr_db : float
        10 log10 of the power of the speech over that of the scaled noise.

    Raises
    ------
    AudioError
        Either is silent or their lengths differ.

    Examples
    --------
    >>> mix_at_snr(np.array([1.0, -1.0]), np.array([0.5, 0.5]), 0.0)
    array([2., 0.])
    """
    if speech.shape != noise.shape:
        raise AudioError(
            f"Speech {speech.shape} and noise {noise.shape} differ in length. Cut the noise to the speech."
        )
    speech_power = float(np.mean(np.square(speech, dtype=np.float64)))
    noise_power = float(np.mean(np.square(noise, dtype=np.float64)))
    if speech_power == 0 or noise_power == 0:
        which = "speech" if speech_power == 0 else "noise"
        raise AudioError(f"The {which} is silent, so no SNR can be set. Leave the file out.")
    gain = np.sqrt(speech_power / noise_power / 10 ** (snr_db / 10))
    return speech + (gain * noise).astype(speech.dtype)


def shaped_noise(frames: np.ndarray, like: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise (samples,) with the mean power spectrum of frames (frames, size), and the level of ``like`` (any shape).

    Examples
    --------
    >>> noise = shaped_noise(np.eye(4), np.array([2.0, -2.0]), 1000, np.random.default_rng(0))
    >>> noise.dtype, round(float(np.sqrt(np.square(noise).mean())), 3)
    (dtype('float32'), 2.0)
    """
    magnitudes = np.sqrt(np.square(np.abs(np.fft.rfft(frames))).mean(axis=0))
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    spectrum *= np.interp(np.linspace(0, 1, spectrum.size), np.linspace(0, 1, magnitudes.size), magnitudes)
    noise = np.fft.irfft(spectrum, samples)
    power = np.square(noise).mean()
    gain = np.sqrt(np.square(like, dtype=np.float64).mean() / power) if power > 0 else 0.0
    return (gain * noise).astype(np.float32)


def cut_noise(noise: np.ndarray, samples: int, seed: int | np.random.Generator) -> np.ndarray:
    """Cut ``samples`` from a seeded offset, looping a shorter noise; digital silence at its ends is skipped.

    Raises
    ------
    AudioError
        The whole recording is digitally silent.
    """
    loud = np.flatnonzero(np.abs(noise) > DIGITAL_SILENCE)
    if loud.size == 0:
        raise AudioError("The noise is digitally silent throughout. Leave the file out.")
    noise = noise[loud[0] : loud[-1] + 1]
    rng = np.random.default_rng(seed)
    for _ in range(20):
        excerpt = _loop_from(noise, int(rng.integers(noise.size)), samples)
        if np.abs(excerpt).max() > DIGITAL_SILENCE:
            return excerpt
    # A recording of rare sounds between long silences: begin at its loudest sample.
    return _loop_from(noise, int(np.abs(noise).argmax()), samples)


def _loop_from(noise: np.ndarray, offset: int, samples: int) -> np.ndarray:
    repeats = -(-(offset + samples) // noise.size)
    return np.tile(noise, repeats)[offset : offset + samples]


def partly_noisy(speech: np.ndarray, noise: np.ndarray, snr_db: float, start: int, end: int) -> np.ndarray:
    """Add noise between two samples only, at ``snr_db`` there; scale down as a whole where it would clip."""
    mixed = speech.copy()
    mixed[start:end] = mix_at_snr(speech[start:end], cut_noise(noise, end - start, seed=0), snr_db)
    return mixed * min(1.0, PEAK_LIMIT / float(np.abs(mixed).max()))


def check_snrs(name: str, snrs_db) -> None:
    """Refuse an option ``name`` that is not a list of SNRs in dB.

    Raises
    ------
    ConfigError
        It is not a list, is empty, or contains something other than numbers.
    """
    is_list = isinstance(snrs_db, (list, tuple)) and len(snrs_db) > 0
    if not is_list or not all(isinstance(value, (int, float)) for value in snrs_db):
        raise ConfigError(f"{name}={snrs_db!r} must be a list of one or more SNRs in dB, as in [-6, 0, 6].")


_cache: dict[tuple[Path, int], np.ndarray] = {}


def read_cached(path: Path, sample_rate: int) -> np.ndarray:
    """Read a recording (samples,) and keep it in memory: a few files serve thousands of mixtures."""
    samples = _cache.pop((path, sample_rate), None)
    if samples is None:
        samples = audio.read(path, sample_rate)
        while _cache and sum(kept.size for kept in _cache.values()) + samples.size > CACHE_SAMPLES:
            del _cache[next(iter(_cache))]
    _cache[path, sample_rate] = samples  # at the end: the first was used the longest ago
    return samples


@functools.lru_cache(maxsize=64)
def _generated_noise(number: int, sample_rate: int) -> np.ndarray:
    """One of the generated training noises, by its number: (samples,)."""
    from speechtools.audio import noises  # scipy, which is slow to load

    noise = noises.make_noise(noises.training_noises()[number])
    return soxr.resample(noise, noises.SAMPLE_RATE, sample_rate)
