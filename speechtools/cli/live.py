"""What is being spoken, for ``speechtools score`` and ``speechtools spot``: the microphone or standard input."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from speechtools.core.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

#: Blocks of a live stream (s).
BLOCK_SECONDS = 0.1


def live_options(function: Callable) -> Callable:
    """Add --live and --raw to a command."""
    for option in (
        click.option(
            "--raw",
            type=click.IntRange(1000, 192_000),
            metavar="HZ",
            help="Listen to standard input: 16-bit samples of one channel at this rate.",
        ),
        click.option("--live", is_flag=True, help="Listen to the microphone until Ctrl-C."),
    ):
        function = option(function)
    return function


def live_blocks(rate: int, raw: int | None) -> Iterator["np.ndarray"]:
    """Blocks of samples (samples,) from the microphone at ``rate`` until Ctrl-C; with ``raw``, from standard input."""
    if raw is not None:
        yield from _standard_input(raw)
        return
    # Ctrl-C ends the listening between two blocks, so that nothing that was heard is lost.
    is_over = threading.Event()
    former = signal.signal(signal.SIGINT, lambda *_: is_over.set())
    try:
        for block in _microphone(rate):
            yield block
            if is_over.is_set():
                break
    finally:
        signal.signal(signal.SIGINT, former)


def _standard_input(rate: int) -> Iterator["np.ndarray"]:
    import numpy as np

    size, rest = 2 * round(BLOCK_SECONDS * rate), b""
    stream: Any = sys.stdin.buffer
    while data := stream.read1(size):
        data = rest + data
        whole = len(data) - len(data) % 2
        rest = data[whole:]
        yield np.frombuffer(data[:whole], dtype="<i2")


def _microphone(rate: int) -> Iterator["np.ndarray"]:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: its library, PortAudio, is missing
        raise ConfigError(
            f"--live needs the package sounddevice and PortAudio ({error}). Install them with pip install "
            '"speechtools[live]", on Linux also libportaudio2; or pipe samples to --raw.'
        ) from error
    size = round(BLOCK_SECONDS * rate)
    try:
        with sounddevice.InputStream(samplerate=rate, channels=1, dtype="int16", blocksize=size) as microphone:
            print("Listening. Ctrl-C ends it.", file=sys.stderr)
            while True:
                block, is_overrun = microphone.read(size)
                if is_overrun:
                    print("Some samples were lost: the computer is too slow, or busy.", file=sys.stderr)
                yield block[:, 0]
    except sounddevice.PortAudioError as error:
        raise ConfigError(f"No microphone can be opened: {error}. Connect one, or pipe samples to --raw.") from error


def name_of(raw: int | None) -> str:
    """What is heard, for outputs."""
    return "microphone" if raw is None else "standard input"
