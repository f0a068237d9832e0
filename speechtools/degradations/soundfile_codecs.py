"""Codecs that soundfile encodes: MP3, Vorbis, GSM, G.711, G.721 and ADPCM."""

from collections.abc import Sequence

import numpy as np

from speechtools.core.registry import plugin
from speechtools.degradations.codec_base import HIGHEST_RATE, CodecBase, coded_rate, modes_within
from speechtools.degradations.coding import Coding, SoundfileCoding
from speechtools.degradations.ranges import Range, check_choices, check_range, draw

_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000)
_MP3_KBPS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
#: LAME scales samples by this at bit rates up to 160 kbit/s.
_LAME_GAIN = 0.95


@plugin("degradation/mp3")
class MP3(CodecBase):
    """MP3 (LAME): ``(clean, rng) -> coded``, both (samples,), at the level of ``clean``.

    Speech of more than 24 kHz is coded at 24 kHz.

    Parameters
    ----------
    kbps : float or (low, high)
        Bit rates in kbit/s: one of the encoder's (8, 16, 24, … 160; up to 64 below 16 kHz) in this range is drawn.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> MP3(kbps=16)(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape
    (4800,)
    """

    may_leave = ("band-limit",)  # at low bit rates

    def __init__(self, kbps: Range = (8, 48), sample_rate: int = 16000):
        super().__init__(sample_rate)
        self._rate = coded_rate(_MP3_RATES, sample_rate)
        self._highest = 64 if self._rate < 16000 else 160
        self._modes = modes_within("kbps", kbps, [mode for mode in _MP3_KBPS if mode <= self._highest])

    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Draw a bit rate."""
        mode = self._modes[rng.integers(len(self._modes))]
        # libsndfile refuses 1.0.
        level = min((self._highest - mode) / (self._highest - _MP3_KBPS[0]), 0.999)
        return SoundfileCoding(self._rate, "MP3", "MPEG_LAYER_III", round(level, 6), _LAME_GAIN)


@plugin("degradation/vorbis")
class Vorbis(CodecBase):
    """Ogg Vorbis: ``(clean, rng) -> coded``, both (samples,), at the level of ``clean``.

    Speech of more than 24 kHz is coded at 24 kHz.

    Parameters
    ----------
    quality : float or (low, high)
        Vorbis's quality, from 0 to 10; 0 is about 30 kbit/s at 16 kHz.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> Vorbis()(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape
    (4800,)
    """

    may_leave = ("band-limit",)  # at low bit rates

    def __init__(self, quality: Range = (0, 2), sample_rate: int = 16000):
        super().__init__(sample_rate)
        self.quality = check_range("quality", quality, 0, 10)

    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Draw a quality, in steps of 0.1."""
        level = 1 - round(draw(self.quality, rng), 1) / 10
        return SoundfileCoding(min(self.sample_rate, HIGHEST_RATE), "OGG", "VORBIS", round(level, 3))


@plugin("degradation/gsm")
class GSM(CodecBase):
    """GSM 06.10 full rate, 13 kbit/s at 8 kHz: ``(clean, rng) -> coded``, both (samples,), at the level of ``clean``.

    Parameters
    ----------
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> GSM()(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape
    (4800,)
    """

    causes: tuple[str, ...] = ("processing", "band-limit")

    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Return the only coding."""
        return SoundfileCoding(8000, "WAV", "GSM610")


@plugin("degradation/g711")
class G711(CodecBase):
    """G.711, 64 kbit/s at 8 kHz: ``(clean, rng) -> coded``, both (samples,), at the level of ``clean``.

    Parameters
    ----------
    law : str or sequence of str
        ``"a-law"`` or ``"mu-law"``, or both to draw from.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> G711()(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape
    (4800,)
    """

    causes: tuple[str, ...] = ("processing", "band-limit")

    def __init__(self, law: str | Sequence[str] = ("a-law", "mu-law"), sample_rate: int = 16000):
        super().__init__(sample_rate)
        self.law = check_choices("law", law, ("a-law", "mu-law"))

    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Draw a law."""
        law = self.law[rng.integers(len(self.law))]
        return SoundfileCoding(8000, "WAV", "ALAW" if law == "a-law" else "ULAW")


@plugin("degradation/g721")
class G721(CodecBase):
    """ADPCM of G.721 (32 kbit/s) and G.723 (24 kbit/s), 8 kHz: ``(clean, rng) -> coded``, at the level of ``clean``.

    Both are part of G.726 today.

    Parameters
    ----------
    kbps : int or sequence of int
        24 or 32, or both to draw from.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> G721()(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape
    (4800,)
    """

    causes: tuple[str, ...] = ("processing", "band-limit")

    def __init__(self, kbps: int | Sequence[int] = (24, 32), sample_rate: int = 16000):
        super().__init__(sample_rate)
        self.kbps = check_choices("kbps", kbps, (24, 32))

    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Draw a bit rate."""
        kbps = self.kbps[rng.integers(len(self.kbps))]
        return SoundfileCoding(8000, "AU", "G721_32" if kbps == 32 else "G723_24")


@plugin("degradation/adpcm")
class ADPCM(CodecBase):
    """ADPCM of 4 bits a sample: ``(clean, rng) -> coded``, both (samples,), at the level of ``clean``.

    Parameters
    ----------
    form : str or sequence of str
        ``"ima"`` or ``"ms"`` (Microsoft's), or both to draw from.
    rate : int or sequence of int
        Rate of the coded speech in Hz, 8000 or 16000, or both to draw from. A rate above ``sample_rate`` is not used.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> ADPCM()(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape
    (4800,)
    """

    causes: tuple[str, ...] = ("processing", "band-limit")

    def __init__(
        self, form: str | Sequence[str] = ("ima", "ms"), rate: int | Sequence[int] = 8000, sample_rate: int = 16000
    ):
        super().__init__(sample_rate)
        self.form = check_choices("form", form, ("ima", "ms"))
        rates = check_choices("rate", rate, (8000, 16000))
        self.rates = [int(rate) for rate in rates if rate <= sample_rate] or [8000]
        if min(self.rates) > 8000:
            self.causes = ("processing",)

    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Draw a form and a rate."""
        form, rate = self.form[rng.integers(len(self.form))], self.rates[rng.integers(len(self.rates))]
        return SoundfileCoding(rate, "WAV", "IMA_ADPCM" if form == "ima" else "MS_ADPCM")
