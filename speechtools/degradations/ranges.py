"""Parameters that degradations draw: ranges, from the lowest to the highest number, and choices."""

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from speechtools.core.errors import ConfigError

#: One number, or a pair ``(low, high)`` to draw from.
Range = float | Sequence[float]
#: The type of one choice: a string or a number.
Choice = TypeVar("Choice", str, float)


def check_range(name: str, value: Range, lowest: float = -math.inf, highest: float = math.inf) -> tuple[float, float]:
    """Check the parameter ``name``, and return it as a pair ``(low, high)``.

    Raises
    ------
    ConfigError
        It is neither a number nor an ordered pair of numbers, or is not within ``lowest`` and ``highest``.

    Examples
    --------
    >>> check_range("rt60", 0.5), check_range("rt60", [0.2, 0.9], 0, 2)
    ((0.5, 0.5), (0.2, 0.9))
    """
    pair = (value, value) if isinstance(value, (int, float)) else value
    is_pair = isinstance(pair, (list, tuple)) and len(pair) == 2 and not isinstance(value, bool)
    if not is_pair or not all(isinstance(x, (int, float)) and math.isfinite(x) for x in pair) or pair[0] > pair[1]:
        raise ConfigError(f"{name}={value!r} must be a number, or a pair of the lowest and the highest, as in [1, 2].")
    if not lowest <= pair[0] <= pair[1] <= highest:
        limits = f"from {lowest:g} to {highest:g}" if math.isfinite(highest) else f"at least {lowest:g}"
        raise ConfigError(f"{name}={value!r} is out of range. Choose {limits}.")
    return float(pair[0]), float(pair[1])


def check_choices(name: str, value: Choice | Sequence[Choice], allowed: Sequence[Choice]) -> tuple[Choice, ...]:
    """Check the parameter ``name``, and return it as a tuple of choices to draw from.

    Raises
    ------
    ConfigError
        It is neither one of ``allowed`` nor a list of some of them.

    Examples
    --------
    >>> check_choices("packet_ms", 20, (10, 20, 30)), check_choices("fill", ["a", "b"], ("a", "b", "c"))
    ((20,), ('a', 'b'))
    """
    choices = tuple(value) if isinstance(value, (list, tuple)) else (value,)
    if not choices or not all(choice in allowed for choice in choices):
        listed = ", ".join(map(repr, allowed))
        raise ConfigError(f"{name}={value!r} must be one of {listed}, or a list of some of them.")
    return choices


def draw(value: Range, rng: np.random.Generator, log: bool = False) -> float:
    """Draw a number from a range, uniformly or, with ``log``, uniformly in its logarithm.

    Examples
    --------
    >>> draw(3.0, np.random.default_rng(0))
    3.0
    """
    low, high = (value, value) if isinstance(value, (int, float)) else value
    if low == high:
        return float(low)
    return float(np.exp(rng.uniform(np.log(low), np.log(high)))) if log else float(rng.uniform(low, high))
