"""The contract of the kind ``degradation``."""

import pickle

import numpy as np

from speechtools.core.contract import Broken, Contract, Slot, Subject, law, register_kind
from speechtools.core.errors import AudioError
from speechtools.core.laws import bursts


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


@law("speech is degraded", "Choose defaults that degrade.")
def _degrades(subject: Subject) -> None:
    clean = bursts(1.0)
    degradation = subject.build()
    if all(np.array_equal(_degrade(degradation, clean, seed), clean) for seed in range(8)):
        raise Broken("8 draws that return the speech as it was")


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
            "speechtools.degradations.clipping",
            "speechtools.enhancement.degradation",
        ),
        slot=Slot("TIMIT/quality", "qnet.yaml", "degradations"),
        laws=(_keeps_length, _is_reproducible, _degrades, _handles_silence, _pickles),
    ),
)
