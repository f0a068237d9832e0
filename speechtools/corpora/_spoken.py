"""Pseudo-speakers of espeak-ng: voices that differ like people, and how one of them says a text."""

from dataclasses import dataclass

import numpy as np
import soxr

from speechtools.core.errors import SpeechtoolsError
from speechtools.corpora.espeak import Synthesizer

SAMPLE_RATE = 16000

#: The "dialect regions" DR1 to DR8.
ACCENTS = ("en", "en-029", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-gb-x-rp", "en-us", "en-us-nyc")

#: Voice variants and the median fundamental (Hz) of each, measured with the voice en-us at pitch 50 on four sentences.
#: Excluded is every variant whose normalised autocorrelation at the pitch lag has a median below 0.70 or reaches 0.60
#: in less than 60 % of the frames (whispers and croaks), whose level spans less than 15 dB from the 15th to the 90th
#: percentile (echoes), whose energy from 1.5 to 4 kHz lies more than 17.5 dB below the whole (muffled), that clips or
#: comes within 2.5 % of it, whose pitch is outside 75 to 270 Hz or jumps octaves; robots by name; those that use the C
#: library's random numbers, which cannot be seeded separately (Reed, caleb); and, of two whose long-term mel spectra
#: differ by less than 1.4 dB, one.
VARIANTS = {
    "Alex": 105, "Alicia": 256, "Andrea": 251, "Andy": 97, "Annie": 248, "AnxiousAndy": 103, "Denis": 101,
    "Gene": 97, "Hugo": 113, "Mario": 109, "Michael": 109, "Mike": 92, "Nguyen": 155, "adam": 104, "aunty": 175,
    "belinda": 235, "boris": 104, "edward": 104, "f1": 182, "f2": 200, "f3": 216, "f4": 184, "f5": 210, "fast": 103,
    "grandma": 206, "iven2": 103, "iven3": 103, "john": 104, "kaukovalta": 102, "klatt3": 103, "klatt4": 104,
    "linda": 232, "m1": 94, "m2": 102, "m3": 106, "m4": 95, "m5": 104, "m6": 102, "m7": 108, "max": 103,
    "michel": 107, "norbert": 104, "pablo": 115, "pedro": 104, "sandro": 101, "shelby": 184, "travis": 105,
    "victor": 97,
}  # fmt: skip


#: Frequencies (Hz) between which the gain of a microphone is interpolated.
_BANDS = (0, 250, 600, 1200, 2200, 3800, 8000)


@dataclass(frozen=True, slots=True)
class Voice:
    """A pseudo-speaker."""

    name: str
    split: str
    accent: int  # index into ACCENTS
    variant: str
    pitch: float  # espeak-ng's scale, 50 is the variant's own
    pitch_range: float
    words_per_minute: float
    warp: float  # factor on formants and pitch
    tilt_db: float  # gain above 1 kHz relative to below
    level_db: float = 0.0  # RMS of the speech, dB re full scale; not used for keywords


def tract_and_pitch(variant: str, offsets: np.ndarray, number: int) -> tuple[float, float, float]:
    """Warp, fundamental (Hz) and pitch of the ``number``-th speaker of a variant.

    Speakers of one variant are spread evenly over vocal-tract length and pitch: a Kronecker sequence from ``offsets``
    (2,). The pitch is on espeak-ng's scale, where 50 is the variant's own; the warp moves the fundamental too.
    """
    tract, height = np.mod(offsets + number * np.array([0.7549, 0.5698]), 1.0)
    warp = 0.90 * (1.13 / 0.90) ** tract
    lowest, highest = max(80, 0.78 * VARIANTS[variant]), min(280, 1.28 * VARIANTS[variant])  # Hz
    fundamental = lowest * (highest / lowest) ** height  # Hz
    return warp, fundamental, 50 + 50 * np.log2(fundamental / (VARIANTS[variant] * warp))


def say(text: str, voice: Voice, pitch: int, pitch_range: int, words_per_minute: float, seed: int) -> np.ndarray:
    """The samples of a text in a voice at 16 kHz, at espeak-ng's level and without silence around, shape (samples,)."""
    from scipy.signal import lfilter  # slow to import, and needed only when speaking

    samples = Synthesizer().speak(
        text,
        voice=f"{ACCENTS[voice.accent]}+{voice.variant}",
        pitch=pitch,
        pitch_range=pitch_range,
        rate=round(words_per_minute / voice.warp),  # warping changes the pace back
        seed=seed,
    )
    if not np.any(samples):
        raise SpeechtoolsError(f"espeak-ng is silent for {text!r}. Write it with English letters.")
    samples = soxr.resample(samples, Synthesizer.sample_rate * voice.warp, SAMPLE_RATE)
    low = lfilter([0.18], [1, -0.82], samples)  # one pole at 500 Hz
    samples = low + 10 ** (voice.tilt_db / 20) * (samples - low)
    return _trim(lfilter([1, -1], [1, -0.98], samples))  # no DC


def through_microphone(samples: np.ndarray, rng: np.random.Generator, spread_db: float) -> np.ndarray:
    """Colour samples (samples,) at 16 kHz smoothly; ``spread_db`` is the standard deviation of the gain in a band."""
    gains_db = rng.normal(0, spread_db, len(_BANDS))  # (bands,)
    spectrum = np.fft.rfft(samples)
    frequencies = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))  # Hz
    return np.fft.irfft(spectrum * 10 ** (np.interp(frequencies, _BANDS, gains_db) / 20), len(samples))


def _trim(samples: np.ndarray, frame: int = 160) -> np.ndarray:
    """Remove the ends that lie 45 dB below the loudest frame."""
    count = len(samples) // frame
    energy = np.mean(np.square(samples[: count * frame].reshape(count, frame)), axis=1)  # (frames,)
    loud = np.flatnonzero(energy > energy.max() * 10**-4.5)
    return samples[loud[0] * frame : (loud[-1] + 1) * frame]
