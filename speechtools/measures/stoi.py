"""Short-time objective intelligibility (Taal, Hendriks, Heusdens, Jensen: IEEE TASLP 19(7), 2011), by ``pystoi``."""

import warnings
from importlib.metadata import version

import numpy as np

from speechtools.core.errors import AudioError
from speechtools.core.installation import optional_package
from speechtools.core.registry import plugin
from speechtools.measures import check_pair


@plugin("measure/stoi")
class STOI:
    """Mean correlation of short-time envelopes in third-octave bands, up to 1. Levels do not matter.

    Needs at least about 0.4 s of speech, and raises AudioError for less.

    Examples
    --------
    >>> reference = np.random.default_rng(0).standard_normal(16000)
    >>> round(STOI()(reference, reference, 16000), 3)
    1.0
    """

    name, description = "stoi", "STOI"
    minimum, maximum = -1.0, 1.0
    higher_is_better = True
    sample_rates = None

    @property
    def version(self) -> str:
        """What the scores depend on besides the signals."""
        optional_package("pystoi", "STOI")
        return f"pystoi {version('pystoi')}"

    def __call__(self, reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
        """Return the STOI of a degraded signal (samples,) against its reference (samples,)."""
        pystoi = optional_package("pystoi", "STOI")
        reference, degraded = np.asarray(reference), np.asarray(degraded)
        check_pair(self, reference, degraded, sample_rate)
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            try:
                return float(pystoi.stoi(reference, degraded, sample_rate))
            except (RuntimeWarning, ValueError) as error:
                raise AudioError(
                    f"STOI cannot score {len(reference) / sample_rate:.2f} s of audio ({str(error).split('.')[0]}): it "
                    "needs 0.4 s of speech. Leave the file out."
                ) from None
