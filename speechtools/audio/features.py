"""Features (kind ``features``): from waveforms to frames, batched, differentiable, on any device.

``(batch, samples) -> (batch, time, size)``. A batch is padded on the right; ``lens`` are SpeechBrain's relative lengths
in (0, 1]. What lies beyond an item's length changes none of its frames, and ``frame_lens`` converts the lengths of
waveforms into those of frames exactly.
"""

import math
from typing import TypeVar

import torch
from torch import Tensor, nn

from speechtools.core.errors import ConfigError
from speechtools.core.registry import plugin


def num_samples(lens: Tensor, longest: int) -> Tensor:
    """Relative lengths (batch,) as whole numbers of samples or frames (batch,), at least 1.

    >>> num_samples(torch.tensor([1.0, 0.5]), 62).tolist()
    [62, 31]
    """
    return (lens * longest).round().long().clamp(1, longest)


def length_mask(counts: Tensor, longest: int) -> Tensor:
    """Booleans (batch, longest): true within the first ``counts[i]`` positions of row i.

    >>> length_mask(torch.tensor([3, 1]), 3).tolist()
    [[True, True, True], [True, False, False]]
    """
    return torch.arange(longest, device=counts.device) < counts.unsqueeze(1)


#: Samples or frames: one number, or an integer tensor of them.
Count = TypeVar("Count", int, Tensor)


@plugin("features/magnitude")
class Magnitude(nn.Module):
    """Magnitude spectrogram of the waveform at a level of its own (Quality-Net paper, section 2).

    Windows of ``n_fft`` samples every ``hop_length``; the end of an utterance is filled with zeros to a whole window,
    so every sample counts and an utterance of ``n`` samples has ``1 + ceil(max(n - n_fft, 0) / hop_length)`` frames.

    Parameters
    ----------
    n_fft, hop_length : int
        Window and step in samples: 512 and 256 at 16 kHz, as the paper's authors use (32 and 16 ms).
    window : str
        ``"hamming"`` or ``"hann"``.
    level : str
        What every waveform is divided by, which makes the score independent of its level: ``"peak"``, its largest
        absolute sample, as in the authors' released code; ``"loud"``, so that its loudest tenth has an RMS of 0.3
        whatever single peaks it has; or ``"none"``.
    log1p : bool
        Return log(1 + magnitude) instead of the magnitude: a narrower range, easier to learn from.

    Shape
    -----
    wavs (batch, samples), lens (batch,) -> (batch, time, n_fft // 2 + 1)

    Example
    -------
    >>> Magnitude()(torch.randn(2, 16000)).shape
    torch.Size([2, 62, 257])
    """

    window: Tensor

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
            raise ConfigError(f"features/magnitude knows no window {window!r}; it has {', '.join(windows)}.")
        if not 0 < hop_length <= n_fft:
            raise ConfigError(
                f"hop_length={hop_length} must lie between 1 and n_fft={n_fft}: a longer step would skip samples."
            )
        if level not in ("peak", "loud", "none"):
            raise ConfigError(f"features/magnitude knows no level {level!r}; it has peak, loud, none.")
        self.n_fft, self.hop_length = n_fft, hop_length
        self.level, self.log1p = level, log1p
        self.register_buffer("window", windows[window](n_fft), persistent=False)

    @property
    def size(self) -> int:
        """Number of frequency bins a frame."""
        return self.n_fft // 2 + 1

    @property
    def win_length(self) -> int:
        """Samples of a window."""
        return self.n_fft

    def num_frames(self, samples: Count) -> Count:
        """Frames of an utterance of so many samples (int or integer tensor)."""
        beyond = samples - self.n_fft
        beyond = beyond.clamp(min=0) if isinstance(beyond, Tensor) else max(beyond, 0)
        return 1 + (beyond + self.hop_length - 1) // self.hop_length

    def num_samples(self, frames: int) -> int:
        """The samples of so many whole windows."""
        return self.win_length + (frames - 1) * self.hop_length

    def frame_lens(self, lens: Tensor, samples: int) -> Tensor:
        """Relative lengths (batch,) of frames, from those of waveforms, ``lens`` (batch,), padded to ``samples``."""
        return self.num_frames(num_samples(lens, samples)).to(lens.dtype) / self.num_frames(samples)

    def levels(self, wavs: Tensor, lens: Tensor | None = None) -> Tensor:
        """What each waveform of (batch, samples) is divided by: (batch,). Padding must be zero."""
        if self.level == "peak":
            return wavs.abs().amax(dim=1)
        counts = torch.full((len(wavs),), wavs.shape[1], device=wavs.device)
        if lens is not None:
            counts = num_samples(lens, wavs.shape[1])
        blocks = nn.functional.pad(wavs, (0, -wavs.shape[1] % self.n_fft)).unflatten(1, (-1, self.n_fft))
        # (batch, blocks, n_fft)
        return self.loud_level(blocks.square().sum(dim=2), counts)

    def loud_level(self, energies: Tensor, counts: Tensor) -> Tensor:
        """RMS, over 0.3, of the loudest tenth of the blocks: their ``energies`` (batch, blocks), ``counts`` samples."""
        loudest = energies.sort(dim=1, descending=True).values.cumsum(dim=1)
        # (batch, blocks)
        taken = torch.clamp(counts // (10 * self.n_fft), min=1)
        power = loudest.gather(1, taken.unsqueeze(1) - 1).squeeze(1) / torch.minimum(taken * self.n_fft, counts)
        return power.sqrt() / 0.3

    def forward(self, wavs: Tensor, lens: Tensor | None = None, levels: Tensor | None = None) -> Tensor:
        """Frames of a padded batch.

        ``levels`` (batch,) replaces each waveform's own in the normalisation: a piece of a long recording is then
        scaled like the whole.
        """
        samples = wavs.shape[1]
        if lens is not None:
            wavs = wavs * length_mask(num_samples(lens, samples), samples)
        if self.level != "none":
            levels = self.levels(wavs, lens) if levels is None else levels
            # A silent waveform has no level: it is left as it is instead of becoming NaN.
            wavs = wavs / torch.where(levels > 0, levels, torch.ones_like(levels)).unsqueeze(1)
        whole = (self.num_frames(samples) - 1) * self.hop_length + self.n_fft
        wavs = nn.functional.pad(wavs, (0, whole - samples))
        spectrum = torch.stft(
            wavs, self.n_fft, self.hop_length, window=self.window, center=False, return_complex=True
        ).transpose(1, 2)
        # (batch, time, bins)
        if spectrum.requires_grad:
            magnitude = spectrum.abs()
        else:  # twice as fast, but its gradient at zero would be NaN
            magnitude = torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag).sqrt_()
        return torch.log1p(magnitude) if self.log1p else magnitude


