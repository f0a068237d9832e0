"""Chains of degradations: ``degradation/chain``.

A chain is written as ``reverb(rt60=0.5)+opus(kbps=12)+loss(rate=0.05)``: names of plugins of the kind ``degradation``
with their options, in the order in which they are applied. A range is written ``rt60=[0.2, 0.9]``. Every step also
takes ``share``: the share of the recording, or a range of it, that the step degrades; the rest stays as it is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from speechtools.core.errors import AudioError, ConfigError, PluginError, SpeechtoolsError
from speechtools.core.registry import build, plugin
from speechtools.degradations.causes import CAUSES, Presence
from speechtools.degradations.ranges import Range, check_range, draw

#: A stretch that is degraded fades in and out in this time.
FADE_SECONDS = 0.01
#: A stretch is drawn anew, so many times at most, while it has hardly any speech.
_MAX_DRAWS = 20
_MIN_SHARE_OF_POWER = 0.1


@dataclass(frozen=True)
class Step:
    """One step of a chain.

    Attributes
    ----------
    name : str
        Of a plugin of the kind ``degradation``, without the kind.
    options : dict
        Its arguments.
    share : float, pair of floats or None
        Share of the recording that it degrades; None for all of it.
    """

    name: str
    options: dict[str, Any]
    share: Range | None = None


@plugin("degradation/chain")
class Chain:
    """Several degradations, one after the other: ``(clean, rng) -> degraded``, both (samples,), at the same level.

    Parameters
    ----------
    steps : str
        As in ``"reverb(rt60=0.5)+opus(kbps=12)+loss(rate=0.05)"``; see :func:`parse_chain`.
    sample_rate : int
        In Hz, for the steps that need it.
    noises : sequence of path
        Recordings for steps that take such a parameter, as ``noise`` does, and do not name a folder of their own.

    Raises
    ------
    ConfigError, PluginError
        The steps cannot be read, or a plugin or one of its options does not exist; the message names the step.
    SpeechtoolsError
        Nothing of this kind is wrong, but what a step needs is not installed.

    Examples
    --------
    >>> clean = np.sin(np.arange(16000, dtype=np.float32) / 5)
    >>> Chain("noise(snr_db=10)+clipping(level=0.3)")(clean, np.random.default_rng(0)).shape
    (16000,)
    """

    def __init__(
        self,
        steps: str = "noise(snr_db=[5, 15])+clipping(level=[0.2, 0.5])",
        sample_rate: int = 16000,
        noises: Sequence[str | Path] = (),
    ):
        self.steps, self.sample_rate = parse_chain(steps), sample_rate
        self._plugins = []
        missing: SpeechtoolsError | None = None
        for step in self.steps:
            offered = {"sample_rate": sample_rate}
            if noises and "noise_folder" not in step.options:
                offered["noises"] = list(noises)  # type: ignore[assignment]
            try:
                self._plugins.append(build(f"degradation/{step.name}", offered, options=step.options))
            except (ConfigError, PluginError) as error:
                raise type(error)(f"{steps!r}, step {step.name}: {error}") from error
            except SpeechtoolsError as error:  # a later step may be misspelt
                missing = missing or error
        if missing:
            raise missing

    @property
    def in_one_process(self) -> bool:
        """Whether a step cannot run in worker processes."""
        return any(getattr(degrade, "in_one_process", False) for degrade in self._plugins)

    @property
    def causes(self) -> tuple[str, ...]:
        """What its steps can leave in the speech."""
        left = {cause for degrade in self._plugins for cause in getattr(degrade, "causes", ())}
        return tuple(cause for cause in CAUSES if cause in left)

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Apply the steps to samples (samples,)."""
        return self.trace(clean, rng)[0]

    def trace(self, clean: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, Presence]:
        """Apply the steps to samples (samples,), and return the result and when each cause is present in it."""
        degraded, presence = clean, Presence()
        for step, degrade in zip(self.steps, self._plugins, strict=True):
            before = degraded
            degraded = self._apply(degrade, before, rng, step.share)
            presence.record(degrade, before, degraded, self.sample_rate)
        return degraded, presence

    def _apply(self, degrade, samples: np.ndarray, rng: np.random.Generator, share: Range | None) -> np.ndarray:
        if share is None:
            return degrade(samples, rng)
        size = max(1, round(draw(share, rng) * len(samples)))
        if size >= len(samples):
            return degrade(samples, rng)
        least = _MIN_SHARE_OF_POWER * float(np.square(samples, dtype=np.float64).mean())
        for _ in range(_MAX_DRAWS):
            start = int(rng.integers(len(samples) - size + 1))
            stretch = samples[start : start + size]
            if float(np.square(stretch, dtype=np.float64).mean()) > least:
                break
        else:
            raise AudioError(f"No stretch of {size} samples with speech was found. Raise the share, or leave it out.")
        degraded = samples.copy()
        fade = min(round(FADE_SECONDS * self.sample_rate), size // 2)
        weights = np.ones(size, dtype=np.float32)
        if fade:
            weights[:fade] = np.arange(1, fade + 1, dtype=np.float32) / (fade + 1)
            weights[-fade:] = weights[:fade][::-1]
        degraded[start : start + size] += weights * (degrade(stretch.copy(), rng) - stretch)
        return degraded


def parse_chain(text: str) -> list[Step]:
    """Read a chain such as ``reverb(rt60=0.5)+opus(kbps=12)+noise(snr_db=[0, 10], share=0.3)``.

    Values are numbers, words, texts in quotes, ``true``, ``false``, and lists of these in brackets.

    Raises
    ------
    ConfigError
        It is not such a chain; the message shows where.

    Examples
    --------
    >>> parse_chain("reverb+band-limit(kind=low-pass, share=[0.2, 0.5])")[1]
    Step(name='band-limit', options={'kind': 'low-pass'}, share=(0.2, 0.5))
    """
    if not isinstance(text, str):
        raise ConfigError(f"The chain {text!r} is not text. {_FORM}")
    return _Reader(text).chain()


def format_value(value: Any) -> str:
    """Write a value of an option as :func:`parse_chain` reads it.

    Examples
    --------
    >>> format_value((0.2, 0.9)), format_value("low-pass"), format_value("a folder"), format_value(True)
    ('[0.2, 0.9]', 'low-pass', '"a folder"', 'true')
    """
    if isinstance(value, (list, tuple)) and value:
        return f"[{', '.join(map(format_value, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    text = "" if value == () else str(value)
    is_word = re.fullmatch(r"[A-Za-z][\w/-]*", text) and text not in ("true", "false")
    return text if is_word else f'"{text}"'


_FORM = "Write it as in 'reverb(rt60=0.5)+opus(kbps=12)+loss(rate=0.05)', and paths in quotes."
_TOKEN = re.compile(
    r"""\s*(?:(?P<number>-?\d+(?:\.\d*)?(?:[eE]-?\d+)?)(?![\w.])
    | (?P<word>[A-Za-z][\w/-]*)
    | (?P<quoted>"[^"]*"|'[^']*')
    | (?P<mark>[()\[\],=+]))""",
    re.VERBOSE,
)


class _Reader:
    """Reads the text of a chain from left to right."""

    def __init__(self, text: str):
        self.text, end = text, 0
        self.tokens: list[tuple[str, str, int]] = []  # of a group, the text, and where it begins
        while text[end:].strip():
            match = _TOKEN.match(text, end)
            if match is None:
                raise self.error(end)
            group = match.lastgroup or ""
            self.tokens.append((group, match.group(group), match.start(group)))
            end = match.end()
        self.tokens.append(("end", "", len(text)))
        self.position = 0

    def error(self, place: int) -> ConfigError:
        rest = self.text[place:].strip()
        where = f"something is wrong at {rest[:20]!r}" if rest else "something is missing at its end"
        return ConfigError(f"Cannot read the chain {self.text!r}: {where}. {_FORM}")

    def take(self, *expected: str) -> str:
        """Return the next token, which must be of one of these groups or be one of these marks."""
        group, token, place = self.tokens[self.position]
        if group not in expected and not (group == "mark" and token in expected):
            raise self.error(place)
        self.position += 1
        return token

    def next_is(self, mark: str) -> bool:
        return self.tokens[self.position][:2] == ("mark", mark)

    def chain(self) -> list[Step]:
        steps = [self.step()]
        while self.next_is("+"):
            self.take("+")
            steps.append(self.step())
        self.take("end")
        return steps

    def step(self) -> Step:
        name, options = self.take("word").removeprefix("degradation/"), {}
        if self.next_is("("):
            self.take("(")
            while not self.next_is(")"):
                place = self.tokens[self.position][2]
                option = self.take("word")
                self.take("=")
                if option in options:
                    raise self.error(place)
                options[option] = self.value()
                if not self.next_is(")"):
                    self.take(",")
            self.take(")")
        share = options.pop("share", None)
        return Step(name, options, None if share is None else check_range("share", share, 0, 1))

    def value(self) -> Any:
        group, token, _ = self.tokens[self.position]
        if group == "mark" and token == "[":
            self.take("[")
            values = [self.value()]
            while self.next_is(","):
                self.take(",")
                values.append(self.value())
            self.take("]")
            return values
        token = self.take("number", "word", "quoted")
        if group == "number":
            return int(token) if token.lstrip("-").isdigit() else float(token)
        return token[1:-1] if group == "quoted" else {"true": True, "false": False}.get(token, token)
