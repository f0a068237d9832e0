"""Codecs that FFmpeg encodes, through the package ``av`` or a program ``ffmpeg``: Opus, AMR, AAC and Speex."""

from typing import ClassVar

import numpy as np

from speechtools.core.registry import plugin
from speechtools.degradations.codec_base import CodecBase, coded_rate, modes_within
from speechtools.degradations.coding import Coders, Coding, SoundfileCoding, av_has, ffmpeg_coding
from speechtools.degradations.ranges import Range, check_range, draw


class _FFmpegCodec(CodecBase):
    """A codec with a range of bit rates in kbit/s, whose coding needs an encoder of FFmpeg.

    Raises
    ------
    ConfigError
        ``kbps`` is not a range within the limits.
    SpeechtoolsError
        The encoder is not installed.
    """

    #: The name in messages, and what must be installed; empty for what soundfile replaces.
    name: ClassVar[str]
    needs: ClassVar[str] = ""
    #: FFmpeg's names.
    coders: ClassVar[Coders]
    #: Sample rates in Hz, ascending, and the lowest and highest bit rate in kbit/s.
    rates: ClassVar[tuple[int, ...]]
    limits: ClassVar[tuple[float, float]]
    #: Options of the encoder.
    options: ClassVar[tuple[tuple[str, str], ...]] = ()
    #: The bit rate in bit/s at which the delay is measured, if not at that of the coding.
    delay_bit_rate: ClassVar[int | None] = None

    def __init__(self, kbps: Range, sample_rate: int):
        super().__init__(sample_rate)
        self.kbps = check_range("kbps", kbps, *self.limits)
        self.draw_coding(np.random.default_rng(0))  # raises if there is no encoder

    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Draw a bit rate."""
        rate, bit_rate = coded_rate(self.rates, self.sample_rate), round(1000 * self._draw_kbps(rng))
        return ffmpeg_coding(self.name, rate, self.coders, bit_rate, self.options, self.delay_bit_rate)

    def _draw_kbps(self, rng: np.random.Generator) -> float:
        return round(draw(self.kbps, rng))


class _ModeCodec(_FFmpegCodec):
    """A codec of FFmpeg that has a few bit rates in kbit/s, ascending, of which one within the range is drawn."""

    modes: ClassVar[tuple[float, ...]]

    def __init__(self, kbps: Range, sample_rate: int):
        self._modes = modes_within("kbps", kbps, self.modes)
        super().__init__(kbps, sample_rate)

    def _draw_kbps(self, rng: np.random.Generator) -> float:
        return self._modes[rng.integers(len(self._modes))]


@plugin("degradation/opus")
class Opus(_FFmpegCodec):
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

    name = "opus"
    coders = Coders("libopus", "libopus", "ogg")
    rates = (8000, 12000, 16000, 24000)
    limits = (6, 128)
    options = (("application", "voip"), ("compression_level", "5"))
    may_leave = ("band-limit",)  # at low bit rates

    def __init__(self, kbps: Range = (6, 24), sample_rate: int = 16000):
        super().__init__(kbps, sample_rate)

    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Draw a bit rate."""
        if av_has(self.coders.encoder):
            return super().draw_coding(rng)
        kbps = self._draw_kbps(rng)
        return SoundfileCoding(coded_rate(self.rates, self.sample_rate), "OGG", "OPUS", round((256 - kbps) / 250, 4))


