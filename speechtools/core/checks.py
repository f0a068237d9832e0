"""Checks of option values by the functions and classes that take them."""

import math
from typing import Any

from speechtools.core.errors import ConfigError


def check_number(
    name: str, value: Any, low: float = -math.inf, high: float = math.inf, whole: bool = False, above: bool = False
) -> None:
    """Raise a ConfigError unless a value is a number from ``low`` to ``high``.

    Parameters
    ----------
    name : str
        Name of the option, for the message.
    value : object
    low, high : float
        The range. Infinity means that there is no limit; infinite values are refused in any case.
    whole : bool
        Require a whole number.
    above : bool
        Require more than ``low``, which is itself not allowed.

    Examples
    --------
    >>> check_number("dropout", 0.5, 0, 1)
    >>> check_number("batch_size", 0, 1, whole=True)
    Traceback (most recent call last):
    ...
    speechtools.core.errors.ConfigError: Invalid value for batch_size: 0 is not a whole number of at least 1.
    """
    is_number = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if is_number and (low < value if above else low <= value) and value <= high and abs(value) < math.inf:
        return
    expected = "a whole number" if whole else "a number"
    if high < math.inf:
        expected += f" above {low:g} and up to {high:g}" if above else f" between {low:g} and {high:g}"
    elif low > -math.inf:
        expected += f" above {low:g}" if above else f" of at least {low:g}"
    raise ConfigError(f"Invalid value for {name}: {value!r} is not {expected}.")
