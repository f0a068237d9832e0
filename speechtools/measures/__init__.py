"""Measures of degraded speech against its clean reference: PESQ, STOI, SI-SDR, and labels of whole corpora.

A measure is a plugin of the kind ``measure``: ``build("measure/stoi")(reference, degraded, sample_rate)`` returns a
number. ``speechtools.measures.contract`` describes what a measure takes, returns and declares.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.registry import available, build
from speechtools.core.spelling import did_you_mean

#: Former names of the measures of PESQ, which recipes and exported models use as their scale.
SCALE_PLUGINS = {"raw_nb": "pesq-raw", "nb": "pesq-nb", "wb": "pesq-wb"}


class Measure(Protocol):
    """What a plugin of the kind ``measure`` builds.

    Attributes
    ----------
    name : str
        Name of the plugin, without its kind.
    description : str, optional
        A few words for plots and messages; the name if it is missing.
    minimum, maximum : float
        Nominal range.
    higher_is_better : bool
        Direction: whether a signal scores the maximum against itself, or the minimum.
    """

    name: str
    minimum: float
    maximum: float
    higher_is_better: bool

    @property
    def sample_rates(self) -> tuple[int, ...] | None:
        """Sample rates that it takes in Hz; None for any."""

    def __call__(self, reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
        """Return the score of a degraded signal (samples,) against its reference (samples,)."""


@dataclass(frozen=True)
class Scale:
    """What a model needs to know of the measure of its scores, also where the measure itself is not installed.

    Attributes
    ----------
    description : str
        A few words for plots and messages.
    minimum, maximum, higher_is_better
        See :class:`Measure`.

    Examples
    --------
    >>> Scale.of("raw_nb")
    Scale(description='raw narrow-band PESQ', minimum=-0.5, maximum=4.5, higher_is_better=True)
    """

    description: str
    minimum: float
    maximum: float
    higher_is_better: bool

    @property
    def best(self) -> float:
        """The best score of the scale."""
        return self.maximum if self.higher_is_better else self.minimum

    @classmethod
    def of(cls, name: str, stored: dict[str, Any] | None = None) -> "Scale | None":
        """The scale of a measure, or of what a model has ``stored`` of it; None if neither is known."""
        if is_measure(name):
            measure = find_measure(name)
            return cls(describe_measure(name), measure.minimum, measure.maximum, measure.higher_is_better)
        try:
            return cls(**stored) if stored else None
        except TypeError:  # of another version
            return None


def find_measure(name: str | Measure) -> Measure:
    """Build the measure of that name: ``stoi``, ``measure/stoi``, or a scale of PESQ, ``raw_nb``, ``nb`` or ``wb``.

    A measure that is already built is returned as it is.

    Raises
    ------
    ConfigError
        There is none.

    Examples
    --------
    >>> find_measure("raw_nb").maximum
    4.5
    """
    if callable(name):
        return name
    plugin = f"measure/{SCALE_PLUGINS.get(str(name), str(name).removeprefix('measure/'))}"
    names = available("measure")
    if plugin in names:
        return build(plugin)
    known = [*SCALE_PLUGINS, *(plugin.removeprefix("measure/") for plugin in names)]
    raise ConfigError(
        f"Unknown measure {name!r}.{did_you_mean(name, known)} Choose one of {', '.join(known)}; raw_nb is the raw "
        "P.862 score of the Quality-Net paper."
    )


def is_measure(name: str) -> bool:
    """Whether a measure has that name.

    >>> is_measure("mos"), is_measure("of another program")
    (True, False)
    """
    return f"measure/{SCALE_PLUGINS.get(name, name.removeprefix('measure/'))}" in available("measure")


def describe_measure(name: str) -> str:
    """Describe a measure in a few words, for plots and messages; an unknown name stays as it is.

    Examples
    --------
    >>> describe_measure("raw_nb"), describe_measure("of another program")
    ('raw narrow-band PESQ', 'of another program')
    """
    try:
        measure = find_measure(name)
    except ConfigError:
        return name
    return getattr(measure, "description", measure.name)


def check_pair(measure: Measure, reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> None:
    """Refuse signals that no measure can compare.

    Raises
    ------
    AudioError
        The measure does not take the sample rate, or the signals are not one-dimensional, not of one length, not finite
        or silent.
    """
    rates = measure.sample_rates
    if rates is not None and sample_rate not in rates:
        raise AudioError(
            f"measure/{measure.name} takes audio of {' or '.join(map(str, rates))} Hz; got {sample_rate} Hz. "
            "Resample both signals."
        )
    signals = {"reference": reference, "degraded signal": degraded}
    for role, signal in signals.items():
        if signal.ndim != 1:
            raise AudioError(f"The {role} has the shape {signal.shape}; expected one channel, (samples,).")
    if len(reference) != len(degraded):
        raise AudioError(
            f"The reference has {len(reference)} samples and the degraded signal {len(degraded)}: the length mismatch "
            "would be scored wrong. Cut or pad them to one length, aligned in time."
        )
    for role, signal in signals.items():
        if signal.dtype.kind not in "fiu" or not np.isfinite(signal).all():
            raise AudioError(f"The {role} contains NaN, infinite or complex samples. Fix its source, or leave it out.")
        if not signal.any():
            raise AudioError(f"The {role} is silent: all of its samples are zero. Leave the file out.")