@plugin("features/log-mel")
class LogMel(nn.Module):
    """Log-mel-filterbank energies (GE2E paper, section 3): 40 of them, of 25 ms every 10 ms.

    Only whole windows count, so no frame of an utterance reaches into the padding behind it: ``n`` samples have
    ``1 + floor((n - window) / hop)`` frames. What is shorter than a window is filled with zeros to one.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_mels : int
        Number of filters, from ``f_min`` to ``f_max`` (Hz; None: half the sample rate).
    window_ms, hop_ms : float
        Length of a Hann window and step to the next, in milliseconds.
    n_fft : int
        Points of the Fourier transform, at least a window.
    scale : str
        ``"log"``: the natural logarithm of the energy; ``"db"``: ten times its decimal one.
    mean_norm : bool
        Subtract from every utterance its mean over time, which takes level and channel out.
    floor : float
        Added to the energies before the logarithm: about that of the rounding noise of 16 bit audio.

    Shape
    -----
    wavs (batch, samples), lens (batch,) -> (batch, time, n_mels)

    Example
    -------
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
    ):
        super().__init__()
        from torchaudio.functional import melscale_fbanks

        factors = {"log": 1.0, "db": 10.0 / math.log(10.0)}
        if scale not in factors:
            raise ConfigError(f"scale={scale!r} is unknown: log-mel energies are on the scale 'log' or 'db'.")
        self.win_length = round(window_ms * sample_rate / 1000)
        self.hop_length = round(hop_ms * sample_rate / 1000)
        if not 0 < self.hop_length <= self.win_length <= n_fft:
            raise ConfigError(
                f"window_ms={window_ms:g} and hop_ms={hop_ms:g} are {self.win_length} and {self.hop_length} samples at "
                f"{sample_rate} Hz, and n_fft={n_fft}: the hop must not be longer than the window, nor that than n_fft."
            )
        f_max = sample_rate / 2 if f_max is None else f_max
        if not 0 <= f_min < f_max <= sample_rate / 2:
            raise ConfigError(
                f"Filters from f_min={f_min:g} to f_max={f_max:g} Hz cannot be: give 0 <= f_min < f_max <= "
                f"{sample_rate / 2:g}, half the sample rate."
            )
        self.n_fft, self.mean_norm, self.floor, self.factor = n_fft, mean_norm, floor, factors[scale]
        filters = melscale_fbanks(n_fft // 2 + 1, f_min, f_max, n_mels, sample_rate)
        self.register_buffer("filters", filters, persistent=False)
        # (bins, n_mels)
        self.register_buffer("window", torch.hann_window(self.win_length), persistent=False)

    @property
    def size(self) -> int:
        """Number of filters."""
        return self.filters.shape[1]

    def num_frames(self, samples: Count) -> Count:
        """Frames of an utterance of so many samples (int or integer tensor)."""
        beyond = samples - self.win_length
        beyond = beyond.clamp(min=0) if isinstance(beyond, Tensor) else max(beyond, 0)
        return 1 + beyond // self.hop_length

    def num_samples(self, frames: int) -> int:
        """The samples of so many whole windows."""
        return self.win_length + (frames - 1) * self.hop_length

    def frame_lens(self, lens: Tensor, samples: int) -> Tensor:
        """Relative lengths (batch,) of frames, from those of waveforms, ``lens`` (batch,), padded to ``samples``."""
        return self.num_frames(num_samples(lens, samples)).to(lens.dtype) / self.num_frames(samples)

    def forward(self, wavs: Tensor, lens: Tensor | None = None) -> Tensor:
        samples = wavs.shape[1]
        counts = None
        if lens is not None:
            counts = num_samples(lens, samples)
            wavs = wavs * length_mask(counts, samples)
        wavs = nn.functional.pad(wavs, (0, max(self.win_length - samples, 0)))
        frames = wavs.unfold(1, self.win_length, self.hop_length) * self.window
        # (batch, time, win_length)
        spectrum = torch.fft.rfft(frames, self.n_fft)
        # (batch, time, bins)
        power = spectrum.real.square() + spectrum.imag.square()
        feats = self.factor * torch.log(power @ self.filters + self.floor)
        # (batch, time, n_mels)
        if not self.mean_norm:
            return feats
        if counts is None:
            return feats - feats.mean(dim=1, keepdim=True)
        frame_counts = self.num_frames(counts)
        mask = length_mask(frame_counts, feats.shape[1]).unsqueeze(2)
        # (batch, time, 1)
        return feats - (feats * mask).sum(dim=1, keepdim=True) / frame_counts.view(-1, 1, 1)
