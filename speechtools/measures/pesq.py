"""PESQ on three scales: raw narrow-band P.862, and the mapped scores of P.862.1 and P.862.2.

The Quality-Net paper's labels (section 3.1) are raw scores. The package ``pesq`` returns only the mapped ones, so the
raw score is recovered from the narrow-band one by inverting its mapping. PESQ's C code writes beyond its memory on some
inputs, so signals are checked first.
"""

from importlib.metadata import version

import numpy as np

from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.installation import optional_package
from speechtools.core.moved import former_names
from speechtools.core.registry import plugin
from speechtools.measures import SCALE_PLUGINS, check_pair, find_measure

#: PESQ takes nothing shorter (s).
MIN_SECONDS = 0.25
#: PESQ's C code has room for 50 utterances. From 52 on it returns wrong scores, and from about 56 on it crashes.
#: Speech has one utterance every 2 s (measured on read English), so 60 s contain about 30.
MAX_SECONDS = 60.0
#: The most utterances that PESQ gets. They are counted without all of its filters, at most 7 too few (measured on read
#: speech and lists of single words).
MAX_UTTERANCES = 40
_ROOM_FOR_UTTERANCES = 50
_SHORTEST_UTTERANCE_S = 0.4  # with the pause after it

__getattr__ = former_names(__name__)


def nb_from_raw(raw):
    """MOS-LQO of a raw narrow-band score: y = 0.999 + 4 / (1 + exp(-1.4945 x + 4.6607)).

    ITU-T Recommendation P.862.1 (2003), equation 1. Takes a number or an array of any shape, and returns the same.

    Examples
    --------
    >>> round(float(nb_from_raw(4.5)), 3)
    4.549
    """
    return 0.999 + 4 / (1 + np.exp(4.6607 - 1.4945 * np.asarray(raw, dtype=np.float64)))


def raw_from_nb(nb):
    """Raw narrow-band score of a MOS-LQO: x = (4.6607 - ln((4.999 - y) / (y - 0.999))) / 1.4945.

    ITU-T Recommendation P.862.1 (2003), equation 2: the inverse of :func:`nb_from_raw`. Takes a number or an array of
    any shape, and returns the same.

    Raises
    ------
    ConfigError
        A value does not lie between 0.999 and 4.999, so no raw score maps to it.

    Examples
    --------
    >>> round(float(raw_from_nb(1.6072)), 4)
    1.9686
    """
    nb = np.asarray(nb, dtype=np.float64)
    inside = (nb > 0.999) & (nb < 4.999)
    if not inside.all():
        raise ConfigError(
            f"{float(nb[~inside].flat[0])} is not a narrow-band MOS-LQO, which lies between 0.999 and 4.999 (P.862.1). "
            "Pass scores of the scale nb, not raw or wide-band ones."
        )
    return (4.6607 - np.log((4.999 - nb) / (nb - 0.999))) / 1.4945


