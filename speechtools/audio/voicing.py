"""Tell speech from noise by its voicing: how pitch and spectrum vary over the frames that a VAD keeps.

Energy alone takes any sound for speech. In speech, noisy consonants and voiced vowels alternate, and the voiced frames
are the louder ones; few noises do the same.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

SAMPLE_RATE = 16000
_WINDOW, _HOP, _MAX_FRAMES = 512, 160, 200
#: Weights of a logistic regression, fitted by benchmarks/speech_or_noise.py.
WEIGHTS = {
    "flatness_deviation": 1.026,
    "pitch_and_level": 5.142,
    "low_share_90": 16.695,
    "centroid_90": 2.043,
    "pitch_median": 9.261,
    "pitch_10": -8.083,
    "pitch_and_centroid": -2.660,
    "low_share_10": 4.765,
    "low_share_deviation": 8.125,
}
_BIAS = -27.705
# Share of the power in the two strongest peaks of half of the frames: dial tones and other pure tones have more.
_MAX_TONALITY = 0.998
#: Log odds below which a recording is taken for noise: one-sided, since rejecting speech is the greater harm.
LIMIT = -4.2


def voicing(wav: ArrayLike, speech: ArrayLike, hop_length: int) -> dict[str, float]:
    """Statistics of the frames of a waveform that a VAD keeps.

    Parameters
    ----------
    wav : array-like
        (samples,) at 16 kHz, without offset.
    speech : array-like
        Booleans (time,) of the VAD, one per ``hop_length`` samples.
    hop_length : int
        In samples.

    Returns
    -------
    dict
        By name. ``pitch`` is the largest normalised autocorrelation at lags of 2.5 to 14 ms (70 to 400 Hz),
        ``flatness`` the log ratio of geometric and arithmetic mean of the power spectrum, ``low_share`` the share of
        the power below 1 kHz, ``centroid`` the log of the mean frequency in kHz, ``level`` in dB, and ``tonality`` the
        share of the power in two peaks. Empty for less than five frames.
    """
    wav, speech = np.asarray(wav, dtype=np.float32), np.asarray(speech)
    if len(wav) < _WINDOW:
        return {}
    frames = np.lib.stride_tricks.sliding_window_view(wav, _WINDOW)[::_HOP]
    middles = (np.arange(len(frames)) * _HOP + _WINDOW // 2) // hop_length
    rows = np.flatnonzero(speech[np.minimum(middles, len(speech) - 1)])
    if len(rows) < 5:
        return {}
    if len(rows) > _MAX_FRAMES:
        rows = rows[np.linspace(0, len(rows) - 1, _MAX_FRAMES).astype(int)]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    frames = frames[rows] * window
    # (frames, window)
    power = np.square(np.abs(np.fft.rfft(frames, 2 * _WINDOW)))
    # (frames, bins)
    lags = slice(SAMPLE_RATE // 400, SAMPLE_RATE // 70 + 2)
    own = np.fft.irfft(np.square(np.abs(np.fft.rfft(window, 2 * _WINDOW))))
    correlation = np.fft.irfft(power)
    pitch = (correlation[:, lags] / (correlation[:, :1] + 1e-12) * (own[0] / own[lags])).max(axis=1).clip(max=1.5)
    # (frames,)
    frequency = np.linspace(0, SAMPLE_RATE / 2, _WINDOW + 1)
    band = (frequency > 100) & (frequency < 7000)
    in_band = power[:, band] + 1e-10 * power.mean() + 1e-12
    flatness = np.log(in_band).mean(axis=1) - np.log(in_band.mean(axis=1))
    centroid = np.log((in_band * frequency[band]).sum(axis=1) / in_band.sum(axis=1) / 1000)
    low_share = power[:, (frequency > 100) & (frequency < 1000)].sum(axis=1) / (
        power[:, frequency > 100].sum(axis=1) + 1e-12
    )
    level = 10 * np.log10(np.square(frames).mean(axis=1) + 1e-10)
    statistics = {
        "flatness_deviation": flatness.std(ddof=1),
        "pitch_and_level": _correlation(pitch, level),
        "low_share_90": np.quantile(low_share, 0.9),
        "centroid_90": np.quantile(centroid, 0.9),
        "pitch_median": np.quantile(pitch, 0.5),
        "pitch_10": np.quantile(pitch, 0.1),
        "pitch_and_centroid": _correlation(pitch, centroid),
        "low_share_10": np.quantile(low_share, 0.1),
        "low_share_deviation": low_share.std(ddof=1),
        "tonality": np.quantile(_share_of_peaks(power), 0.5),
    }
    return {name: float(value) for name, value in statistics.items()}


def speech_log_odds(wav: ArrayLike, speech: ArrayLike, hop_length: int) -> float:
    """Log odds that a waveform (samples,) at 16 kHz is speech rather than noise; 0 if it is too short to tell.

    >>> noise = np.random.default_rng(0).standard_normal(16000)
    >>> speech_log_odds(noise, np.ones(100, dtype=bool), 160) < LIMIT
    True
    """
    # The level of the recording must not matter.
    wav = np.asarray(wav, dtype=np.float32)
    statistics = voicing(wav / max(np.abs(wav).max(), 1e-9), speech, hop_length)
    if not statistics:
        return 0.0
    if statistics["tonality"] > _MAX_TONALITY:
        return -math.inf
    return _BIAS + sum(weight * statistics[name] for name, weight in WEIGHTS.items())


def _share_of_peaks(power: np.ndarray) -> np.ndarray:
    """Share of the two strongest peaks in the power (frames, bins) of each frame."""
    rest = power.copy()
    for _ in range(2):
        around = rest.argmax(axis=1)[:, None] + np.arange(-6, 7)
        np.put_along_axis(rest, around.clip(0, power.shape[1] - 1), 0.0, axis=1)
    return 1 - rest.sum(axis=1) / (power.sum(axis=1) + 1e-12)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(np.nan_to_num(np.corrcoef(a, b)[0, 1]))
