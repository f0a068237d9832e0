"""Checks of option values by the functions and classes that take them."""

import contextlib
import functools
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from speechtools.core.errors import ConfigError, SpeechtoolsError

Function = TypeVar("Function", bound=Callable)


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


@contextlib.contextmanager
def naming(option: str) -> Iterator[None]:
    """Put the name of an option before the message of an error in the block.

    Examples
    --------
    >>> with naming("scale"):
    ...     raise ConfigError("Unknown measure 'foo'.")
    Traceback (most recent call last):
    speechtools.core.errors.ConfigError: Invalid value for scale: Unknown measure 'foo'.
    """
    try:
        yield
    except SpeechtoolsError as error:
        raise type(error)(f"Invalid value for {option}: {error}") from error


def checked_by(check: Callable[..., None]) -> Callable[[Function], Function]:
    """Attach a check of its arguments to a function that works for long; a run calls it before it makes anything.

    The parameters of ``check`` are among those of the function.
    """

    def attach(function: Function) -> Function:
        function.check = check  # type: ignore[attr-defined]
        return function

    return attach


def check_arguments(function: Any) -> None:
    """Call the check that :func:`checked_by` has attached to a function, if any, with the arguments of a partial."""
    if isinstance(function, functools.partial) and hasattr(function.func, "check"):
        bound = inspect.signature(function.func).bind_partial(*function.args, **function.keywords)
        bound.apply_defaults()
        check = function.func.check
        check(**{name: bound.arguments[name] for name in inspect.signature(check).parameters})
