"""``degradation/enhancer``: noise, and then a trained enhancer, as in the Quality-Net paper (section 3.1)."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speechtools.core.registry import plugin
from speechtools.degradations.noise import AdditiveNoise
from speechtools.degradations.ranges import Range


@plugin("degradation/enhancer")
class NoiseThenEnhancer(AdditiveNoise):
    """Add noise at an SNR, and enhance: ``(clean, rng) -> enhanced``, both (samples,).

    The speech keeps its level as far as the enhancer's mask leaves it.

    Parameters
    ----------
    source : str
        Folder or hub id of the enhancer; empty: the bundled one.
    noise_folder, snr_db, sample_rate, noises
        As ``degradation/noise`` has them.

    Examples
    --------
    >>> clean = np.sin(np.arange(16000, dtype=np.float32) / 5)
    >>> NoiseThenEnhancer()(clean, np.random.default_rng(0)).shape
    (16000,)
    """

    causes: tuple[str, ...] = ("noise", "processing")
    #: How much noise is left is unknown.
    may_remove = ("noise",)
    #: Networks do not run in forked processes.
    in_one_process = True

    def __init__(
        self,
        source: str = "",
        noise_folder: str = "",
        snr_db: Range = (-5, 20),
        sample_rate: int = 16000,
        noises: Sequence[str | Path] = (),
    ):
        super().__init__(noise_folder, snr_db, sample_rate, noises)
        self.source = source

    @functools.cached_property
    def _enhancer(self):
        from speechtools.enhancement.inference import SpeechEnhancer  # torch and SpeechBrain

        enhancer = SpeechEnhancer.from_hparams(*([self.source] if self.source else []))
        enhancer.check_rate(self.sample_rate)
        return enhancer

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add noise to samples (samples,), then enhance the mixture."""
        return self._enhancer.enhance_waveforms([super().__call__(clean, rng)])[0]
