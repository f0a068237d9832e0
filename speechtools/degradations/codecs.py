"""Codecs: speech that was encoded and decoded, at the low bit rates of telephones, calls and podcasts.

The result is aligned with the clean speech and keeps its level. MP3, Vorbis, Opus, GSM, G.711, G.721 and ADPCM need
soundfile alone; AMR, AAC and Speex need the package ``av`` or a program ``ffmpeg`` that has the encoder.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.registry import plugin
from speechtools.degradations.coding import AvCoding, Coding, SoundfileCoding, av_has, code, ffmpeg_coding
from speechtools.degradations.ranges import Range, check_choices, check_range, draw

#: Speech is coded at no higher rate: beyond it, encoders of low bit rates discard everything.
_HIGHEST_RATE = 24000
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000)
_OPUS_RATES = (8000, 12000, 16000, 24000)
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000)
_MP3_KBPS = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_AMR_NB_KBPS = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)
_AMR_WB_KBPS = (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85)
#: LAME scales samples by this at bit rates up to 160 kbit/s.
_LAME_GAIN = 0.95


class _Codec(ABC):
    """A degradation that sends speech through a coding, which it draws for every call."""

    causes: tuple[str, ...] = ("processing",)
    may_leave: tuple[str, ...] = ()

    def __init__(self, sample_rate: int):
        if not isinstance(sample_rate, int) or sample_rate < 8000:
            raise ConfigError(f"sample_rate={sample_rate!r} must be at least 8000 Hz for a codec.")
        self.sample_rate = sample_rate

    @abstractmethod
    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Draw an encoder and its settings."""

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Encode and decode samples (samples,); silence is returned as it is."""
        return code(clean, self.sample_rate, self.draw_coding(rng))


def _rate(rates: Sequence[int], sample_rate: int) -> int:
    return max(rate for rate in rates if rate <= sample_rate)


def _modes(name: str, value: Range, modes: Sequence[float]) -> tuple[float, ...]:
    """The bit rates of a codec within a range; the nearest one if there is none."""
    low, high = check_range(name, value, modes[0], modes[-1])
    middle = (low + high) / 2
    return tuple(mode for mode in modes if low <= mode <= high) or (min(modes, key=lambda mode: abs(mode - middle)),)


@plugin("degradation/mp3")
class MP3(_Codec):
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
        self._rate = _rate(_MP3_RATES, sample_rate)
        self._highest = 64 if self._rate < 16000 else 160
        self._modes = _modes("kbps", kbps, [mode for mode in _MP3_KBPS if mode <= self._highest])

    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Draw a bit rate."""
        mode = self._modes[rng.integers(len(self._modes))]
        # libsndfile refuses 1.0.
        level = min((self._highest - mode) / (self._highest - _MP3_KBPS[0]), 0.999)
        return SoundfileCoding(self._rate, "MP3", "MPEG_LAYER_III", round(level, 6), _LAME_GAIN)


@plugin("degradation/vorbis")
class Vorbis(_Codec):
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
        return SoundfileCoding(min(self.sample_rate, _HIGHEST_RATE), "OGG", "VORBIS", round(level, 3))


@plugin("degradation/opus")
class Opus(_Codec):
    """Opus: ``(clean, rng) -> coded``, both (samples,), at the level of ``clean``.

    With the package ``av``, the encoder is set to speech and a complexity of 5, as calls use it; without it, soundfile
    encodes music at a complexity of 10. Both choose the bandwidth by the bit rate.

    Parameters
    ----------
    kbps : float or (low, high)
        Bit rate in kbit/s, drawn in steps of 1.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> Opus()(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape
    (4800,)
    """

    may_leave = ("band-limit",)  # at low bit rates

    def __init__(self, kbps: Range = (6, 24), sample_rate: int = 16000):
        super().__init__(sample_rate)
        self.kbps = check_range("kbps", kbps, 6, 128)

    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Draw a bit rate."""
        rate, kbps = _rate(_OPUS_RATES, self.sample_rate), round(draw(self.kbps, rng))
        if av_has("libopus"):
            options = (("application", "voip"), ("compression_level", "5"))
            return AvCoding(rate, "libopus", "libopus", 1000 * kbps, options)
        return SoundfileCoding(rate, "OGG", "OPUS", round((256 - kbps) / 250, 4))


@plugin("degradation/gsm")
class GSM(_Codec):
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

    def __init__(self, sample_rate: int = 16000):
        super().__init__(sample_rate)

    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Return the only coding."""
        return SoundfileCoding(8000, "WAV", "GSM610")


