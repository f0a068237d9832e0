"""Gaps and clicks: ``degradation/gaps`` and ``degradation/clicks``."""

from collections.abc import Sequence

import numpy as np

from speechtools.core.registry import plugin
from speechtools.degradations.noise import shaped_noise
from speechtools.degradations.ranges import Range, check_choices, check_range, draw

FILLS = ("silence", "background")
#: Gaps begin in frames of 20 ms within 40 dB of the loudest, so that they are heard.
_FRAME, _ACTIVE_DB = 0.02, -40.0
#: The share of the frames, the quietest ones, that are the background.
_QUIET = 0.1


@plugin("degradation/gaps")
class Gaps:
    """A few gaps: ``(clean, rng) -> degraded``, both (samples,), aligned; samples outside of the gaps are unchanged.

    Gaps begin where there is speech. They may overlap, and each ends with the samples at the latest.

    Parameters
    ----------
    count : float or pair
        Number of gaps, rounded.
    milliseconds : float or pair
        Length of a gap, drawn for each, uniformly in its logarithm.
    fill : str or sequence of str
        What is heard instead, or several to draw from for every call: "silence", zeros; "background", noise with the
        level and the spectrum of the quietest tenth of the samples.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> clean = np.ones(16000, dtype=np.float32)
    >>> degraded = Gaps(count=1, milliseconds=100, fill="silence")(clean, np.random.default_rng(0))
    >>> int((degraded == 0).sum())
    1600
    """

    causes = ("loss",)

    def __init__(
        self,
        count: Range = (1, 5),
        milliseconds: Range = (20, 300),
        fill: str | Sequence[str] = FILLS,
        sample_rate: int = 16000,
    ):
        self.count = check_range("count", count, 0)
        self.milliseconds = check_range("milliseconds", milliseconds, 1)
        self.fill = check_choices("fill", fill, FILLS)
        self.sample_rate = sample_rate

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Interrupt samples (samples,)."""
        if not clean.size:
            return clean.copy()
        frame = min(round(_FRAME * self.sample_rate), clean.size)
        frames = clean[: clean.size // frame * frame].reshape(-1, frame)  # (frames, samples)
        power = np.square(frames, dtype=np.float64).mean(axis=1)
        active = np.flatnonzero(power >= power.max() * 10 ** (_ACTIVE_DB / 10))
        fill = self.fill[rng.integers(len(self.fill))]
        quietest = frames[np.argsort(power)[: max(1, round(_QUIET * len(frames)))]]
        degraded = clean.copy()
        for _ in range(round(draw(self.count, rng))):
            start = int(rng.choice(active)) * frame + int(rng.integers(frame))
            samples = min(round(draw(self.milliseconds, rng, log=True) * self.sample_rate / 1000), clean.size - start)
            is_silent = fill == "silence" or samples == 0
            gap = np.zeros(samples) if is_silent else shaped_noise(quietest, quietest, samples, rng)
            degraded[start : start + samples] = gap
        return degraded


@plugin("degradation/clicks")
class Clicks:
    """Clicks: ``(clean, rng) -> degraded``, both (samples,), aligned; the speech keeps its level.

    A click is a pulse of 1 to 10 samples, or a decaying oscillation of 0.5 to 3 ms. It is added to the samples, which
    may exceed full scale. There is at least one if ``per_second`` > 0.

    Parameters
    ----------
    per_second : float or pair
        Mean number of clicks in a second.
    level : float or pair
        Peak of a click relative to the largest sample, drawn for each.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> clean = np.sin(np.arange(16000, dtype=np.float32) / 5)
    >>> float(np.abs(Clicks(level=2)(clean, np.random.default_rng(0)) - clean).max().round(3))
    2.0
    """

    causes = ("loss",)

    def __init__(self, per_second: Range = (1, 20), level: Range = (0.1, 1.0), sample_rate: int = 16000):
        self.per_second = check_range("per_second", per_second, 0, 1000)
        self.level = check_range("level", level, 0)
        self.sample_rate = sample_rate

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add clicks to samples (samples,)."""
        degraded = clean.copy()
        peak = np.abs(clean).max(initial=0.0)
        per_second = draw(self.per_second, rng)
        count = max(1, rng.poisson(per_second * clean.size / self.sample_rate)) if per_second * clean.size > 0 else 0
        for start in rng.integers(clean.size, size=count):
            click = _click(rng, self.sample_rate)[: clean.size - start]
            degraded[start : start + click.size] += (draw(self.level, rng) * peak * click).astype(np.float32)
        return degraded


def _click(rng: np.random.Generator, sample_rate: int) -> np.ndarray:
    """Draw a click (samples,) with a peak of 1."""
    sign = rng.choice([-1.0, 1.0])
    if rng.random() < 0.5:
        return np.full(int(rng.integers(1, 11)), sign)
    samples = max(2, round(rng.uniform(0.0005, 0.003) * sample_rate))
    time = np.arange(samples)
    # 60 dB within the click, at 0.5 to 6 kHz or a little below half of the sample rate
    frequency = rng.uniform(500, min(6000, 0.4 * sample_rate)) / sample_rate
    return sign * np.cos(2 * np.pi * frequency * time) * 10 ** (-3 * time / samples)
