"""How many bytes of samples the headers of rarer formats declare, of which libsndfile reads a cut file silently.

IRCAM, PVF and PAF declare no length, so a cut one looks like a whole one.
"""

import re
import struct
from collections.abc import Callable
from typing import NamedTuple, Protocol


class Bytes(Protocol):
    """Random access to the bytes of a file of this size."""

    size: int

    def at(self, position: int, count: int) -> bytes:
        """The bytes from a position on; fewer at the end of the file."""


class Declared(NamedTuple):
    """Where samples begin, and how many bytes of them a header declares."""

    start: int
    size: int


def declared_samples(content: Bytes) -> Declared | None:
    """What the header of an AVR, WVE, MPC2K or MATLAB file declares; None for other formats and damaged headers."""
    head = content.at(0, 128)
    for pattern, read in _READERS.items():
        if pattern.match(head):
            try:
                return read(content, head)
            except struct.error:  # the header itself is cut
                return None
    return None


def _avr(content: Bytes, head: bytes) -> Declared:
    is_stereo, bits, frames = struct.unpack(">2H10xI", head[12:30])
    return Declared(128, frames * (2 if is_stereo else 1) * (bits // 8))


def _wve(content: Bytes, head: bytes) -> Declared:
    return Declared(32, *struct.unpack(">I", head[18:22]))


def _mpc2k(content: Bytes, head: bytes) -> Declared:
    (frames,) = struct.unpack("<I", head[30:34])
    return Declared(42, 2 * frames * (2 if head[21] else 1))


#: Bytes of a number by the digit of its type in MATLAB 4.
_MAT4_SIZES = (8, 4, 4, 2, 2, 1)


def _mat4(content: Bytes, head: bytes) -> Declared:
    """The last of the matrices, of which the first one is the sample rate."""
    order = "<" if head.startswith(bytes(4)) else ">"
    last = Declared(0, 0)
    while (position := last.start + last.size) + 20 <= content.size:
        kind, rows, columns, is_complex, length = struct.unpack(f"{order}5I", content.at(position, 20))
        digit = kind // 10 % 10
        if kind > 1052 or digit >= len(_MAT4_SIZES) or is_complex > 1 or not rows * columns:  # something else follows
            break
        last = Declared(position + 20 + length, rows * columns * _MAT4_SIZES[digit])
    return last


#: Types of the elements of MATLAB 5; this one contains others.
_MAT5_TYPES, _MAT5_MATRIX = range(1, 19), 14


def _mat5(content: Bytes, head: bytes) -> Declared:
    """The last element that contains no others: programs differ in what they declare for those around it."""
    order = "<" if head[126:128] == b"IM" else ">"
    position, last = 128, Declared(128, 0)
    while position + 8 <= content.size:
        kind, length = struct.unpack(f"{order}2I", content.at(position, 8))
        if kind & 0xFFFF not in _MAT5_TYPES or kind >> 16 > 4:  # something else follows
            break
        position += 8
        if kind < 1 << 16 and kind != _MAT5_MATRIX:  # small elements have up to 4 bytes in the place of their length
            last = Declared(position, length)
            position += length + -length % 8
    return last


_READERS: dict[re.Pattern[bytes], Callable[[Bytes, bytes], Declared]] = {
    re.compile(rb"2BIT"): _avr,
    re.compile(rb"ALawSoundFile\*\*\0"): _wve,
    re.compile(rb"\x01\x04.{14}", re.S): _mpc2k,
    re.compile(rb"(\0\0\0\0|\0\0\x03\xe8).{12}(\x0b\0\0\0|\0\0\0\x0b)samplerate\0", re.S): _mat4,
    re.compile(rb"MATLAB 5\.0 MAT-file"): _mat5,
}
