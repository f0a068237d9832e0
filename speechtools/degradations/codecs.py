"""Codecs: speech that was encoded and decoded, at the low bit rates of telephones, calls and podcasts.

The result is aligned with the clean speech and keeps its level. MP3, Vorbis, Opus, GSM, G.711, G.721 and ADPCM need
soundfile alone; AMR, AAC and Speex need the package ``av`` or a program ``ffmpeg`` that has the encoder.
"""

from collections.abc import Sequence

import numpy as np

from speechtools.core.errors import SpeechtoolsError
from speechtools.core.registry import plugin
from speechtools.degradations.codec_base import CodecBase
from speechtools.degradations.ffmpeg_codecs import AAC, AMRNarrowband, AMRWideband, Opus, Speex
from speechtools.degradations.ranges import check_choices
from speechtools.degradations.soundfile_codecs import ADPCM, G711, G721, GSM, MP3, Vorbis

_CODECS: dict[str, type] = {
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
        self._codecs: list[CodecBase] = [_CODECS[name](sample_rate=sample_rate) for name in names]
        is_narrow = any("band-limit" in codec.causes for codec in self._codecs)
        self.causes: tuple[str, ...] = ("processing", "band-limit") if is_narrow else ("processing",)

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Send samples (samples,) through one of the codecs."""
        codec = self._codecs[rng.integers(len(self._codecs))]
        self.causes, self.may_leave = codec.causes, codec.may_leave
        return codec(clean, rng)
