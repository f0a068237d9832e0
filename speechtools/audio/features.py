"""Features (kind ``features``): waveforms (batch, samples) to frames (batch, time, size), differentiable.

A batch is padded on the right; ``lens`` are SpeechBrain's relative lengths in (0, 1]. Padding, whatever it contains,
changes no frame of an item, and ``frame_lens`` converts the lengths of waveforms to those of frames exactly.
"""

import math

import torch
from torch import Tensor, nn

from speechtools.audio.fourier import Parts, cut_blocks, cut_frames, filter_energies, is_exporting, not_negative, rfft
from speechtools.audio.frames import Framing, clear_padding, frame_counts, length_mask
from speechtools.core.errors import ConfigError
from speechtools.core.moved import former_names
from speechtools.core.registry import plugin

__getattr__ = former_names(__name__)


def loud_rms(energies: Tensor, counts: Tensor, block: int) -> Tensor:
    """RMS of the loudest tenth of the blocks of a recording: its level, whatever its pauses.

    Parameters
    ----------
    energies : Tensor
        Sums of squares of blocks, (batch, blocks).
    counts : Tensor
        Samples of each item, (batch,).
    block : int
        Samples of a block.
    """
    loudest = energies.sort(dim=1, descending=True).values.cumsum(dim=1)
    # (batch, blocks)
    num_blocks = torch.clamp(counts // (10 * block), min=1)
    power = loudest.gather(1, num_blocks.unsqueeze(1) - 1).squeeze(1)
    return (power / torch.minimum(num_blocks * block, counts)).sqrt()


@plugin("features/magnitude")
class Magnitude(Framing):
    """Magnitude spectrogram of the level-normalised waveform (Quality-Net paper, section 2).

    The end of an utterance is padded with zeros to a whole window, so that every sample counts. An utterance of ``n``
    samples has ``1 + ceil(max(n - n_fft, 0) / hop_length)`` frames.

    Parameters
    ----------
    n_fft, hop_length : int
        Window and step in samples. The paper's authors use 512 and 256 at 16 kHz (32 and 16 ms).
    window : str
        ``"hamming"`` or ``"hann"``.
    level : str
        The level that every waveform is divided by, which makes scores independent of the gain: ``"peak"``, its
        largest absolute sample, as in the authors' released code; ``"robust-peak"``, the same without clicks;
        ``"loud"``, which sets the RMS of its loudest tenth to 0.3; or ``"none"``.
    log1p : bool
        Return log(1 + magnitude) instead of the magnitude: a narrower range, easier to learn from.

    Shape
    -----
    wavs (batch, samples), lens (batch,) -> (batch, time, n_fft // 2 + 1)

    Examples
    --------
    >>> Magnitude()(torch.randn(2, 16000)).shape
    torch.Size([2, 62, 257])
    """

    window: Tensor
    #: Whether frames are magnitudes, or log(1 + magnitude), which an equalizer multiplies.
    is_magnitude = True

    def __init__(
        self,
        n_fft: int = 512,
        hop_length: int = 256,
        window: str = "hamming",
        level: str = "peak",
        log1p: bool = False,
    ):
        super().__init__()
        windows = {"hamming": torch.hamming_window, "hann": torch.hann_window}
        if window not in windows:
            raise ConfigError(f"Unknown window {window!r} for features/magnitude. Choose one of {', '.join(windows)}.")
        if not 0 < hop_length <= n_fft:
            raise ConfigError(f"hop_length={hop_length} is out of range. Choose a value from 1 to n_fft={n_fft}.")
        if level not in ("peak", "robust-peak", "loud", "none"):
            known = "peak, robust-peak, loud, none"
            raise ConfigError(f"Unknown level {level!r} for features/magnitude. Choose one of {known}.")
        self.n_fft = self.win_length = n_fft
        self.hop_length, self.padding = hop_length, hop_length - 1
        self.level, self.log1p = level, log1p
        self.register_buffer("window", windows[window](n_fft), persistent=False)

    @property
    def size(self) -> int:
        """Number of frequency bins of a frame."""
        return self.n_fft // 2 + 1

    def levels(self, wavs: Tensor, lens: Tensor | None = None) -> Tensor:
        """Level (batch,) that each waveform of (batch, samples) is divided by. Padding must be zero."""
        if self.level == "peak":
            return wavs.abs().amax(dim=1)
        blocks = cut_blocks(wavs, self.n_fft)
        # (batch, blocks, n_fft)
        if self.level == "robust-peak":
            return self.robust_peak(blocks.abs().amax(dim=2), frame_counts(wavs, lens))
        return self.loud_level(blocks.square().sum(dim=2), frame_counts(wavs, lens))

    def robust_peak(self, peaks: Tensor, counts: Tensor) -> Tensor:
        """Largest peak of those up to 1.5 times the tenth largest: speech peaks in many blocks, a click in one or two.

        Of a recording with less than a hundred blocks, the tenth of its blocks replaces the number ten.

        Parameters
        ----------
        peaks : Tensor
            Largest absolute samples of the blocks of ``n_fft`` samples, (batch, blocks).
        counts : Tensor
            Samples of each item, (batch,).
        """
        ordered = peaks.sort(dim=1, descending=True).values
        rank = torch.clamp((counts + self.n_fft - 1) // self.n_fft // 10, 1, 10)
        limit = 1.5 * ordered.gather(1, rank.unsqueeze(1) - 1)
        # (batch, 1)
        return ordered.masked_fill(ordered > limit, 0.0).amax(dim=1)

    def loud_level(self, energies: Tensor, counts: Tensor) -> Tensor:
        """RMS of the loudest tenth of blocks of ``n_fft`` samples, over 0.3; see :func:`loud_rms`."""
        return loud_rms(energies, counts, self.n_fft) / 0.3

    def forward(self, wavs: Tensor, lens: Tensor | None = None, levels: Tensor | None = None) -> Tensor:
        """Compute the frames of a padded batch.

        ``levels`` (batch,) replaces the level of each waveform, so that a chunk of a long recording is scaled like the
        whole.
        """
        wavs = clear_padding(wavs, lens)
        if self.level != "none":
            if levels is None or is_exporting():
                own = self.levels(wavs, lens)
                levels = own if levels is None else torch.where(levels.isnan(), own, levels)
            # A silent waveform stays as it is; dividing by 0 would make it NaN.
            wavs = wavs / torch.where(levels > 0, levels, 1.0).unsqueeze(1)
        samples = wavs.shape[1]
        wavs = nn.functional.pad(wavs, (0, self.num_samples(self.num_frames(samples)) - samples))
        return self.of_waveform(wavs)

    def of_waveform(self, wavs: Tensor) -> Tensor:
        """Features (batch, time, size) of level-normalised waveforms (batch, samples) that fill whole windows."""
        if is_exporting():
            return self.of_spectrum(rfft(cut_frames(wavs, self.n_fft, self.hop_length) * self.window, self.n_fft))
        spectrum = torch.stft(
            wavs, self.n_fft, self.hop_length, window=self.window, center=False, return_complex=True
        ).transpose(1, 2)
        # (batch, time, bins)
        return self.of_spectrum(spectrum)

    def of_spectrum(self, spectrum: Tensor | Parts) -> Tensor:
        """Features (batch, time, size) of complex spectra (batch, time, bins) of the level-normalised waveform."""
        if isinstance(spectrum, Tensor) and spectrum.requires_grad:
            magnitude = spectrum.abs()
        else:  # twice as fast, but its gradient at zero would be NaN
            magnitude = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag).sqrt_()
        return torch.log1p(magnitude) if self.log1p else magnitude

    def mean_magnitudes(self, feats: Tensor) -> Tensor:
        """Mean magnitude of each frame (batch, time), without the lowest bins: there is what remains of an offset."""
        return feats[..., 3:].mean(dim=2)


@plugin("features/mel")
class LevelledLogMel(Magnitude):
    """Logarithm of the mel-filterbank energies of the level-normalised waveform, for :class:`Magnitude`'s frames.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_mels : int
        Number of filters, up to half the sample rate.
    n_fft, hop_length, window, level
        As :class:`Magnitude` has them.
    floor : float
        Added to the energies before the logarithm. At the level of ``loud``, speech has energies of about 100.
    f_min : float
        Where the lowest filter begins, in Hz. PESQ hardly hears what is below 100.
    parts : int
        Above 0, a frame also has the logarithmic energies of so many equal parts of the step in its middle, which show
        gaps and clicks that are shorter than a window, and the crest factor of this step, which is low where speech is
        clipped.

    Shape
    -----
    wavs (batch, samples), lens (batch,) -> (batch, time, n_mels), from about -3 (silence) to 2; with parts, (batch,
    time, n_mels + parts + 1).

    Examples
    --------
    >>> LevelledLogMel()(torch.randn(2, 16000)).shape
    torch.Size([2, 62, 80])
    >>> LevelledLogMel(parts=8)(torch.randn(2, 16000)).shape
    torch.Size([2, 62, 89])
    """

    filters: Tensor
    is_magnitude = False
    #: Divides the logarithms, so that they have about the range that networks learn from best.
    SCALE = 5.0

    def __init__(
        self,
        sample_rate: int = 16000,
        n_mels: int = 80,
        n_fft: int = 512,
        hop_length: int = 256,
        window: str = "hamming",
        level: str = "loud",
        floor: float = 1e-6,
        f_min: float = 20.0,
        parts: int = 0,
    ):
        super().__init__(n_fft, hop_length, window, level)
        from torchaudio.functional import melscale_fbanks

        if not floor > 0:
            raise ConfigError(f"floor={floor} is out of range for features/mel. Choose a value above 0.")
        if not 0 <= f_min < sample_rate / 2:
            raise ConfigError(
                f"f_min={f_min} Hz is out of range for features/mel. Choose 0 or more, below {sample_rate / 2:g}."
            )
        if parts and (parts < 0 or hop_length % parts or (n_fft - hop_length) < 2):
            raise ConfigError(
                f"parts={parts} does not divide a step of {hop_length} samples within a window of {n_fft}. Choose a "
                "divisor of hop_length, which must be shorter than the window, or 0."
            )
        self.n_mels, self.floor, self.f_min, self.parts = n_mels, floor, f_min, parts
        filters = melscale_fbanks(n_fft // 2 + 1, f_min, sample_rate / 2, n_mels, sample_rate)
        self.register_buffer("filters", filters, persistent=False)
        # (bins, n_mels)

    @property
    def size(self) -> int:
        """Size of a frame."""
        return self.n_mels + (self.parts + 1 if self.parts else 0)

    def of_waveform(self, wavs: Tensor) -> Tensor:
        """Features (batch, time, size) of level-normalised waveforms (batch, samples) that fill whole windows."""
        if is_exporting():
            energies = filter_energies(wavs, self.window, self.hop_length, self.n_fft, self.filters)
            feats = torch.log(energies + self.floor) / self.SCALE
        else:
            feats = super().of_waveform(wavs)
        if not self.parts:
            return feats
        mean, largest, differences = self.part_powers(wavs, feats.shape[1])
        crest = torch.log(largest + self.floor) - torch.log(mean + self.floor)
        # (batch, time, 1)
        energies = torch.log(differences + 0.01 * self.floor)
        # (batch, time, parts)
        return torch.cat([feats, energies / self.SCALE, crest / self.SCALE], dim=2)

    def part_powers(self, wavs: Tensor, time: int) -> tuple[Tensor, Tensor, Tensor]:
        """Powers in the steps in the middle of ``time`` frames of waveforms (batch, samples).

        Returns
        -------
        mean, largest : Tensor
            (batch, time, 1): of the samples, without their mean.
        differences : Tensor
            (batch, time, parts): of the differences of samples, in which offset and rumble are weak, so that they show
            short gaps.
        """
        start = (self.n_fft - self.hop_length) // 2
        end = start + time * self.hop_length
        steps = wavs[:, start:end].reshape(wavs.shape[0], -1, self.hop_length)
        # (batch, time, hop_length)
        squares = (steps - steps.mean(dim=2, keepdim=True)).square()
        differences = wavs[:, start:end] - wavs[:, start - 1 : end - 1]
        differences = differences.reshape(wavs.shape[0], -1, self.parts, self.hop_length // self.parts)
        return squares.mean(dim=2, keepdim=True), squares.amax(dim=2, keepdim=True), differences.square().mean(dim=3)

    def of_spectrum(self, spectrum: Tensor | Parts) -> Tensor:
        """Features (batch, time, n_mels) of complex spectra (batch, time, bins)."""
        power = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)
        return torch.log(power @ self.filters + self.floor) / self.SCALE

    def mean_magnitudes(self, feats: Tensor) -> Tensor:
        """Root mean square of the spectrum of each frame (batch, time), without the lowest filters."""
        energies = ((self.SCALE * feats[..., 4 : self.n_mels]).exp() - self.floor).clamp(min=0)
        return (energies.sum(dim=2) / self.filters[:, 4:].sum()).sqrt()


@plugin("features/log-mel")
class LogMel(Framing):
    """Log-mel-filterbank energies (GE2E paper, section 3): 40 of them, from 25 ms windows every 10 ms.

    Only whole windows count, so no frame of an utterance reaches into the padding behind it: ``n`` samples have
    ``1 + floor((n - window) / hop)`` frames. An utterance shorter than a window is padded with zeros to one.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_mels : int
        Number of filters, from ``f_min`` to ``f_max`` (Hz; None: half the sample rate).
    window_ms, hop_ms : float
        Length of the Hann window and step, in milliseconds.
    n_fft : int
        Points of the Fourier transform, at least a window.
    scale : str
        ``"log"``: natural logarithm of the energy; ``"db"``: ten times its decimal logarithm.
    mean_norm : bool
        Subtract the mean over time from every utterance, which removes level and channel.
    floor : float
        Added to the energies before the logarithm. The default is about the rounding noise of 16-bit audio.
    level : float, optional
        Scale every waveform so that the RMS of its loudest tenth is this, which makes the floor independent of the
        gain. Default: leave it.

    Shape
    -----
    wavs (batch, samples), lens (batch,) -> (batch, time, n_mels)

    Examples
    --------
    >>> LogMel()(torch.randn(2, 16000)).shape
    torch.Size([2, 98, 40])
    """

    filters: Tensor
    window: Tensor

    def __init__(
        self,
        sample_rate: int = 16000,
        n_mels: int = 40,
        window_ms: float = 25.0,
        hop_ms: float = 10.0,
        n_fft: int = 512,
        f_min: float = 20.0,
        f_max: float | None = None,
        scale: str = "log",
        mean_norm: bool = False,
        floor: float = 1e-6,
        level: float | None = None,
    ):
        super().__init__()
        from torchaudio.functional import melscale_fbanks

        factors = {"log": 1.0, "db": 10.0 / math.log(10.0)}
        if scale not in factors:
            raise ConfigError(f"Unknown scale={scale!r} for features/log-mel. Choose 'log' or 'db'.")
        self.win_length = round(window_ms * sample_rate / 1000)
        self.hop_length = round(hop_ms * sample_rate / 1000)
        if not 0 < self.hop_length <= self.win_length <= n_fft:
            raise ConfigError(
                f"window_ms={window_ms:g} and hop_ms={hop_ms:g} are {self.win_length} and {self.hop_length} samples: "
                f"the hop must not exceed the window, nor the window n_fft={n_fft}."
            )
        f_max = sample_rate / 2 if f_max is None else f_max
        if not 0 <= f_min < f_max <= sample_rate / 2:
            raise ConfigError(
                f"f_min={f_min:g} and f_max={f_max:g} Hz: 0 <= f_min < f_max <= {sample_rate / 2:g} is needed."
            )
        if level is not None and not level > 0:
            raise ConfigError(f"level={level} is out of range for features/log-mel. Choose a value above 0, or null.")
        self.n_fft, self.mean_norm, self.floor, self.factor = n_fft, mean_norm, floor, factors[scale]
        self.level = level
        filters = melscale_fbanks(n_fft // 2 + 1, f_min, f_max, n_mels, sample_rate)
        self.register_buffer("filters", filters, persistent=False)
        # (bins, n_mels)
        self.register_buffer("window", torch.hann_window(self.win_length), persistent=False)

    @property
    def size(self) -> int:
        """Number of filters."""
        return self.filters.shape[1]

    def forward(self, wavs: Tensor, lens: Tensor | None = None) -> Tensor:
        """Compute the frames of a padded batch."""
        counts = frame_counts(wavs, lens)
        wavs = clear_padding(wavs, lens)
        if self.level is not None:
            blocks = cut_blocks(wavs, self.n_fft)
            # (batch, blocks, n_fft)
            levels = loud_rms(blocks.square().sum(dim=2), counts, self.n_fft)
            wavs = wavs * (self.level / torch.where(levels > 0, levels, 1.0)).unsqueeze(1)
        wavs = nn.functional.pad(wavs, (0, not_negative(self.win_length - wavs.shape[1])))
        energies = filter_energies(wavs, self.window, self.hop_length, self.n_fft, self.filters)
        feats = self.factor * torch.log(energies + self.floor)
        # (batch, time, n_mels)
        if not self.mean_norm:
            return feats
        if lens is None:
            return feats - feats.mean(dim=1, keepdim=True)
        counts = self.num_frames(counts)
        mask = length_mask(counts, feats.shape[1]).unsqueeze(2)
        # (batch, time, 1)
        return feats - (feats * mask).sum(dim=1, keepdim=True) / counts.view(-1, 1, 1)
