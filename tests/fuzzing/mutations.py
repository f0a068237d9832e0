"""Damage to the bytes or the text of a file, drawn from a generator."""

import copy
import re
import struct

import numpy as np

#: What a size, a rate or a number of channels may absurdly be.
NUMBERS = (0, 1, 2, 3, 7, 8, 127, 255, 256, 8000, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
WORDS = "0 -1 1e999 nan inf NaN -Infinity 1_0 ٣ null true [] {} \" ' , é .. /".split()
WORDS += ["", " ", "\0", "\t", "\r", "\n", "\r\n", "\ufeff", "\ud800", "9" * 400, "9" * 5000, "x" * 200_000]
HEADER_BYTES = 160


def flip_bits(rng: np.random.Generator, content: bytes, end: int | None = None) -> bytes:
    """Flip up to eight bits, before ``end``."""
    changed = bytearray(content)
    for place in rng.integers(0, max(1, min(len(content), end or len(content))), rng.integers(1, 9)):
        if place < len(changed):
            changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def flip_header(rng: np.random.Generator, content: bytes) -> bytes:
    """Flip bits at the beginning."""
    return flip_bits(rng, content, HEADER_BYTES)


def put_number(rng: np.random.Generator, content: bytes) -> bytes:
    """Replace a field at the beginning by an absurd number."""
    form = str(rng.choice(["<B", "<H", ">H", "<I", "<I", ">I", ">I", "<Q", ">Q", ">d"]))
    width = struct.calcsize(form)
    number = NUMBERS[rng.integers(len(NUMBERS))]
    field = struct.pack(form, number if form == ">d" else number % 2 ** (8 * width))
    place = int(rng.integers(0, HEADER_BYTES)) if rng.integers(4) == 0 else 2 * int(rng.integers(0, 32))
    return content[:place] + field + content[place + width :]


def put_noise(rng: np.random.Generator, content: bytes) -> bytes:
    """Replace a run of bytes by random ones."""
    start, end = _run(rng, content)
    return content[:start] + rng.bytes(end - start) + content[end:]


def insert_noise(rng: np.random.Generator, content: bytes) -> bytes:
    """Insert random bytes."""
    start = int(rng.integers(0, len(content) + 1))
    return content[:start] + rng.bytes(int(rng.integers(1, 300))) + content[start:]


def truncate(rng: np.random.Generator, content: bytes) -> bytes:
    """Cut off the end."""
    return content[: int(rng.integers(0, max(1, len(content))))]


def remove_run(rng: np.random.Generator, content: bytes) -> bytes:
    """Remove a run of bytes."""
    start, end = _run(rng, content)
    return content[:start] + content[end:]


def repeat_run(rng: np.random.Generator, content: bytes) -> bytes:
    """Repeat a run of bytes."""
    start, end = _run(rng, content)
    return content[:end] + content[start:]


def swap_runs(rng: np.random.Generator, content: bytes) -> bytes:
    """Exchange two neighboring runs of bytes, as of chunks."""
    start, middle, end = sorted(int(place) for place in rng.integers(0, len(content) + 1, 3))
    return content[:start] + content[middle:end] + content[start:middle] + content[end:]


def append_noise(rng: np.random.Generator, content: bytes) -> bytes:
    """Append random bytes."""
    return content + rng.bytes(int(rng.integers(1, 6000)))


BYTES = (flip_bits, flip_header, flip_header, put_number, put_number, put_number, put_noise, insert_noise, truncate)
BYTES = (*BYTES, remove_run, repeat_run, swap_runs, append_noise)


def change_number(rng: np.random.Generator, content: bytes) -> bytes:
    """Replace a number of a text."""
    places = [match.span() for match in re.finditer(rb"-?\d+(\.\d+)?", content[:4096])]
    if not places:
        return content
    start, end = places[rng.integers(len(places))]
    number = int(rng.choice([-1, 1])) * NUMBERS[rng.integers(len(NUMBERS))]
    return content[:start] + str(number).encode() + content[end:]


def put_word(rng: np.random.Generator, content: bytes) -> bytes:
    """Replace a word of a text, or insert one."""
    places = [match.span() for match in re.finditer(rb"[\w.+-]+", content)] or [(0, 0)]
    start, end = places[rng.integers(len(places))]
    word = WORDS[rng.integers(len(WORDS))].encode("utf-8", "surrogatepass")
    return content[: start if rng.integers(2) else end] + word + content[end:]


def change_lines(rng: np.random.Generator, content: bytes) -> bytes:
    """Remove, repeat or exchange lines."""
    lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        return content
    first, second = (int(place) for place in rng.integers(0, len(lines), 2))
    match rng.integers(3):
        case 0:
            del lines[first]
        case 1:
            lines.insert(second, lines[first])
        case 2:
            lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


TEXT = (*BYTES, change_number, change_number, put_word, put_word, put_word, change_lines, change_lines)


def mutate(rng: np.random.Generator, content: bytes, mutations: tuple = BYTES) -> bytes:
    """Apply one to three mutations."""
    for _ in range(rng.integers(1, 4)):
        content = mutations[rng.integers(len(mutations))](rng, content)
    return content


def mutate_json(rng: np.random.Generator, content: dict) -> dict:
    """Replace, remove, repeat or add one to three values of a nested mapping, which is changed itself."""
    numbers, others = (0, -1, 1, 2, 0.5, 1e30, 2**31, 2**70), ("", "x", [], {}, [1, 2], {"a": 1}, [[[]]], "\ud800")
    values = (None, True, False, *numbers, *others)
    for _ in range(rng.integers(1, 4)):
        owners = [*_containers(content)]
        owner = owners[rng.integers(len(owners))]
        keys = [*owner] if isinstance(owner, dict) else [*range(len(owner))]
        value = copy.deepcopy(values[rng.integers(len(values))])
        if not keys or rng.integers(8) == 0:
            if isinstance(owner, dict):
                owner[("x", "plugin", "sample_rate")[rng.integers(3)]] = value
            else:
                owner.append(value)
            continue
        key = keys[rng.integers(len(keys))]
        match rng.integers(4):
            case 0:
                del owner[key]
            case 1 if isinstance(owner[key], int | float):
                owner[key] = NUMBERS[rng.integers(len(NUMBERS))] * (1 if rng.integers(2) else -1)
            case 2:
                owner[key] = copy.deepcopy(owner[keys[rng.integers(len(keys))]])
            case _:
                owner[key] = value
    return content


def fix_ogg(content: bytes) -> bytes:
    """Correct the checksums of Ogg pages, so that a decoder gets to what they contain."""
    fixed, position = bytearray(content), 0
    while position + 27 <= len(content) and content[position : position + 4] == b"OggS":
        count = content[position + 26]
        end = position + 27 + count + sum(content[position + 27 : position + 27 + count])
        fixed[position + 22 : position + 26] = bytes(4)
        fixed[position + 22 : position + 26] = struct.pack("<I", _ogg_crc(bytes(fixed[position:end])))
        position = end
    return bytes(fixed)


def _ogg_crc(page: bytes) -> int:
    crc = 0
    for byte in page:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC_TABLE[crc >> 24 ^ byte]
    return crc


def _crc_entry(byte: int) -> int:
    crc = byte << 24
    for _ in range(8):
        crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


_CRC_TABLE = [_crc_entry(byte) for byte in range(256)]


def _containers(value):
    if isinstance(value, dict | list):
        yield value
        for member in value.values() if isinstance(value, dict) else value:
            yield from _containers(member)


def _run(rng: np.random.Generator, content: bytes) -> tuple[int, int]:
    start = int(rng.integers(0, len(content) + 1))
    return start, min(len(content), start + int(2 ** rng.uniform(0, 12)))
