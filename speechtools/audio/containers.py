"""What a file contains: the sections that decode on their own, and bytes that a decoder would silently leave out.

libsndfile reads the first of several joined recordings only, and estimates the length of MP3 files without a header.
"""

import functools
import io
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from speechtools.audio.lengths import declared_samples
from speechtools.core.errors import AudioError

COPY_AGAIN = "Copy it again from its source, or leave it out."

_WINDOW_BYTES = 2**18
#: Unknown bytes behind the samples that are ignored: less than a tenth of a second of sound.
_IGNORED_BYTES = 2048
_LARGEST_BYTES = 0x7FFF0000  # a writer that does not know the length declares more


class Section(NamedTuple):
    """Bytes ``start`` to ``end`` of a file, behind a header of our own; they decode like a file."""

    start: int
    end: int
    header: bytes = b""

    def open(self, file: BinaryIO) -> BinaryIO:
        """Open the section of an open file, which stays open."""
        return io.BufferedReader(_SectionReader(file, self))


class _SectionReader(io.RawIOBase):
    def __init__(self, file: BinaryIO, section: Section):
        self.file, self.section, self.position = file, section, 0
        self.size = len(section.header) + section.end - section.start

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        self.position = max(0, start + offset)  # damaged headers make decoders seek before the beginning
        return self.position

    def readinto(self, buffer: Any) -> int:
        header = self.section.header
        if self.position < len(header):
            data = header[self.position : self.position + len(buffer)]
        else:
            self.file.seek(self.section.start + self.position - len(header))
            data = self.file.read(max(0, min(len(buffer), self.size - self.position)))
        buffer[: len(data)] = data
        self.position += len(data)
        return len(data)


class _Bytes:
    """Random access to the bytes of a file, in bounded memory."""

    def __init__(self, file: BinaryIO, first: int = 0):
        self.file, self.first, self.size = file, first, file.seek(0, io.SEEK_END) - first
        self.start, self.window = 0, b""

    def at(self, position: int, count: int) -> bytes:
        offset = position - self.start
        if offset < 0 or offset + count > len(self.window):
            self.file.seek(self.first + position)
            self.start, self.window, offset = position, self.file.read(max(count, _WINDOW_BYTES)), 0
        return self.window[offset : offset + count]

    def find(self, pattern: bytes, position: int) -> int:
        """Where the pattern begins, from ``position`` on; -1 if nowhere."""
        while position < self.size:
            index = self.at(position, _WINDOW_BYTES).find(pattern)
            if index >= 0:
                return position + index
            position += _WINDOW_BYTES - len(pattern) + 1
        return -1


def sections(file: BinaryIO, name: str) -> list[Section] | None:
    """Return the sections of an open file that decode on their own; None if the whole file does.

    Raises
    ------
    AudioError
        Samples lie behind the end that the header declares, or another recording of a format that does not join.
    """
    content = _Bytes(file)
    start = _tag_end(content, 0)
    magic = content.at(start, 16)
    if magic.startswith(b"OggS"):
        return _ogg_sections(content, name)
    if _mpeg_header(magic[:4]):
        return _mpeg_sections(content, start, name)
    if magic.startswith(b"riff"):
        return _w64_sections(content, name)
    for pattern, check in _CHECKS.items():
        if pattern.match(magic):
            # A tag in front of a format that has none: libsndfile skips it, and the chunks begin behind it.
            check(_Bytes(file, start) if start and not magic.startswith(b"fLaC") else content, name)
            return None
    if declared := declared_samples(content):
        _check_end(content, name, *declared)
    return None


def _tag_end(content: _Bytes, position: int) -> int:
    """Where the ID3v2 tags that begin at ``position`` end."""
    while (head := content.at(position, 10))[:3] == b"ID3" and len(head) == 10:
        position += 10 + functools.reduce(lambda size, byte: size << 7 | byte & 0x7F, head[6:10], 0)
        position += 10 if head[5] & 0x10 else 0
    return position


# ---------------------------------------------------------------------------------------------------------------- Ogg


def _ogg_sections(content: _Bytes, name: str) -> list[Section] | None:
    """The links of a chain: each begins with pages that begin streams."""
    starts, position, last, was_begin = [], 0, 0, False
    while (head := content.at(position, 27)).startswith(b"OggS") and len(head) == 27:
        is_begin = bool(head[5] & 2)
        if is_begin and not was_begin:
            starts.append(position)
        was_begin, last = is_begin, position
        position += 27 + head[26] + sum(content.at(position + 27, head[26]))
    # A link that is cut in a page hides the ones behind it.
    position = last + 1
    while (position := content.find(b"OggS", position)) >= 0:
        if content.at(position + 4, 2) == b"\0\x02":
            raise _joined(name, position)
        position += 1
    if len(starts) < 2:
        return None
    return [Section(start, end) for start, end in zip(starts, [*starts[1:], content.size], strict=True)]