@plugin("degradation/g711")
class G711(_Codec):
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
class G721(_Codec):
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
class ADPCM(_Codec):
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


class _Modes(_Codec):
    """A codec with a few bit rates, each a coding."""

    _codings: list[Coding]

    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Draw a mode."""
        return self._codings[rng.integers(len(self._codings))]


@plugin("degradation/amr-nb")
class AMRNarrowband(_Modes):
    """AMR, the codec of mobile telephones, 8 kHz: ``(clean, rng) -> coded``, at the level of ``clean``.

    It needs the package ``av``, or a program ffmpeg, with the encoder libopencore_amrnb.

    Parameters
    ----------
    kbps : float or (low, high)
        Bit rates in kbit/s: one of the modes in this range (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2) is drawn.
    sample_rate : int
        In Hz.

    Raises
    ------
    SpeechtoolsError
        The encoder is not installed.

    Examples
    --------
    >>> AMRNarrowband()(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape  # doctest: +SKIP
    (4800,)
    """

    causes: tuple[str, ...] = ("processing", "band-limit")
    #: What must be installed.
    needs = "the package av, or a program ffmpeg with the encoder libopencore_amrnb"

    def __init__(self, kbps: Range = (4.75, 12.2), sample_rate: int = 16000):
        super().__init__(sample_rate)
        coders = ("libopencore_amrnb", "amrnb", "amr")
        self._codings = [
            ffmpeg_coding("amr-nb", 8000, coders, round(1000 * mode)) for mode in _modes("kbps", kbps, _AMR_NB_KBPS)
        ]


@plugin("degradation/amr-wb")
class AMRWideband(_Modes):
    """AMR-WB (G.722.2), the codec of "HD voice" calls, 16 kHz: ``(clean, rng) -> coded``, at the level of ``clean``.

    It needs a program ffmpeg, or a package ``av``, with the encoder libvo_amrwbenc. The program starts for every call.

    Parameters
    ----------
    kbps : float or (low, high)
        Bit rates in kbit/s: one of the modes in this range (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05,
        23.85) is drawn.
    sample_rate : int
        In Hz.

    Raises
    ------
    SpeechtoolsError
        The encoder is not installed.

    Examples
    --------
    >>> AMRWideband()(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape  # doctest: +SKIP
    (4800,)
    """

    #: What must be installed.
    needs = "a program ffmpeg with the encoder libvo_amrwbenc"

    def __init__(self, kbps: Range = (6.6, 23.85), sample_rate: int = 16000):
        super().__init__(sample_rate)
        coders = ("libvo_amrwbenc", "amrwb", "amr")
        self._codings = [
            ffmpeg_coding("amr-wb", 16000, coders, round(1000 * mode)) for mode in _modes("kbps", kbps, _AMR_WB_KBPS)
        ]


@plugin("degradation/aac")
class AAC(_Codec):
    """AAC-LC: ``(clean, rng) -> coded``, both (samples,), at the level of ``clean``.

    It needs the package ``av``, or a program ffmpeg. Speech of more than 24 kHz is coded at 24 kHz.

    Parameters
    ----------
    kbps : float or (low, high)
        Bit rate in kbit/s, drawn in steps of 1.
    sample_rate : int
        In Hz.

    Raises
    ------
    SpeechtoolsError
        The encoder is not installed.

    Examples
    --------
    >>> AAC()(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape  # doctest: +SKIP
    (4800,)
    """

    #: What must be installed.
    needs = "the package av, or a program ffmpeg"

    may_leave = ("band-limit",)  # at low bit rates

    def __init__(self, kbps: Range = (12, 48), sample_rate: int = 16000):
        super().__init__(sample_rate)
        self.kbps = check_range("kbps", kbps, 8, 160)
        self.draw_coding(np.random.default_rng(0))  # raises if there is no encoder

    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Draw a bit rate."""
        bit_rate = 1000 * round(draw(self.kbps, rng))
        rate = _rate(_AAC_RATES, self.sample_rate)
        return ffmpeg_coding("aac", rate, ("aac", "aac", "adts"), bit_rate, (("aac_coder", "fast"),))


@plugin("degradation/speex")
class Speex(_Codec):
    """Speex: ``(clean, rng) -> coded``, both (samples,), at the level of ``clean``.

    It needs a program ffmpeg, or a package ``av``, with the encoder libspeex. The program starts for every call.

    Parameters
    ----------
    kbps : float or (low, high)
        Bit rate in kbit/s, drawn in steps of 1; the encoder takes the nearest that it has.
    sample_rate : int
        In Hz. Speech of 16 kHz or more is coded at 16 kHz.

    Raises
    ------
    SpeechtoolsError
        The encoder is not installed.

    Examples
    --------
    >>> Speex()(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape  # doctest: +SKIP
    (4800,)
    """

    #: What must be installed.
    needs = "a program ffmpeg with the encoder libspeex"

    def __init__(self, kbps: Range = (4, 24), sample_rate: int = 16000):
        super().__init__(sample_rate)
        self.kbps = check_range("kbps", kbps, 2, 44)
        self.draw_coding(np.random.default_rng(0))  # raises if there is no encoder

    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Draw a bit rate."""
        bit_rate = 1000 * round(draw(self.kbps, rng))
        return ffmpeg_coding("speex", _rate((8000, 16000), self.sample_rate), ("libspeex", "speex", "ogg"), bit_rate)


_CODECS = {
    "mp3": MP3,
    "vorbis": Vorbis,
    "opus": Opus,
    "gsm": GSM,
    "g711": G711,
    "g721": G721,
    "adpcm": ADPCM,
    "amr-nb": AMRNarrowband,
    "amr-wb": AMRWideband,
    "aac": AAC,
    "speex": Speex,
}


def available_codecs() -> list[str]:
    """Return the names of the codecs whose encoders are installed."""
    names = []
    for name, codec in _CODECS.items():
        try:
            codec()
        except SpeechtoolsError:
            continue
        names.append(name)
    return names


@plugin("degradation/codec")
class Codec:
    """A codec, drawn for every call: ``(clean, rng) -> coded``, both (samples,), at the level of ``clean``.

    Each codec draws its settings from its own default ranges.

    Parameters
    ----------
    codecs : str or sequence of str
        Names of codecs to draw from, such as ``["mp3", "gsm"]``; empty: all whose encoders are installed
        (:func:`available_codecs`).
    sample_rate : int
        In Hz.

    Attributes
    ----------
    causes : tuple of str
        After a call, those of the codec that was drawn; before, those of any.

    Raises
    ------
    ConfigError, SpeechtoolsError
        A codec is not known, or its encoder is not installed.

    Examples
    --------
    >>> Codec()(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape
    (4800,)
    """

    def __init__(self, codecs: str | Sequence[str] = (), sample_rate: int = 16000):
        names = check_choices("codecs", codecs or available_codecs(), tuple(_CODECS))
        self._codecs = [_CODECS[name](sample_rate=sample_rate) for name in names]
        is_narrow = any("band-limit" in codec.causes for codec in self._codecs)
        self.causes: tuple[str, ...] = ("processing", "band-limit") if is_narrow else ("processing",)

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Send samples (samples,) through one of the codecs."""
        codec = self._codecs[rng.integers(len(self._codecs))]
        self.causes, self.may_leave = codec.causes, codec.may_leave
        return codec(clean, rng)
