"""Too much gain: ``degradation/clipping`` and ``degradation/agc``."""

from collections.abc import Sequence

import numpy as np

from speechtools.core.registry import plugin
from speechtools.degradations.level import at_level_of
from speechtools.degradations.ranges import Range, check_choices, check_range, draw

_KINDS = ("hard", "soft")
#: Automatic gain control measures and sets its gain in blocks of so many seconds.
_BLOCK_SECONDS = 0.004


@plugin("degradation/clipping")
class Clipping:
    """Cut off samples beyond a level: ``(clean, rng) -> clipped``, both (samples,), at the level of ``clean``.

    The clipped samples are scaled to the root mean square of ``clean``, so that only the waveform tells the two apart.

    Parameters
    ----------
    level : Range
        The clipping level relative to the largest sample, drawn uniformly in its logarithm.
    kind : str or sequence of str
        ``hard``: samples beyond the level are cut off; ``soft``: level * tanh(x / level), as an amplifier saturates.

    Examples
    --------
    >>> clean = np.array([0.1, -0.5, 1.0], dtype=np.float32)
    >>> clipped = Clipping(0.5, "hard")(clean, np.random.default_rng(0))
    >>> (clipped / clipped.max()).round(3).tolist()
    [0.20000000298023224, -1.0, 1.0]
    """

    causes: tuple[str, ...] = ("clipping",)

    def __init__(self, level: Range = (0.03, 0.5), kind: str | Sequence[str] = _KINDS):
        self.level = check_range("level", level, 0.001, 1)
        self.kind = check_choices("kind", kind, _KINDS)

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Clip samples (samples,) at a random level, relative to their peak."""
        kind = self.kind[rng.integers(len(self.kind))]
        level = np.float32(draw(self.level, rng, log=True)) * np.abs(clean).max(initial=0)
        if level == 0:
            return clean.copy()
        return at_level_of(clean, np.clip(clean, -level, level) if kind == "hard" else level * np.tanh(clean / level))


@plugin("degradation/agc")
class GainControl:
    """Over-driven automatic gain control: ``(clean, rng) -> samples``, both (samples,), at the level of ``clean``.

    The gain falls within milliseconds where speech begins and rises slowly behind it, so that the background is pumped
    up in pauses; what exceeds full scale is clipped. The result is scaled to the root mean square of ``clean``.

    Parameters
    ----------
    overdrive_db : Range
        How far the control drives speech beyond ``target_db``.
    target_db : Range
        The root mean square that leaves speech room for its peaks, in dB relative to full scale.
    attack_ms, release_ms : Range
        Time constants of a falling and of a rising gain, in ms; the release is drawn uniformly in its logarithm.
    max_gain_db : Range
        By how much pauses are amplified more than speech of mean level, at most.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> clean = np.sin(np.arange(16000, dtype=np.float32) / 5)
    >>> GainControl()(clean, np.random.default_rng(0)).shape
    (16000,)
    """

    causes: tuple[str, ...] = ("clipping",)

    def __init__(
        self,
        overdrive_db: Range = (6, 24),
        target_db: Range = -18,
        attack_ms: Range = (1, 10),
        release_ms: Range = (100, 800),
        max_gain_db: Range = (10, 30),
        sample_rate: int = 16000,
    ):
        self.overdrive_db = check_range("overdrive_db", overdrive_db, 0, 60)
        self.target_db = check_range("target_db", target_db, -60, 0)
        self.attack_ms = check_range("attack_ms", attack_ms, 0.1, 1000)
        self.release_ms = check_range("release_ms", release_ms, 0.1, 10000)
        self.max_gain_db = check_range("max_gain_db", max_gain_db, 0, 60)
        self.sample_rate = sample_rate

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Control the gain of samples (samples,), and clip."""
        target = 10 ** ((draw(self.target_db, rng) + draw(self.overdrive_db, rng)) / 20)
        attack, release = draw(self.attack_ms, rng) / 1000, draw(self.release_ms, rng, log=True) / 1000
        quietest = 10 ** (-draw(self.max_gain_db, rng) / 20)
        if not clean.any():
            return clean.copy()
        size = max(1, round(_BLOCK_SECONDS * self.sample_rate))
        padded = np.pad(clean, (0, -clean.size % size))
        power = np.square(padded, dtype=np.float64).reshape(-1, size).mean(axis=1)  # (blocks,)
        mean_level = float(np.sqrt(power.mean()))
        levels = np.maximum(np.sqrt(power), quietest * mean_level)
        gains = target / _envelope(levels, attack / _BLOCK_SECONDS, release / _BLOCK_SECONDS)
        middles = size * (np.arange(len(gains)) + 0.5)
        driven = clean * np.interp(np.arange(clean.size), middles, gains)
        return at_level_of(clean, np.clip(driven, -1, 1))


def _envelope(levels: np.ndarray, attack: float, release: float) -> np.ndarray:
    """Follow levels (blocks,): up with the time constant ``attack``, down with ``release``, both in blocks."""
    up, down = float(np.exp(-1 / attack)), float(np.exp(-1 / release))
    envelope = np.empty(len(levels))
    last = float(levels[0])
    for block, level in enumerate(levels.tolist()):
        keep = up if level > last else down
        last = keep * last + (1 - keep) * level
        envelope[block] = last
    return envelope
