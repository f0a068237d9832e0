"""Speech enhancement by a trained model: on tensors, waveforms and files."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechtools import audio
from speechtools.audio.frames import clear_padding
from speechtools.audio.spectrum import Spectrum
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.pretrained import BUNDLED_MODELS, PretrainedModel

#: The model that comes with the package: its folder's README tells how it was trained.
BUNDLED_ENHANCER = BUNDLED_MODELS / "enhancer"


class SpeechEnhancer(PretrainedModel):
    """Speech enhancement by a trained model of masks.

    Example
    -------
    >>> enhancer = SpeechEnhancer.from_hparams()  # the model that comes with the package
    >>> enhancer.enhance_batch(torch.randn(2, 16000)).shape
    torch.Size([2, 16000])
    """

    HPARAMS_NEEDED = ["spectrum", "sample_rate"]
    MODULES_NEEDED = ["enhancer"]
    BUNDLED = BUNDLED_ENHANCER

    #: Longer recordings are enhanced in chunks, in bounded memory beside the recording itself.
    CHUNK_SECONDS = 60.0
    #: How far a chunk reaches into its neighbours on either side.
    CONTEXT_SECONDS = 5.0

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.spectrum = self.hparams.spectrum.to(self.device)
        self.sample_rate = self.hparams.sample_rate
        bins = self.spectrum.size
        try:
            with torch.no_grad():
                masks = self.mods.enhancer(torch.zeros(1, 2, bins, device=self.device))
            fits = masks.shape == (1, 2, bins)
        except RuntimeError:
            fits = False
        if not fits:
            raise ConfigError(
                f"The enhancer does not take spectra of {bins} bins, which n_fft={self.spectrum.n_fft} gives: it was "
                "trained with another STFT. Export it again, or mend n_fft and hop_length in its hyperparams.yaml."
            )

    def check_matches(self, sample_rate: int, spectrum: Spectrum) -> None:
        """Refuse to be trained further at another sample rate (Hz) or with another STFT.

        Raises
        ------
        ConfigError
            One of them differs.
        """
        self.check_rate(sample_rate)
        ours, theirs = ((each.n_fft, each.hop_length) for each in (self.spectrum, spectrum))
        if ours != theirs:
            raise ConfigError(
                f"This enhancer was trained with n_fft={ours[0]} and hop_length={ours[1]}, and the recipe has "
                f"n_fft={theirs[0]} and hop_length={theirs[1]}. Give the recipe those of the enhancer."
            )

    def enhance_batch(self, wavs: Tensor, wav_lens: Tensor | None = None) -> Tensor:
        """Enhance waveforms held in memory. Gradients flow to ``wavs``.

        Parameters
        ----------
        wavs : Tensor
            (batch, samples) at the model's ``sample_rate``, padded on the right.
        wav_lens : Tensor
            Relative lengths (batch,) in (0, 1]; None means all are whole.

        Returns
        -------
        Tensor
            (batch, samples), 0 beyond an item's length.

        Raises
        ------
        AudioError
            The waveforms have another number of dimensions, are empty, or hold NaN or infinite samples.
        """
        if wavs.dim() != 2 or wavs.shape[1] == 0 or not wavs.is_floating_point():
            raise AudioError(
                f"Waveforms of shape {tuple(wavs.shape)} and type {wavs.dtype} cannot be enhanced: give floating point "
                "(batch, samples), mono, at least one sample."
            )
        if not torch.isfinite(wavs).all():
            raise AudioError("The waveforms hold NaN or infinite samples. Mend what made them.")
        wavs = wavs.to(self.device, torch.float32)
        samples = wavs.shape[1]
        lens = torch.ones(len(wavs), device=self.device) if wav_lens is None else wav_lens.to(self.device)
        noisy = self.spectrum(wavs, lens)
        # (batch, time, bins)
        masks = self.mods.enhancer(noisy.abs(), self.spectrum.frame_lens(lens, samples))
        return clear_padding(self.spectrum.inverse(masks * noisy, samples), lens)

    @torch.inference_mode()
    def enhance_waveforms(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        """Enhance waveforms (samples,) of any lengths together; each keeps its length.

        Together they are padded to the longest: for many, give them in batches.
        """
        counts = [len(samples) for samples in waveforms]
        wavs = torch.zeros(len(counts), max(counts))
        for row, samples in zip(wavs, waveforms, strict=True):
            row[: len(samples)] = torch.from_numpy(np.asarray(samples, dtype=np.float32))
        # In float64: a relative length in float32 can miss a sample of a long recording.
        lens = torch.tensor(counts, dtype=torch.float64) / max(counts)
        enhanced = self.enhance_batch(wavs, lens).cpu().numpy()
        return [row[:count].copy() for row, count in zip(enhanced, counts, strict=True)]

    def enhance_file(self, path: str | Path) -> np.ndarray:
        """The enhanced recording (samples,) of a file, mono, at the model's ``sample_rate``.

        Raises
        ------
        AudioError
            The file is missing, no audio, cut short, empty or silent; the message names it and the reason.
        """
        samples = audio.read(path, self.sample_rate)
        audio.check_signal(samples, path)
        hop = self.spectrum.hop_length
        core = max(1, round(self.CHUNK_SECONDS * self.sample_rate / hop)) * hop
        context = max(1, round(self.CONTEXT_SECONDS * self.sample_rate / hop)) * hop
        if len(samples) <= core + context:
            return self.enhance_waveforms([samples])[0]
        enhanced = np.zeros_like(samples)
        # A chunk is measured by its own level and averages, so that one passes into the next without a jump.
        rise = np.linspace(0, 1, context, dtype=np.float32)
        for first in range(0, len(samples) - context, core):
            last = first + core + context
            last = len(samples) if len(samples) - last <= context else last
            begin = max(first - context, 0)
            chunk = self.enhance_waveforms([samples[begin : last + context]])[0][first - begin : last - begin]
            # (samples,) from the chunk's first sample to the end of the next one's rise
            if first > 0:
                chunk[:context] *= rise
            if last < len(samples):
                chunk[-context:] *= 1 - rise
            enhanced[first:last] += chunk
            if last == len(samples):
                break
        return enhanced

    def enhance_files(self, files: Iterable[tuple[str | Path, str | Path]]) -> Iterator[tuple[Path, AudioError | None]]:
        """Enhance files and write what comes out; pairs of a file and where its enhanced version goes (.wav, .flac).

        Yields
        ------
        path : Path
            In the order given.
        error : AudioError or None
            The reason why this file has no enhanced version. One bad file does not end the others.
        """
        for path, output in files:
            try:
                enhanced = self.enhance_file(path)
                # Full scale is kept unless it would clip.
                audio.write(output, enhanced / max(1.0, float(np.abs(enhanced).max())), self.sample_rate)
            except AudioError as error:
                yield Path(path), error
            else:
                yield Path(path), None
