"""Signals that end a process, as exceptions: what is open is closed, and what is finished is stored."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

#: SIGTERM (``kill``, a batch system's time limit) and SIGHUP (a closed terminal), where the system has them.
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class Terminated(KeyboardInterrupt):
    """Another signal than Ctrl-C's asks the process to end.

    Attributes
    ----------
    signum : int
        The signal's number.
    """

    def __init__(self, signum: int):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def describe(interrupt: BaseException | None) -> tuple[str, int]:
    """Name an interrupt for a message, and return the exit status that shells expect.

    >>> describe(KeyboardInterrupt()), describe(Terminated(signal.SIGTERM))
    (('interrupted', 130), ('ended by SIGTERM', 143))
    """
    if isinstance(interrupt, Terminated):
        return f"ended by {interrupt}", 128 + interrupt.signum
    return "interrupted", 128 + signal.SIGINT


@contextlib.contextmanager
def raise_terminated() -> Iterator[None]:
    """Raise :class:`Terminated` in the block when a signal of :data:`ENDING` arrives.

    A signal that the process ignores (``nohup``) stays ignored. Outside the main thread, nothing changes.
    """

    def handle(signum: int, frame: FrameType | None) -> None:
        raise Terminated(signum)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {number: signal.getsignal(number) for number in ENDING}
    handlers = {number: handler for number, handler in handlers.items() if handler == signal.SIG_DFL}
    for number in handlers:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