# --------------------------------------------------------------------------------------------------------------- MPEG

_BITRATES = {  # kbit/s by version 1 or 2 and layer
    (1, 1): range(0, 449, 32),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class _Frame(NamedTuple):
    layer: int
    rate: int
    is_mono: bool
    size: int  # in bytes
    info: int  # where a Xing header would be


@functools.lru_cache(maxsize=4096)
def _mpeg_header(head: bytes) -> _Frame | None:
    """Read the header of an MPEG audio frame; None if it is none, or has a free bit rate."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    is_first = version == 3
    hertz = (44100, 48000, 32000)[rate] // {3: 1, 2: 2, 0: 4}[version]
    bits = 1000 * _BITRATES[1 if is_first else 2, layer][bitrate]
    if layer == 1:
        size = (12 * bits // hertz + padding) * 4
    else:
        size = (144 if layer == 2 or is_first else 72) * bits // hertz + padding
    is_mono = head[3] >> 6 == 3
    side = (17 if is_mono else 32) if is_first else (9 if is_mono else 17)
    return _Frame(layer, hertz, is_mono, size, 4 + side)


@dataclass
class _Run:
    """Frames that decode as one stream."""

    start: int
    head: bytes
    frame: _Frame
    declared: int | None = None  # frames, by its Xing or VBRI header
    count: int = 0

    def section(self, end: int) -> Section:
        return Section(self.start, end, b"" if self.declared or self.frame.layer != 3 else self._xing_header())

    def _xing_header(self) -> bytes:
        """A frame that declares the number of frames, without which libsndfile estimates it."""
        head = bytes([0xFF, self.head[1] | 1, self.head[2] & 0x0C | 0xE0, self.head[3]])
        frame = _mpeg_header(head)
        assert frame is not None
        return (head.ljust(frame.info, b"\0") + b"Xing" + struct.pack(">II", 1, self.count)).ljust(frame.size, b"\0")


def _mpeg_sections(content: _Bytes, start: int, name: str) -> list[Section] | None:
    """Runs of frames. A Xing header, another rate and the end of the declared frames begin a new one."""
    runs: list[_Run] = []
    for position, head, frame in _mpeg_frames(content, start, name):
        run = runs[-1] if runs else None
        declared = _declared_frames(content.at(position, max(frame.info + 16, 54)), frame)
        is_other = run is not None and run.frame[:3] != frame[:3]
        is_beyond = run is not None and run.declared is not None and run.count >= run.declared
        if run is None or declared is not None or is_other or is_beyond:
            run = _Run(position, head, frame, declared or None)
            runs.append(run)
            if declared is not None:
                if declared == 0:  # a header without the number of frames is left out
                    run.start += frame.size
                continue
        run.count += 1
    # Some encoders declare a frame or two less.
    runs = [run for run in runs if run is runs[0] or run.count > 2]
    if not runs or (len(runs) == 1 and (runs[0].declared or runs[0].frame.layer != 3)):
        return None
    return [run.section(end) for run, end in zip(runs, [*(run.start for run in runs[1:]), content.size], strict=True)]


def _mpeg_frames(content: _Bytes, position: int, name: str) -> Iterator[tuple[int, bytes, _Frame]]:
    """Position, header and properties of every whole frame; tags and other bytes between them are skipped.

    Raises
    ------
    AudioError
        A recording of another format follows a frame.
    """
    kind: tuple | None = None
    while position < content.size:
        head = content.at(position, 4)
        frame = _mpeg_header(head)
        if frame and (frame[:2] == kind or _is_followed(content, position, frame)):
            if position + frame.size > content.size:
                return
            kind = frame[:2]
            yield position, head, frame
            position += frame.size
        elif (end := _tag_end(content, position)) > position:
            position = end
        elif kind and content.at(position, 3) == b"TAG":  # ID3v1
            position += 128
        else:
            if kind and _OTHER_FORMATS.match(content.at(position, 24)):
                raise _joined(name, position)
            kind, position = None, content.find(b"\xff", position + 1)
            if position < 0:
                return


def _is_followed(content: _Bytes, position: int, frame: _Frame) -> bool:
    """Whether the next frame is of the same kind; two bytes look like a header too often."""
    following = _mpeg_header(content.at(position + frame.size, 4))
    return following is not None and following[:2] == frame[:2]


def _declared_frames(data: bytes, frame: _Frame) -> int | None:
    """Number of frames in a Xing or VBRI header, 0 if it does not say; None if the frame is not a header."""
    if frame.layer == 3 and data[frame.info : frame.info + 4] in (b"Xing", b"Info"):
        flags, count = struct.unpack(">II", data[frame.info + 4 : frame.info + 12].ljust(8, b"\0"))
        return count if flags & 1 else 0
    if frame.layer == 3 and data[36:40] == b"VBRI":
        return int.from_bytes(data[50:54], "big")
    return None


# ------------------------------------------------------------------------------------------------ chunks and their end


#: Chunks without sound, which may be cut short.
_NOTES = frozenset(re.findall(rb"....", b"LISTid3 ID3 bextiXMLcue smplJUNKjunkPAD factPEAKNAMEAUTHANNOCOMTMARKINST"))


def _check_chunks(content: _Bytes, name: str, order: str, samples: bytes) -> None:
    """Walk the chunks of RIFF, RF64 (little-endian) or AIFF (big-endian) to the end of the file."""
    position, long_size, declared = 12, 0, 0
    is_long = content.at(0, 4) == b"RF64"
    while position + 8 <= content.size:
        marker, size = struct.unpack(f"{order}4sI", content.at(position, 8))
        if not re.fullmatch(rb"[ -~]{4}", marker) or marker in (b"RIFF", b"FORM"):
            break
        if marker == b"ds64" and is_long:
            long_size = int.from_bytes(content.at(position + 16, 8), "little")
        if marker == samples:
            size = declared = long_size or size  # the other size is ignored by libsndfile, too
            if position + 8 + size > content.size:  # libsndfile reports a truncation of most formats
                _check_second(content, name, content.at(0, 4))
                if order == ">":
                    _check_end(content, name, position + 8, size)
                return
        end = position + 8 + size
        if end > content.size:
            if marker in _NOTES:
                return
            break
        # The byte that fills up an odd size is missing from some files.
        has_no_filler = re.fullmatch(rb"[A-Za-z]{3}[ -~]", content.at(end, 4)) is not None
        position = end if has_no_filler else end + size % 2
    _check_trailer(content, name, position, declared)


def _check_caf(content: _Bytes, name: str) -> None:
    position, declared = 8, 0
    while position + 12 <= content.size:
        marker, size = struct.unpack(">4sq", content.at(position, 12))
        if marker == b"data":
            declared = size
            if size < 0:
                return
        if size < 0 or not re.fullmatch(rb"[ -~]{4}", marker) or position + 12 + size > content.size:
            break
        position += 12 + size
    _check_trailer(content, name, position, declared)


def _w64_sections(content: _Bytes, name: str) -> list[Section] | None:
    """The samples of a W64 file, if anything follows them; libsndfile ignores the size of their chunk."""
    _check_second(content, name, b"riff")
    position = 40
    while (head := content.at(position, 24))[:4] != b"data":
        size = int.from_bytes(head[16:], "little", signed=True)
        if size < 24 or position + size > content.size:
            raise AudioError(f"{name} is damaged: its chunks end at byte {position}, without samples. {COPY_AGAIN}")
        position += size + -size % 8
    start, size = position + 24, int.from_bytes(head[16:], "little", signed=True)
    end = content.size if size == 2**63 - 1 else position + size  # this size is that of a pipe
    if not start <= end <= content.size:
        sizes = f"it has {max(0, content.size - start)} bytes of samples, but its header declares {size - 24}"
        raise AudioError(f"{name} is truncated or damaged: {sizes}. {COPY_AGAIN}")
    if position + size == content.size:
        return None
    header = (
        content.at(0, 16) + struct.pack("<q", end) + content.at(24, position - 8) + struct.pack("<q", end - position)
    )
    position = end
    while (size := int.from_bytes(content.at(position + 16, 8), "little", signed=True)) >= 24:
        if position + size > content.size:
            break
        position += size + -size % 8
    _check_trailer(content, name, position, end - start)
    return [Section(start, end, header)]


def _check_nist(content: _Bytes, name: str) -> None:
    """Check that the header of a SPHERE file ends where it declares; samples between would not be read."""
    _check_second(content, name, b"NIST")
    size = re.match(rb" *(\d{1,9})\s", content.at(8, 16))
    end = content.find(b"end_head", 0)
    rest = int(size[1]) - end - 8 if size and end >= 0 else -1
    if rest < 0 or (rest > _IGNORED_BYTES and not is_harmless(content.at(end + 8, min(rest, _WINDOW_BYTES)))):
        raise AudioError(f"{name} has a damaged header, which does not end where it declares. {COPY_AGAIN}")


def _check_au(content: _Bytes, name: str) -> None:
    offset, size = struct.unpack(">2I", content.at(4, 8).ljust(8, b"\0"))
    annotation = offset - 24
    if annotation > _IGNORED_BYTES and not is_harmless(content.at(24, min(annotation, _WINDOW_BYTES))):
        raise AudioError(
            f"{name} has {annotation} unknown bytes before its samples, so its header is damaged. {COPY_AGAIN}"
        )
    if size < _LARGEST_BYTES:
        _check_trailer(content, name, offset + size, size)


def _check_trailer(content: _Bytes, name: str, position: int, declared: int) -> None:
    """Raise an error if what follows the last chunk at ``position`` may be sound."""
    rest = content.size - position
    if rest <= 0:
        return
    _check_second(content, name, content.at(0, 4), position)
    if rest > _IGNORED_BYTES and not is_harmless(content.at(position, _WINDOW_BYTES)):
        raise AudioError(
            f"{name} has {rest} bytes behind the {declared} bytes of samples that its header declares: the program "
            "that wrote it did not finish, or another file was appended. Repair its header, for example with "
            "`sox --ignore-length`, or cut the file."
        )


def _check_end(content: _Bytes, name: str, start: int, declared: int) -> None:
    """Raise an error if a file has fewer bytes of samples from ``start`` on than its header declares."""
    if declared < _LARGEST_BYTES and start + declared > content.size:
        size = max(0, content.size - start)
        raise AudioError(f"{name} is truncated: it has {size} of the {declared} bytes in its header. {COPY_AGAIN}")


def is_harmless(data: bytes) -> bool:
    """Whether bytes behind the samples are filling, text or tags.

    >>> is_harmless(bytes(3)), is_harmless(b"a note"), is_harmless(b"TAG" + bytes(125)), is_harmless(b"\\x01\\x7f")
    (True, True, True, False)
    """
    is_tag = data.startswith((b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN"))
    return is_tag or not data.strip(b"\0") or not re.search(rb"[^\t\r\n -~\0]", data)


_MARKERS = {  # format by its first bytes: what a second file begins with
    b"RIFF": rb"RIFF.{4}WAVE",
    b"RF64": rb"RF64.{4}WAVE",
    b"FORM": rb"FORM.{4}(AIF[FC]|8SVX|16SV)",
    b"fLaC": rb"fLaC[\x00\x80]\x00\x00\x22",
    b"NIST": rb"NIST_1A\n",
    b"Crea": rb"Creative Voice File\x1a",
    b"riff": rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb",
    b".snd": rb"\.snd\x00\x00.{2}.{4}\x00\x00\x00[\x01-\x1b]",
    b"caff": rb"caff\x00\x01\x00\x00desc",
    b"TTA1": rb"TTA1[\x01-\x03]\x00.\x00",
    b"\x30\x26\xb2\x75": rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9",  # ASF: wma
}


_OTHER_FORMATS = re.compile(b"|".join([*_MARKERS.values(), rb"OggS\x00\x02", rb".{4}ftyp"]), re.S)


def _check_second(content: _Bytes, name: str, magic: bytes, start: int = 12) -> None:
    """Raise an error if another file of the same format follows."""
    pattern = re.compile(_MARKERS[magic], re.S)
    while (start := content.find(magic, start)) >= 0:
        if pattern.match(content.at(start, 24)):
            raise _joined(name, start)
        start += 1


def _joined(name: str, position: int) -> AudioError:
    return AudioError(
        f"{name} is several files joined into one: another begins at byte {position}, which would not be read. "
        "Split it there, or join the recordings with a program such as sox."
    )


def _check_mp4(content: _Bytes, name: str) -> None:
    """Walk the boxes of MP4."""
    position = 0
    while len(head := content.at(position, 16)) >= 8:
        size, kind = struct.unpack(">I4s", head[:8])
        if kind == b"ftyp" and position:
            raise _joined(name, position)
        size = int.from_bytes(head[8:16], "big") if size == 1 else size
        if size < 8:
            return
        position += size


def _check_flac(content: _Bytes, name: str) -> None:
    _check_second(content, name, b"fLaC", _tag_end(content, 0) + 4)


_CHECKS: dict[re.Pattern[bytes], Callable[[_Bytes, str], None]] = {
    re.compile(rb"(RIFF|RF64).{4}WAVE", re.S): lambda content, name: _check_chunks(content, name, "<", b"data"),
    re.compile(rb"FORM.{4}AIF[FC]", re.S): lambda content, name: _check_chunks(content, name, ">", b"SSND"),
    re.compile(rb"FORM.{4}(8SVX|16SV)", re.S): lambda content, name: _check_chunks(content, name, ">", b"BODY"),
    re.compile(rb"caff"): _check_caf,
    re.compile(rb"\.snd"): _check_au,
    re.compile(rb"fLaC"): _check_flac,
    re.compile(rb"NIST"): _check_nist,
    re.compile(rb"Creative"): lambda content, name: _check_second(content, name, b"Crea"),
    re.compile(rb".{4}ftyp", re.S): _check_mp4,
    re.compile(rb"TTA1"): lambda content, name: _check_second(content, name, b"TTA1"),
    re.compile(rb"\x30\x26\xb2\x75"): lambda content, name: _check_second(content, name, b"\x30\x26\xb2\x75"),
}