class _PESQ:
    """PESQ of a degraded signal (samples,) against its reference of the same length.

    Levels and DC offsets do not matter, time alignment only a little. Inputs that PESQ would score wrongly or crash on
    raise AudioError: a length mismatch, NaN, silence, less than 0.25 s or more than 60 s, more than 40 separate
    utterances, no speech in the reference. ``maximum`` is the score of a file against itself; ``minimum`` is nominal: a
    few very bad files score up to 0.03 (raw: 0.1) below it.
    """

    name: str
    description: str
    minimum: float
    maximum: float
    higher_is_better = True
    sample_rates: tuple[int, ...] = (8000, 16000)
    max_seconds = MAX_SECONDS
    _mode = "nb"

    @property
    def version(self) -> str:
        """What the scores depend on besides the signals."""
        optional_package("pesq", "PESQ")
        return f"pesq {version('pesq')} {MAX_SECONDS} {MAX_UTTERANCES}"

    def __call__(self, reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
        pesq = optional_package("pesq", "PESQ")
        reference, degraded = np.asarray(reference), np.asarray(degraded)
        check_pair(self, reference, degraded, sample_rate)
        _check_length(reference, sample_rate)
        try:
            with np.errstate(all="ignore"):
                score = float(pesq.pesq(sample_rate, reference, degraded, self._mode))
        except pesq.NoUtterancesError:
            raise AudioError(
                "PESQ finds no speech in the reference: it needs at least 0.2 s of sound above the background. "
                "Use a reference with speech, or leave the file out."
            ) from None
        except pesq.OutOfMemoryError as error:
            raise AudioError(f"PESQ ran out of memory ({_text(error)}). Use fewer workers, or shorter files.") from None
        except (pesq.PesqError, ValueError, ZeroDivisionError) as error:
            raise AudioError(
                f"PESQ could not score the file ({_text(error)}): the degraded signal contains nothing to compare with "
                "speech. Listen to it, and leave it out."
            ) from None
        if not np.isfinite(score):
            raise AudioError(f"PESQ returned {score}. Listen to the file, and leave it out.")
        return score


@plugin("measure/pesq-raw")
class RawPESQ(_PESQ):
    """Raw narrow-band score, ITU-T P.862 (2001): scale ``raw_nb``, labels of the Quality-Net paper.

    Examples
    --------
    >>> RawPESQ().maximum  # the score of a signal against itself
    4.5
    """

    name, description = "pesq-raw", "raw narrow-band PESQ"
    minimum, maximum = -0.5, 4.5

    def __call__(self, reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
        """Return the raw score of a degraded signal (samples,) against its reference (samples,).

        The worst signals are a little below the scale's end of -0.5, and get -0.5.
        """
        return max(self.minimum, float(raw_from_nb(super().__call__(reference, degraded, sample_rate))))


@plugin("measure/pesq-nb")
class NarrowbandPESQ(_PESQ):
    """Narrow-band MOS-LQO, ITU-T P.862.1 (2003): scale ``nb``.

    Examples
    --------
    >>> NarrowbandPESQ().maximum  # the score of a signal against itself
    4.549
    """

    name, description = "pesq-nb", "narrow-band PESQ (MOS-LQO)"
    minimum, maximum = 1.017, 4.549


@plugin("measure/pesq-wb")
class WidebandPESQ(_PESQ):
    """Wide-band MOS-LQO, ITU-T P.862.2 (2007), of audio at 16 kHz: scale ``wb``.

    Examples
    --------
    >>> WidebandPESQ().maximum  # the score of a signal against itself
    4.644
    """

    name, description = "pesq-wb", "wide-band PESQ (MOS-LQO)"
    minimum, maximum = 1.043, 4.644
    sample_rates = (16000,)
    _mode = "wb"


#: The measures by the names of their scales.
SCALES: dict[str, _PESQ] = dict(zip(SCALE_PLUGINS, (RawPESQ(), NarrowbandPESQ(), WidebandPESQ()), strict=True))


def pesq_score(reference: np.ndarray, degraded: np.ndarray, sample_rate: int, scale: str = "raw_nb") -> float:
    """PESQ on a scale, ``raw_nb`` (P.862), ``nb`` (P.862.1) or ``wb`` (P.862.2): the measure as a function.

    Raises
    ------
    AudioError
        PESQ cannot score the signals, as ``measure/pesq-raw`` describes.
    ConfigError
        Unknown scale.
    SpeechtoolsError
        The package ``pesq`` is not installed.
    """
    return find_measure(scale)(reference, degraded, sample_rate)


def _text(error: Exception) -> str:
    message = error.args[0] if error.args else type(error).__name__
    return message.decode() if isinstance(message, bytes) else str(message)


def _check_length(reference: np.ndarray, sample_rate: int) -> None:
    seconds = len(reference) / sample_rate
    if seconds < MIN_SECONDS:
        raise AudioError(f"The audio lasts {seconds:.4f} s and PESQ needs at least {MIN_SECONDS} s. Leave it out.")
    if seconds > MAX_SECONDS:
        raise AudioError(
            f"The audio lasts {seconds:.0f} s, and PESQ takes at most {MAX_SECONDS:.0f} s: beyond 50 utterances its "
            "scores are wrong and then it crashes. Cut the files."
        )
    if seconds > _ROOM_FOR_UTTERANCES * _SHORTEST_UTTERANCE_S:
        count = _count_utterances(reference, sample_rate)
        if count > MAX_UTTERANCES:
            raise AudioError(
                f"The reference has about {count} utterances separated by pauses, and PESQ has room for "
                f"{_ROOM_FOR_UTTERANCES}, beyond which its scores are wrong. Cut the files to at most "
                f"{MAX_UTTERANCES} utterances."
            )


def _count_utterances(reference: np.ndarray, sample_rate: int) -> int:
    """Estimate the number of utterances that PESQ's own voice activity detection will find.

    ``apply_VAD`` and ``id_searchwindows`` of the reference software of P.862, with the IRS filter as a few points.
    """
    spectrum = np.fft.rfft(reference / np.abs(reference).max())  # (bins,)
    frequencies = np.fft.rfftfreq(len(reference), 1 / sample_rate)
    gain_db = np.interp(frequencies, [0, 50, 100, 200, 300, 600, 3250, 4000], [-200, -40, -20, 0, 6, 12, 12, -200])
    speech = np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(reference))  # (samples,)
    size = sample_rate // 250  # frames of 4 ms
    frames = speech[: len(speech) // size * size].reshape(-1, size)  # (frames, size)
    power = np.square(frames).mean(axis=1)  # (frames,)
    threshold = power.mean()
    power = np.maximum(power, 1e-4 * power.max())
    for _ in range(12):
        noise = power[power <= threshold]
        threshold = 1.001 * (noise.mean() + 2 * noise.std()) if noise.size else 0.0
    active = power > threshold
    active[[0, -1]] = False
    edges = np.flatnonzero(np.diff(active)) + 1  # (2 * stretches,)
    starts, ends = edges[::2], edges[1::2]
    long_enough = ends - starts > 4
    starts, ends = starts[long_enough], ends[long_enough]
    if not starts.size:
        return 1
    apart = starts[1:] - ends[:-1] > 50  # pauses of at most 0.2 s join what they separate
    starts, ends = starts[np.r_[True, apart]], ends[np.r_[apart, True]]
    return int((ends - starts >= 46).sum())  # PESQ widens each by up to 4 frames, then wants 50
