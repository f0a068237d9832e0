"""Signals that end a process, as exceptions: what is open is closed, and what is finished is stored."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

#: SIGTERM (``kill``, a batch system's time limit) and SIGHUP (a closed terminal), where the system has them.
ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


#: Packages with C++ code that aborts the process when a signal's handler raises an exception during their import.
_ABORTING = ("torch", "torchaudio", "speechbrain")


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

    While torch is imported, such a signal or Ctrl-C ends the process at once, with a message. A signal that the process
    ignores (``nohup``) stays ignored. Outside the main thread, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers, interrupt = _install(), signal.getsignal(signal.SIGINT)
    if interrupt == signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)
        if interrupt == signal.default_int_handler:
            signal.signal(signal.SIGINT, interrupt)


def raise_terminated_from_now() -> None:
    """Do as :func:`raise_terminated` until the process ends."""
    if threading.current_thread() is threading.main_thread():
        _install(once=True)


def leave_to_parent() -> None:
    """Let this worker process ignore Ctrl-C and SIGHUP, which its parent gets too, and end at once on SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in ENDING:
        signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.SIG_IGN)


def _install(once: bool = False) -> list[int]:
    """Set the handler of the signals that have none, and return them; with ``once``, a repeated signal is ignored."""
    owner = os.getpid()

    def handle(signum: int, frame: FrameType | None) -> None:
        if os.getpid() != owner:  # a process that was forked from this one a moment ago
            signal.signal(signum, signal.SIG_DFL)
            signal.raise_signal(signum)
        if once:
            signal.signal(signum, signal.SIG_IGN)
        interrupt = Terminated(signum)
        _end_during_imports(interrupt)
        raise interrupt

    numbers = [number for number in ENDING if signal.getsignal(number) == signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, handle)
    return numbers


def _interrupt(signum: int, frame: FrameType | None) -> None:
    _end_during_imports(KeyboardInterrupt())
    signal.default_int_handler(signum, frame)


def _end_during_imports(interrupt: KeyboardInterrupt) -> None:
    """End the process if a package of :data:`_ABORTING` is being imported; nothing is open at that time."""
    specs = (getattr(sys.modules.get(name), "__spec__", None) for name in _ABORTING)
    if any(getattr(spec, "_initializing", False) for spec in specs):
        reason, status = describe(interrupt)
        os.write(2, f"speechtools: {reason}.\n".encode())
        os._exit(status)
