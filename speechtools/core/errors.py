"""Errors meant for the person at the keyboard.

Every message says three things: what was given, why it cannot be, and what to do. The command line prints them
without a traceback; in Python they are ordinary ``ValueError`` s.
"""


class SpeechtoolsError(ValueError):
    """The base of every error that this toolkit raises on purpose."""


class PluginError(SpeechtoolsError):
    """A plugin's name, arguments or contract is wrong."""


class AudioError(SpeechtoolsError):
    """An audio file or signal cannot be used; the message names it and gives the reason."""


class CorpusError(SpeechtoolsError):
    """A corpus, noise folder or manifest is missing, empty or laid out otherwise than its reader expects."""


class ConfigError(SpeechtoolsError):
    """An option of a recipe or command is unknown or has a value that cannot be."""


class InstallationError(SpeechtoolsError, ImportError):
    """A package that this toolkit needs is installed in a version that does not load."""
