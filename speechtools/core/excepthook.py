"""An excepthook that ends a program with the message of an error, without its traceback."""

import logging
import os
import re
import sys

from speechtools.core.errors import SpeechtoolsError
from speechtools.core.signals import describe

logger = logging.getLogger(__name__)


#: torch's message about loader processes that have ended; it is also the cause of a second error.
_KILLED = re.compile(
    r"DataLoader worker \(pid(?:\(s\))? (?P<pids>[\d, ]+)\) "
    r"(?:is killed by signal: (?P<signal>[^.]+)|exited unexpectedly)"
)


#: How torch reports that memory ran out on a CPU and on a GPU.
_NO_MEMORY = ("can't allocate memory", "CUDA out of memory")


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
        if isinstance(error, KeyboardInterrupt) and issubclass(kind, self.kinds):
            raise SystemExit(describe(error)[1])  # Python ends with this status


def show_messages_only(*kinds: type[BaseException]) -> None:
    """Install a :class:`MessageHook` for these kinds of errors, unless the current excepthook is one."""
    current = sys.excepthook
    if not isinstance(current, MessageHook) or current.kinds != kinds:
        sys.excepthook = MessageHook(kinds, current)


def _message(error: BaseException) -> str | None:
    """The text to show for an error; None for a RuntimeError that needs its traceback."""
    text = str(error)
    if isinstance(error, KeyboardInterrupt):
        return f"{describe(error)[0]}. Finished work is kept; start again to continue."
    if "Original Traceback" in text:  # raised in a loader process
        text = text.rstrip().rpartition("Error: ")[2]
    if isinstance(error, SpeechtoolsError):
        return text
    if isinstance(error, MemoryError) or any(sign in str(error) for sign in _NO_MEMORY):
        return f"Memory ran out: {text.splitlines()[0] if text else 'no reason'}. Use smaller batches, and start again."
    if isinstance(error, OSError):  # a full disk, a missing permission: a traceback would not help
        return f"{text}. Fix this and start again; finished work is kept."
    if killed := _KILLED.search(text):
        return _killed_loader(killed["pids"], killed["signal"])
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and "by peer" in text:
        lost = f"Process {os.environ.get('RANK')} lost the connection to another process of this run, which has ended"
        return f"{lost}. See the output of that process for the reason."
    return None


def _killed_loader(pids: str, signal: str | None) -> str:
    how = f"was killed by the signal {signal!r}" if signal else "has ended unexpectedly"
    if signal == "Bus error":
        reason, remedy = "shared memory (/dev/shm) ran out", "Enlarge it, or use no loader processes (--num_workers=0)"
    else:
        reason, remedy = "memory ran out", "Use fewer loader processes (--num_workers=0) or smaller batches"
    return (
        f"A loader process (pid {pids}) {how}, most likely because {reason}. {remedy}, and start again: the training "
        "continues from its last checkpoint."
    )
