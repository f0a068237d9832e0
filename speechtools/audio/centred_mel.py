"""Mel energies of centred frames, as other projects compute them: ``features/centred-mel``."""

import torch
from torch import Tensor, nn

from speechtools.audio.fourier import filter_energies
from speechtools.audio.frames import Framing, clear_padding
from speechtools.audio.level import LEVELS, to_level
from speechtools.core.errors import ConfigError
from speechtools.core.registry import plugin


@plugin("features/centred-mel")
class CentredMel(Framing):
    """Mel-filterbank energies whose frames are centred on every hop, by default those of Resemblyzer.

    As in librosa and in torchaudio, the window of frame ``i`` reaches over sample ``i * hop_length`` on both sides,
    with zeros before and after the utterance. ``n`` samples have ``ceil(n / hop_length)`` frames; the frame that these
    libraries add at the very end of some lengths is left out. A frame counts for the ``hop_length`` samples from its
    centre on, which ``win_length`` is here.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_mels : int
        Number of filters, from ``f_min`` to half the sample rate.
    window_ms, hop_ms : float
        Length of the Hann window, which is also that of the Fourier transform, and step, in milliseconds.
    f_min : float
        In Hz.
    mel : str
        ``"slaney"``: the scale and the filters of equal area of librosa; ``"htk"``: those of torchaudio.
    scale : str
        ``"power"``: the energies; ``"log"``: their natural logarithm.
    floor : float
        Least energy for the logarithm.
    level_db : float, optional
        Bring every waveform to this level in dB (see :func:`speechtools.audio.level.to_level`); None leaves it.
        :class:`~speechtools.inference.SpeakerEncoder` does so with the whole recording, before pauses are removed.
    level_of : str
        ``"rms"`` or ``"peak"``.
    only_up : bool
        Leave waveforms that are louder as they are.

    Shape
    -----
    wavs (batch, samples), lens (batch,) -> (batch, time, n_mels)

    Examples
    --------
    >>> CentredMel()(torch.randn(2, 16000)).shape
    torch.Size([2, 100, 40])
    """

    filters: Tensor
    window: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        n_mels: int = 40,
        window_ms: float = 25.0,
        hop_ms: float = 10.0,
        f_min: float = 0.0,
        mel: str = "slaney",
        scale: str = "power",
        floor: float = 1e-9,
        level_db: float | None = -30.0,
        level_of: str = "rms",
        only_up: bool = True,
    ):
        super().__init__()
        from torchaudio.functional import melscale_fbanks

        for name, value, known in (
            ("mel", mel, ("slaney", "htk")),
            ("scale", scale, ("power", "log")),
            ("level_of", level_of, LEVELS),
        ):
            if value not in known:
                choices = " or ".join(map(repr, known))
                raise ConfigError(f"Unknown {name}={value!r} for features/centred-mel. Choose {choices}.")
        self.n_fft = round(window_ms * sample_rate / 1000)
        self.hop_length = self.win_length = round(hop_ms * sample_rate / 1000)
        self.padding = self.hop_length - 1
        if not 0 < self.hop_length <= self.n_fft:
            raise ConfigError(
                f"window_ms={window_ms:g} and hop_ms={hop_ms:g} are {self.n_fft} and {self.hop_length} samples: the "
                "hop must be a sample or more, and not exceed the window."
            )
        if not 0 <= f_min < sample_rate / 2 or not floor > 0:
            raise ConfigError(
                f"f_min={f_min:g} and floor={floor:g}: 0 <= f_min < {sample_rate / 2:g} Hz and a floor above 0 are "
                "needed."
            )
        self.scale, self.floor = scale, floor
        self.level_db, self.level_of, self.only_up = level_db, level_of, only_up
        norm = "slaney" if mel == "slaney" else None
        filters = melscale_fbanks(self.n_fft // 2 + 1, f_min, sample_rate / 2, n_mels, sample_rate, norm, mel)
        self.register_buffer("filters", filters, persistent=False)
        # (bins, n_mels)
        self.register_buffer("window", torch.hann_window(self.n_fft), persistent=False)

    @property
    def size(self) -> int:
        """Number of filters."""
        return self.filters.shape[1]

    def levelled(self, wavs: Tensor, lens: Tensor | None = None) -> Tensor:
        """Waveforms (batch, samples) at the level that the features are computed at."""
        return wavs if self.level_db is None else to_level(wavs, lens, self.level_db, self.level_of, self.only_up)

    def forward(self, wavs: Tensor, lens: Tensor | None = None, level: bool = True) -> Tensor:
        """Compute the frames of a padded batch; without ``level``, of waveforms that have their level already."""
        wavs = clear_padding(wavs, lens)
        wavs = self.levelled(wavs, lens) if level else wavs
        time = self.num_frames(wavs.shape[1])
        before = self.n_fft // 2
        after = (time - 1) * self.hop_length + self.n_fft - before - wavs.shape[1]
        wavs = nn.functional.pad(wavs, (before, after))
        energies = filter_energies(wavs, self.window, self.hop_length, self.n_fft, self.filters)
        return energies if self.scale == "power" else energies.clamp(min=self.floor).log()
