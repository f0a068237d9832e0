"""features/my-net: features of recordings.

THE CONTRACT
"""

from torch import Tensor

from speechtools import plugin
from speechtools.audio.features import LogMel


@plugin("features/my-net")
class MyNetFeatures(LogMel):
    """The cosine transform of log-mel energies (Davis and Mermelstein 1980).

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_mels : int
        Number of filters.
    n_coefficients : int
        Number of coefficients, from the lowest.
    hop_ms : float
        From one frame to the next, in milliseconds.

    Shape
    -----
    wavs (batch, samples), lens (batch,) -> (batch, time, n_coefficients)
    """

    def __init__(self, sample_rate: int = 16000, n_mels: int = 40, n_coefficients: int = 20, hop_ms: float = 10.0):
        super().__init__(sample_rate, n_mels, hop_ms=hop_ms)
        from torchaudio.functional import create_dct

        self.register_buffer("dct", create_dct(n_coefficients, n_mels, norm="ortho"), persistent=False)
        # (n_mels, n_coefficients)

    @property
    def size(self) -> int:
        """Number of coefficients."""
        return self.dct.shape[1]

    def forward(self, wavs: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return the coefficients (batch, time, n_coefficients) of waveforms (batch, samples)."""
        energies = super().forward(wavs, lens)
        # (batch, time, n_mels)
        return energies @ self.dct
