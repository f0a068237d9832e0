"""Tell speech from noise by its voicing: how pitch and spectrum vary over the frames that a VAD keeps.

Energy alone takes any sound for speech. In speech, noisy consonants and voiced vowels alternate, and the voiced frames
are the louder ones; few noises do the same.
"""

import math

import torch
from torch import Tensor

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


def voicing(wav: Tensor, speech: Tensor, hop_length: int) -> dict[str, float]:
    """Statistics of the frames of a waveform that a VAD keeps.

    Parameters
    ----------
    wav : Tensor
        (samples,) at 16 kHz, without offset.
    speech : Tensor
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
    if len(wav) < _WINDOW:
        return {}
    frames = wav.unfold(0, _WINDOW, _HOP)
    middles = (torch.arange(len(frames), device=wav.device) * _HOP + _WINDOW // 2) // hop_length
    rows = torch.nonzero(speech[middles.clamp(max=len(speech) - 1)]).squeeze(1)
    if len(rows) < 5:
        return {}
    if len(rows) > _MAX_FRAMES:
        rows = rows[torch.linspace(0, len(rows) - 1, _MAX_FRAMES, device=wav.device).long()]
    window = torch.hann_window(_WINDOW, device=wav.device)
    frames = frames[rows] * window
    # (frames, window)
    power = torch.fft.rfft(frames, 2 * _WINDOW).abs().square()
    # (frames, bins)
    lags = slice(SAMPLE_RATE // 400, SAMPLE_RATE // 70 + 2)
    own = torch.fft.irfft(torch.fft.rfft(window, 2 * _WINDOW).abs().square())
    correlation = torch.fft.irfft(power)
    pitch = (correlation[:, lags] / (correlation[:, :1] + 1e-12) * (own[0] / own[lags])).amax(dim=1).clamp(max=1.5)
    # (frames,)
    frequency = torch.linspace(0, SAMPLE_RATE / 2, _WINDOW + 1, device=wav.device)
    band = (frequency > 100) & (frequency < 7000)
    in_band = power[:, band] + 1e-10 * power.mean() + 1e-12
    flatness = in_band.log().mean(dim=1) - in_band.mean(dim=1).log()
    centroid = ((in_band * frequency[band]).sum(dim=1) / in_band.sum(dim=1) / 1000).log()
    low_share = power[:, (frequency > 100) & (frequency < 1000)].sum(dim=1) / (
        power[:, frequency > 100].sum(dim=1) + 1e-12
    )
    level = 10 * torch.log10(frames.square().mean(dim=1) + 1e-10)
    statistics = {
        "flatness_deviation": flatness.std(),
        "pitch_and_level": _correlation(pitch, level),
        "low_share_90": low_share.quantile(0.9),
        "centroid_90": centroid.quantile(0.9),
        "pitch_median": pitch.quantile(0.5),
        "pitch_10": pitch.quantile(0.1),
        "pitch_and_centroid": _correlation(pitch, centroid),
        "low_share_10": low_share.quantile(0.1),
        "low_share_deviation": low_share.std(),
        "tonality": _share_of_peaks(power).quantile(0.5),
    }
    return {name: float(value) for name, value in statistics.items()}


def speech_log_odds(wav: Tensor, speech: Tensor, hop_length: int) -> float:
    """Log odds that a waveform (samples,) at 16 kHz is speech rather than noise; 0 if it is too short to tell.

    >>> noise = torch.randn(16000, generator=torch.Generator().manual_seed(0))
    >>> speech_log_odds(noise, torch.ones(100, dtype=torch.bool), 160) < LIMIT
    True
    """
    # The level of the recording must not matter.
    statistics = voicing(wav / wav.abs().max().clamp(min=1e-9), speech, hop_length)
    if not statistics:
        return 0.0
    if statistics["tonality"] > _MAX_TONALITY:
        return -math.inf
    return _BIAS + sum(weight * statistics[name] for name, weight in WEIGHTS.items())


def _share_of_peaks(power: Tensor) -> Tensor:
    """Share of the two strongest peaks in the power (frames, bins) of each frame."""
    rest = power
    for _ in range(2):
        around = rest.argmax(dim=1, keepdim=True) + torch.arange(-6, 7, device=power.device)
        rest = rest.scatter(1, around.clamp(0, power.shape[1] - 1), 0.0)
    return 1 - rest.sum(dim=1) / (power.sum(dim=1) + 1e-12)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    return torch.corrcoef(torch.stack([a, b]))[0, 1].nan_to_num()