@plugin("degradation/amr-nb")
class AMRNarrowband(_ModeCodec):
    """AMR, the codec of mobile telephones, 8 kHz: ``(clean, rng) -> coded``, at the level of ``clean``.

    It needs the package ``av``, or a program ffmpeg, with the encoder libopencore_amrnb.

    Parameters
    ----------
    kbps : float or (low, high)
        Bit rates in kbit/s: one of the modes in this range (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2) is drawn.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> AMRNarrowband()(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape  # doctest: +SKIP
    (4800,)
    """

    causes: tuple[str, ...] = ("processing", "band-limit")
    needs = "the package av, or a program ffmpeg with the encoder libopencore_amrnb"
    name = "amr-nb"
    coders = Coders("libopencore_amrnb", "amrnb", "amr")
    rates = (8000,)
    modes = (4.75, 5.15, 5.9, 6.7, 7.4, 7.95, 10.2, 12.2)
    limits = (modes[0], modes[-1])

    def __init__(self, kbps: Range = (4.75, 12.2), sample_rate: int = 16000):
        super().__init__(kbps, sample_rate)


@plugin("degradation/amr-wb")
class AMRWideband(_ModeCodec):
    """AMR-WB (G.722.2), the codec of "HD voice" calls, 16 kHz: ``(clean, rng) -> coded``, at the level of ``clean``.

    It needs a program ffmpeg, or a package ``av``, with the encoder libvo_amrwbenc. The program starts for every call.

    Parameters
    ----------
    kbps : float or (low, high)
        Bit rates in kbit/s: one of the modes in this range (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05,
        23.85) is drawn.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> AMRWideband()(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape  # doctest: +SKIP
    (4800,)
    """

    needs = "a program ffmpeg with the encoder libvo_amrwbenc"
    name = "amr-wb"
    coders = Coders("libvo_amrwbenc", "amrwb", "amr")
    rates = (16000,)
    modes = (6.6, 8.85, 12.65, 14.25, 15.85, 18.25, 19.85, 23.05, 23.85)
    limits = (modes[0], modes[-1])

    def __init__(self, kbps: Range = (6.6, 23.85), sample_rate: int = 16000):
        super().__init__(kbps, sample_rate)


@plugin("degradation/aac")
class AAC(_FFmpegCodec):
    """AAC-LC: ``(clean, rng) -> coded``, both (samples,), at the level of ``clean``.

    It needs the package ``av``, or a program ffmpeg. Speech of more than 24 kHz is coded at 24 kHz.

    Parameters
    ----------
    kbps : float or (low, high)
        Bit rate in kbit/s, drawn in steps of 1.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> AAC()(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape  # doctest: +SKIP
    (4800,)
    """

    needs = "the package av, or a program ffmpeg"
    name = "aac"
    coders = Coders("aac", "aac", "adts")
    rates = (8000, 11025, 12000, 16000, 22050, 24000)
    limits = (8, 160)
    options = (("aac_coder", "fast"),)
    may_leave = ("band-limit",)  # at low bit rates

    def __init__(self, kbps: Range = (12, 48), sample_rate: int = 16000):
        super().__init__(kbps, sample_rate)


@plugin("degradation/speex")
class Speex(_FFmpegCodec):
    """Speex: ``(clean, rng) -> coded``, both (samples,), at the level of ``clean``.

    It needs a program ffmpeg, or a package ``av``, with the encoder libspeex. The program starts for every call.

    Parameters
    ----------
    kbps : float or (low, high)
        Bit rate in kbit/s, drawn in steps of 1; the encoder takes the nearest that it has. Below 8 kbit/s, it follows
        the level less closely: some speech loses 2 to 4 dB.
    sample_rate : int
        In Hz. Speech of 16 kHz or more is coded at 16 kHz.

    Examples
    --------
    >>> Speex()(np.zeros(4800, dtype=np.float32), np.random.default_rng(0)).shape  # doctest: +SKIP
    (4800,)
    """

    needs = "a program ffmpeg with the encoder libspeex"
    name = "speex"
    coders = Coders("libspeex", "speex", "ogg")
    rates = (8000, 16000)
    limits = (2, 44)
    delay_bit_rate = 24000  # at 4000, the correlation of 16 kHz speech has its peak elsewhere, 12 ms too early

    def __init__(self, kbps: Range = (8, 24), sample_rate: int = 16000):
        super().__init__(kbps, sample_rate)
