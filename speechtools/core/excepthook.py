"""An excepthook that ends a program with the message of an error, without its traceback."""

import logging
import os
import sys

from speechtools.core.errors import SpeechtoolsError

logger = logging.getLogger(__name__)


class MessageHook:
    """Print the message of an uncaught error of the given kinds; pass every other error to ``fallback``.

    The traceback is logged at debug level, so that it reaches the ``log.txt`` of a run but not the screen.
    """

    def __init__(self, kinds: tuple[type[BaseException], ...], fallback):
        self.kinds, self.fallback = kinds, fallback

    def __call__(self, kind, error, traceback) -> None:
        """Report an uncaught error."""
        message = _message(error) if issubclass(kind, self.kinds) else None
        if message is None:
            self.fallback(kind, error, traceback)
        else:
            print(f"error: {message}", file=sys.stderr)
            logger.debug("%s", message, exc_info=(kind, error, traceback))


def show_messages_only(*kinds: type[BaseException]) -> None:
    """Install a :class:`MessageHook` for these kinds of errors, unless the current excepthook is one."""
    current = sys.excepthook
    if not isinstance(current, MessageHook) or current.kinds != kinds:
        sys.excepthook = MessageHook(kinds, current)


def _message(error: BaseException) -> str | None:
    """The text to show for an error; None for a RuntimeError that needs its traceback."""
    text = str(error)
    if "Original Traceback" in text:  # raised in a loader process
        text = text.rstrip().rpartition("Error: ")[2]
    if isinstance(error, SpeechtoolsError):
        return text
    if isinstance(error, OSError):  # a full disk, a missing permission: a traceback would not help
        return f"{text}. Fix this and start again; finished work is kept."
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and "by peer" in text:
        lost = f"Process {os.environ.get('RANK')} lost the connection to another process of this run, which has ended"
        return f"{lost}. See the output of that process for the reason."
    return None
