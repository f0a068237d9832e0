"""Who speaks when: turns, and their exchange as RTTM files.

RTTM (rich transcription time marked) is the text format of NIST's evaluations, which tools for diarization read and
write: a line for each turn with the recording, the start, the duration and the speaker.
"""

import bisect
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from speechtools.core.errors import CorpusError, printable
from speechtools.core.files import write_aside

#: Fields of a line of RTTM: type, file, channel, start, duration, two unused, name, and two that may be missing.
_MIN_FIELDS = 8


class Turn(NamedTuple):
    """A stretch of speech of one speaker.

    Attributes
    ----------
    start, end : float
        In seconds.
    speaker : str
        Name of the speaker.

    Examples
    --------
    >>> Turn(0.5, 2.0, "anna").duration
    1.5
    """

    start: float
    end: float
    speaker: str

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.end - self.start


def join_turns(turns: Iterable[Turn], max_gap: float = 0.0) -> list[Turn]:
    """Join the turns of a speaker that overlap, or are less than ``max_gap`` (s) apart. Sorted by start.

    >>> join_turns([Turn(0.0, 1.0, "a"), Turn(1.2, 2.0, "a"), Turn(0.5, 1.5, "b")], 0.3)
    [Turn(start=0.0, end=2.0, speaker='a'), Turn(start=0.5, end=1.5, speaker='b')]
    """
    joined: list[Turn] = []
    last: dict[str, int] = {}
    for turn in sorted(turns):
        index = last.get(turn.speaker)
        if index is not None and turn.start - joined[index].end <= max_gap:
            joined[index] = joined[index]._replace(end=max(joined[index].end, turn.end))
        else:
            last[turn.speaker] = len(joined)
            joined.append(turn)
    return joined


def place_changes(
    turns: Sequence[Turn], pauses: Sequence[tuple[float, float]], reach: float, overlap: float
) -> list[Turn]:
    """Place the changes of speaker between turns that follow each other immediately.

    Where there is a pause near a change, it lies between the two turns: the longest one. Where there is none, the
    turns met or overlapped, and both are extended over the change, by half their length at most.

    Parameters
    ----------
    turns : sequence of Turn
        Sorted by start, one speaker at a time.
    pauses : sequence of tuple of float
        Start and end (s) of the pauses, in ascending order.
    reach : float
        How far (s) from a change a pause may be.
    overlap : float
        By how much (s) both turns are extended.

    Examples
    --------
    >>> turns = [Turn(0.0, 3.0, "a"), Turn(3.0, 6.0, "b"), Turn(6.0, 9.0, "a")]
    >>> for turn in place_changes(turns, [(3.1, 3.25)], 0.4, 0.5):
    ...     print(turn)
    Turn(start=0.0, end=3.1, speaker='a')
    Turn(start=3.25, end=6.5, speaker='b')
    Turn(start=5.5, end=9.0, speaker='a')
    """
    spans = [[turn.start, turn.end] for turn in turns]
    for index, (first, second) in enumerate(itertools.pairwise(turns)):
        if first.speaker == second.speaker or second.start > first.end:
            continue
        change = first.end
        earliest = bisect.bisect_right(pauses, change - reach, key=lambda pause: pause[1])
        latest = bisect.bisect_left(pauses, change + reach, key=lambda pause: pause[0])
        near = [pause for pause in pauses[earliest:latest] if spans[index][0] < pause[0] and pause[1] < second.end]
        if near:
            spans[index][1], spans[index + 1][0] = max(near, key=lambda pause: pause[1] - pause[0])
        else:
            more = min(overlap, first.duration / 2, second.duration / 2)
            spans[index][1], spans[index + 1][0] = change + more, max(change - more, spans[index][0])
    placed = [Turn(start, end, turn.speaker) for turn, (start, end) in zip(turns, spans, strict=True) if start < end]
    return join_turns(placed)


def rttm_name(name: str) -> str:
    """A name as RTTM can hold it: white space, which separates its fields, becomes an underscore.

    >>> rttm_name("Anna Maria")
    'Anna_Maria'
    """
    return printable(re.sub(r"\s", "_", name)) or "_"


def rttm_lines(recording: str, turns: Iterable[Turn]) -> Iterator[str]:
    """The lines of RTTM for a recording, with line ends; times in milliseconds.

    >>> print(*rttm_lines("meeting", [Turn(0.5, 2.0, "anna")]), sep="")
    SPEAKER meeting 1 0.500 1.500 <NA> <NA> anna <NA> <NA>
    <BLANKLINE>
    """
    for turn in turns:
        # The end is rounded, not the duration: turns that touch still do.
        start, end = round(turn.start, 3), round(turn.end, 3)
        name = rttm_name(turn.speaker)
        yield f"SPEAKER {rttm_name(recording)} 1 {start:.3f} {end - start:.3f} <NA> <NA> {name} <NA> <NA>\n"


def write_rttm(path: str | Path, recordings: Mapping[str, Sequence[Turn]]) -> None:
    """Write the turns of recordings, by their names, to an RTTM file. A recording without turns has no line."""
    with write_aside(path) as aside, open(aside, "w", encoding="utf-8", errors="backslashreplace") as stream:
        for recording, turns in recordings.items():
            stream.writelines(rttm_lines(recording, turns))


def read_rttm(path: str | Path) -> dict[str, list[Turn]]:
    """Read the turns of an RTTM file, by recording; lines of other types than SPEAKER are skipped.

    Raises
    ------
    CorpusError
        The file cannot be read, or a line is malformed.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path} cannot be read ({error}). Pass the path of an RTTM file.") from error
    recordings: dict[str, list[Turn]] = {}
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields or fields[0].startswith((";", "#")) or fields[0].upper() != "SPEAKER":
            continue
        try:
            if len(fields) < _MIN_FIELDS:
                raise ValueError
            start, duration = float(fields[3]), float(fields[4])
            if not (0 <= start < float("inf") and 0 <= duration < float("inf")):
                raise ValueError
        except ValueError as error:
            raise CorpusError(
                f"Line {number} of {path} is {printable(line)[:100]!r} instead of `SPEAKER recording channel start "
                "duration <NA> <NA> speaker <NA> <NA>`."
            ) from error
        recordings.setdefault(fields[1], []).append(Turn(start, start + duration, fields[7]))
    return recordings
