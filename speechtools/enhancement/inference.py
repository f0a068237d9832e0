"""Enhance speech with a trained model."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechtools import audio
from speechtools.audio.frames import clear_padding
from speechtools.audio.io import chunks
from speechtools.audio.recordings import check_lens, check_waveforms, map_recordings, pad
from speechtools.audio.spectrum import Spectrum
from speechtools.core.checks import check_number
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.model_folder import Model
from speechtools.core.pretrained import BUNDLED_MODELS, PretrainedModel

#: The bundled model; its README describes its training.
BUNDLED_ENHANCER = BUNDLED_MODELS / "enhancer"
#: Longest window in samples.
MAX_FFT = 2**17


class SpeechEnhancer(PretrainedModel):
    """Speech enhancement by spectral masks.

    Examples
    --------
    >>> enhancer = SpeechEnhancer.from_hparams()  # the bundled model
    >>> enhancer.enhance_batch(torch.randn(2, 16000)).shape
    torch.Size([2, 16000])
    """

    HPARAMS_NEEDED = ["sample_rate", "n_fft", "hop_length"]
    MODULES_NEEDED = ["enhancer"]
    COMPONENTS = {"enhancer": "enhancer"}
    BUNDLED = BUNDLED_ENHANCER

    #: Longer recordings are enhanced in chunks of this length.
    CHUNK_SECONDS = 60.0
    #: Context of a chunk on both sides, and the length of the cross-fade between chunks.
    CONTEXT_SECONDS = 5.0

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        check_number("n_fft", self.hparams.n_fft, 2, MAX_FFT, whole=True)
        check_number("hop_length", self.hparams.hop_length, 1, MAX_FFT, whole=True)
        self.spectrum = Spectrum(self.hparams.n_fft, self.hparams.hop_length).to(self.device)
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
                "trained with another STFT. Export it again, or correct n_fft and hop_length in its config.json."
            )

    @classmethod
    def _of_former(cls, model: Model) -> Model:
        """Take the sizes of the spectrum, which were a component."""
        spectrum = model.values.pop("spectrum", None)
        if isinstance(spectrum, Spectrum):
            model.values.update(n_fft=spectrum.n_fft, hop_length=spectrum.hop_length)
        return model

    def check_matches(self, sample_rate: int, spectrum: Spectrum) -> None:
        """Raise an error if a recipe has another sample rate (Hz) or STFT than the model.

        Raises
        ------
        ConfigError
            One of them differs.
        """
        self.check_rate(sample_rate)
        if (self.spectrum.n_fft, self.spectrum.hop_length) != (spectrum.n_fft, spectrum.hop_length):
            raise ConfigError(
                f"This enhancer was trained with n_fft={self.spectrum.n_fft} and hop_length={self.spectrum.hop_length},"
                f" but the recipe has n_fft={spectrum.n_fft} and hop_length={spectrum.hop_length}. Use the former."
            )

    def enhance_batch(self, wavs: Tensor, wav_lens: Tensor | None = None) -> Tensor:
        """Enhance waveforms. Gradients flow to ``wavs``.

        Parameters
        ----------
        wavs : Tensor
            (batch, samples) or (samples,) at the model's ``sample_rate``, padded on the right.
        wav_lens : Tensor, optional
            Relative lengths (batch,) in (0, 1]. Default: no padding.

        Returns
        -------
        Tensor
            (batch, samples), 0 beyond the end of a waveform.

        Raises
        ------
        AudioError
            The waveforms have another shape or type, are empty, or contain NaN or infinite samples; or a length is not
            in (0, 1].
        """
        wavs = self._to_signal(check_waveforms(wavs))
        samples = wavs.shape[1]
        lens = check_lens(wav_lens, wavs)
        noisy = self.spectrum(wavs, lens)
        # (batch, time, bins)
        masks = self.mods.enhancer(noisy.abs().to(self.dtype), self.spectrum.frame_lens(lens, samples))
        return clear_padding(self.spectrum.inverse(masks * noisy, samples), lens)

    @torch.inference_mode()
    def enhance_waveforms(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        """Enhance waveforms (samples,) of any lengths in one batch."""
        wavs, lens = pad(waveforms)
        enhanced = self.enhance_batch(wavs, lens).cpu().numpy()
        return [row[: len(samples)].copy() for row, samples in zip(enhanced, waveforms, strict=True)]

    def enhance_file(self, path: str | Path) -> np.ndarray:
        """Enhance an audio file: mono samples (samples,) at the model's ``sample_rate``.

        Raises
        ------
        AudioError
            The file is missing, not audio, truncated, empty or silent; the message names it.
        """
        hop = self.spectrum.hop_length
        size = max(1, round(self.CHUNK_SECONDS * self.sample_rate / hop)) * hop
        context = max(1, round(self.CONTEXT_SECONDS * self.sample_rate / hop)) * hop
        # A chunk is enhanced by its own level and averages, so neighbours are cross-faded.
        rise = np.linspace(0, 1, context, dtype=np.float32)
        segments: list[np.ndarray] = []
        fading = np.zeros(0, dtype=np.float32)
        for chunk in chunks(path, self.sample_rate, size, before=context, after=2 * context):
            enhanced = self.enhance_waveforms([chunk.samples])[0][chunk.first - chunk.start :]
            if segments:
                enhanced[:context] = rise * enhanced[:context] + fading
            if not chunk.is_last:
                enhanced, fading = enhanced[:size], (1 - rise) * enhanced[size : size + context]
            segments.append(enhanced)
        return np.concatenate(segments)

    def enhance_files(
        self, files: Iterable[tuple[str | Path, str | Path]], batch_size: int = 8
    ) -> Iterator[tuple[Path, AudioError | None]]:
        """Enhance many audio files in batches, and write them; ``files`` are pairs of input and output (.wav, .flac).

        Yields
        ------
        path : Path
            In the order of ``files``.
        error : AudioError or None
            The reason why this file was not enhanced.
        """
        files = list(files)
        paths = [path for path, _ in files]
        results = map_recordings(
            paths, self.sample_rate, self.enhance_waveforms, self.enhance_file, self.CHUNK_SECONDS, batch_size
        )
        for (path, result), (_, output) in zip(results, files, strict=True):
            error = result if isinstance(result, AudioError) else None
            try:
                if not isinstance(result, AudioError):
                    # scaled down only if it would clip
                    audio.write(output, result / max(1.0, float(np.abs(result).max())), self.sample_rate)
            except AudioError as reason:
                error = reason
            yield path, error
