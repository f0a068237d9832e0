"""The contract of the kind ``degradation``."""

import functools
import pickle

import numpy as np

from speechtools.core.contract import Broken, Contract, Slot, Subject, law, register_kind
from speechtools.core.errors import AudioError
from speechtools.core.laws import bursts

_RATE = 16000
#: The most by which the degraded speech may be shifted; rooms and codecs delay a little.
MAX_SHIFT_SECONDS = 0.01
#: A degradation changes speech by more than this, relative to the speech.
MIN_CHANGE_DB = -50.0
_DRAWS = 8


@functools.lru_cache(maxsize=1)
def _speech() -> np.ndarray:
    """Two seconds of harmonic bursts, with hissing from 2 to 7 kHz between them: (samples,) float32."""
    voiced = bursts(2.0)
    spectrum = np.fft.rfft(np.random.default_rng(21).standard_normal(len(voiced)))
    frequencies = np.fft.rfftfreq(len(voiced), 1 / _RATE)
    hissing = np.fft.irfft(spectrum * ((frequencies > 2000) & (frequencies < 7000)), len(voiced))
    speech = voiced + 0.02 * hissing * (voiced == 0)
    speech = speech.astype(np.float32)
    speech.flags.writeable = False
    return speech


def _lag(one: np.ndarray, other: np.ndarray) -> int:
    """The shift of ``other`` against ``one`` in samples: the peak of their cross-correlation."""
    size = 2 * len(one)
    correlation = np.fft.irfft(np.conj(np.fft.rfft(one, size)) * np.fft.rfft(other, size), size)
    peak = int(np.abs(correlation).argmax())
    return peak if peak < len(one) else peak - size


def _shift(clean: np.ndarray, degraded: np.ndarray) -> float:
    """The shift in seconds, of the waveforms or of their levels, whichever is less: a vocoder changes the waveform."""
    frame = _RATE // 400
    levels = [np.sqrt(np.square(x[: len(x) // frame * frame]).reshape(-1, frame).mean(1)) for x in (clean, degraded)]
    of_levels = _lag(*(level - level.mean() for level in levels)) * frame
    return min(_lag(clean, degraded), of_levels, key=abs) / _RATE


def _degrade(degradation, clean: np.ndarray, seed: int) -> np.ndarray:
    return degradation(clean, np.random.default_rng(seed))


@law(
    "the result is finite float32 of the same length, and not silent",
    "Cut or pad to clean.shape without shifting in time, and convert with astype(np.float32).",
)
def _keeps_length(subject: Subject) -> None:
    degradation = subject.build()
    for samples in (16000, 9001, 4097):
        clean = bursts(1.0)[:samples]
        degraded = _degrade(degradation, clean, samples)
        if not isinstance(degraded, np.ndarray) or degraded.dtype != np.float32 or degraded.shape != clean.shape:
            result = getattr(degraded, "dtype", type(degraded).__name__), getattr(degraded, "shape", "")
            raise Broken(f"{result[0]} {result[1]} for float32 {clean.shape}")
        if not np.isfinite(degraded).all() or not degraded.any():
            raise Broken(f"silence, or samples that are not finite, for {samples} samples")


@law(
    "all draws come from rng, and clean is not changed",
    "Use only rng for random numbers, and copy before changing in place.",
)
def _is_reproducible(subject: Subject) -> None:
    clean = bursts(1.0)
    before = clean.copy()
    degradation = subject.build()
    first, second = _degrade(degradation, clean, 1), _degrade(degradation, clean, 1)
    if not np.array_equal(clean, before):
        raise Broken("a call changed its input")
    if not np.array_equal(first, second) or not np.array_equal(first, _degrade(subject.build(), clean, 1)):
        raise Broken("other samples from a generator of the same seed")


@law("speech is degraded", "Choose defaults that degrade speech audibly.")
def _degrades(subject: Subject) -> None:
    clean = _speech()
    degradation = subject.build()
    least = 10 ** (MIN_CHANGE_DB / 20) * np.linalg.norm(clean)
    if all(np.linalg.norm(_degrade(degradation, clean.copy(), seed) - clean) <= least for seed in range(_DRAWS)):
        raise Broken(f"{_DRAWS} draws that change speech up to 7 kHz by less than {MIN_CHANGE_DB:g} dB")


@law(
    f"the result is aligned with clean: in most draws, speech is shifted by at most {1000 * MAX_SHIFT_SECONDS:g} ms",
    "Cut the delay of a filter, a codec or a room from the beginning of the result.",
)
def _is_aligned(subject: Subject) -> None:
    clean = _speech()
    degradation = subject.build()
    # Loud noise can hide the peak in some draws.
    shifts = sorted((_shift(clean, _degrade(degradation, clean.copy(), seed)) for seed in range(_DRAWS)), key=abs)
    if abs(shifts[_DRAWS // 2]) > MAX_SHIFT_SECONDS:
        raise Broken(f"speech that is shifted by {1000 * shifts[_DRAWS // 2]:.0f} ms")


@law("digital silence gives finite samples or AudioError", "Return silence as it is, or raise AudioError.")
def _handles_silence(subject: Subject) -> None:
    try:
        degraded = _degrade(subject.build(), np.zeros(16000, dtype=np.float32), 0)
    except AudioError:
        return
    if not np.isfinite(degraded).all():
        raise Broken("samples that are not finite")


@law(
    "a pickled copy does the same, unless in_one_process is True",
    "Keep only what can be pickled, or set in_one_process = True on the class.",
)
def _pickles(subject: Subject) -> None:
    degradation = subject.build()
    if getattr(degradation, "in_one_process", False):
        return
    clean = bursts(1.0)
    if not np.array_equal(_degrade(pickle.loads(pickle.dumps(degradation)), clean, 2), _degrade(degradation, clean, 2)):
        raise Broken("other samples from a pickled copy")


register_kind(
    "degradation",
    Contract(
        "build(name)(clean, rng): (samples,) float32 and a numpy Generator -> degraded (samples,) float32, aligned "
        "with clean; the docstring says what becomes of the level, and samples may exceed full scale",
        modules=(
            "speechtools.degradations.noise",
            "speechtools.degradations.bands",
            "speechtools.degradations.clipping",
            "speechtools.degradations.chain",
            "speechtools.degradations.level",
            "speechtools.degradations.hum",
            "speechtools.degradations.reverberation",
            "speechtools.degradations.loss",
            "speechtools.degradations.interruptions",
            "speechtools.degradations.codecs",
            "speechtools.degradations.spectral",
            "speechtools.enhancement.degradation",
        ),
        slot=Slot("TIMIT/quality", "qnet.yaml", "degradations"),
        laws=(_keeps_length, _is_reproducible, _degrades, _is_aligned, _handles_silence, _pickles),
    ),
)
