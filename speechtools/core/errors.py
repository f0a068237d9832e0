"""Exceptions for the user: a message says what is wrong with which value, and what to do.

The command line prints the message without a traceback; in Python they are subclasses of ``ValueError``.
"""

from collections.abc import Sequence


class SpeechtoolsError(ValueError):
    """Base class of the exceptions of this toolkit."""


class PluginError(SpeechtoolsError):
    """The name or the arguments of a plugin are wrong, or it breaks its contract."""


class AudioError(SpeechtoolsError):
    """An audio file or signal cannot be used."""


class CorpusError(SpeechtoolsError):
    """A corpus, noise folder or manifest is missing, empty, or has another layout than its reader expects."""


class ConfigError(SpeechtoolsError):
    """An option of a recipe or command is unknown or has an invalid value."""


class ModelKindError(ConfigError):
    """A trained model is of another kind than the interface that loads it.

    Attributes
    ----------
    interface : str or None
        Name of the interface that accepts the model, if it is known.
    """

    def __init__(self, message: str, interface: str | None):
        super().__init__(message)
        self.interface = interface

    def __reduce__(self) -> tuple:
        return type(self), (str(self), self.interface)


class InstallationError(SpeechtoolsError, ImportError):
    """A required package is installed in a version that does not load."""


def first_of(names: Sequence[str]) -> str:
    """The first five of some names, and how many more there are, for a message.

    >>> first_of(["anna", "bob"]), first_of("abcdefg")
    ('anna, bob', 'a, b, c, d, e and 2 more')
    """
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def printable(name: object) -> str:
    """Escape line breaks and other characters that cannot be printed, so that a name takes one line.

    >>> printable("two\\nlines.wav")
    'two\\\\nlines.wav'
    """
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(name))
