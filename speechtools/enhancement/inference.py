"""Enhance speech with a trained model."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechtools.audio.fourier import magnitude, scaled
from speechtools.audio.frames import clear_padding
from speechtools.audio.spectrum import Spectrum
from speechtools.audio.waveforms import check_lens, check_waveforms, remove_offset
from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError
from speechtools.core.model_folder import Model
from speechtools.core.pretrained import BUNDLED_MODELS, PretrainedModel
from speechtools.enhancement.onnx import OnnxSpeechEnhancer
from speechtools.enhancement.recordings import RecordingEnhancer

#: The bundled model; its README describes its training.
BUNDLED_ENHANCER = BUNDLED_MODELS / "enhancer"
#: Longest window in samples.
MAX_FFT = 2**17


class SpeechEnhancer(RecordingEnhancer, PretrainedModel):
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
    HUB_TASK = "audio-to-audio"
    BUNDLED = BUNDLED_ENHANCER
    #: Largest share of the level that 8-bit weights may change.
    INT8_LIMIT = 0.1

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

    @classmethod
    def from_onnx(cls, path: str | Path, threads: int | None = None) -> OnnxSpeechEnhancer:
        """Do as :meth:`PretrainedModel.from_onnx`: load a model in ONNX form, to enhance without torch."""
        return OnnxSpeechEnhancer(path, threads)

    def onnx_graph(self) -> Any:
        """Return what :meth:`to_onnx` writes."""
        from speechtools.enhancement.onnx_graph import enhancer_graph

        return enhancer_graph(self)

    def onnx_change(self, expected: list[np.ndarray], results: list[np.ndarray]) -> tuple[float, str]:
        """How far enhanced samples (:meth:`onnx_results`) have moved, relative to their level; the same in words."""
        pairs = zip(expected, results, strict=True)
        shares = [np.square(a - b).sum() / max(np.square(a).sum(), 1e-12) for a, b in pairs]
        change = float(np.sqrt(max(shares)))
        return change, f"the difference is {100 * change:.1f} % of the level of the enhanced speech"

    def response(self, wavs: torch.Tensor) -> torch.Tensor:
        """The enhanced waveforms (1, samples)."""
        return self.enhance_batch(wavs)

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
        lens = check_lens(wav_lens, wavs)
        return self._enhance(remove_offset(wavs, lens), lens)

    def _enhance(self, wavs: Tensor, lens: Tensor) -> Tensor:
        """Enhance waveforms without offset."""
        samples = wavs.shape[1]
        noisy = self.spectrum(wavs, lens)
        # (batch, time, bins)
        magnitudes = magnitude(noisy).to(self.dtype)
        masks = self.mods.enhancer(magnitudes, self.spectrum.frame_lens(lens, samples))
        return clear_padding(self.spectrum.inverse(scaled(noisy, masks), samples), lens)

    @torch.inference_mode()
    def enhance_arrays(self, wavs: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Do as :meth:`RecordingEnhancer.enhance_arrays` requires."""
        # float64, since a relative length in float32 can miss a sample of a long recording
        lens = torch.from_numpy(counts / wavs.shape[1]).to(self.device)
        return self._enhance(self._to_signal(torch.from_numpy(wavs)), lens).cpu().numpy()
