"""Corpora that are generated on first use: the plan of one, and its files on the disk."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from speechtools import audio
from speechtools.core.checks import check_number
from speechtools.core.checksums import LIST as CHECKSUMS
from speechtools.core.checksums import MISSING, find_damaged, write_checksums
from speechtools.core.errors import AudioError, SpeechtoolsError, first_of
from speechtools.core.files import disk_errors, write_aside
from speechtools.core.jobs import map_in_processes
from speechtools.core.rows import Row, write_rows
from speechtools.corpora._spoken import SAMPLE_RATE, Voice
from speechtools.corpora.espeak import Synthesizer
from speechtools.corpora.utterance import Utterance

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class SpokenRow(Row):
    """A row of the manifest of a generated corpus; ``path`` is inside the corpus, ``duration`` in seconds."""

    key = "utt_id"

    utt_id: str
    speaker: str
    split: str
    path: Path
    duration: float
    text: str


@dataclass(frozen=True, slots=True)
class Item:
    """One utterance to speak: everything that its samples depend on, and its path inside the corpus."""

    utt_id: str
    speaker: str
    relative: str
    voice: Voice
    text: str
    seed: tuple[int, ...]


def complete(
    folder: Path,
    plan: Sequence[Item],
    make: Callable[[Path, Item], None],
    readme: str,
    name: str,
    num_workers: int | None,
    megabytes: float,
    transcript: str = "",
) -> Iterator[Utterance]:
    """The utterances of a plan. Missing files are made now, and the manifest is written last.

    Parameters
    ----------
    folder, plan : Path, sequence of Item
        Where the corpus is kept, and what it consists of.
    make : callable
        Makes the file of an item in the folder, in other processes too.
    readme, name : str
        Text of README.txt, and the name of the corpus in messages.
    num_workers : int, optional
        Processes; by default one a core.
    megabytes : float
        Size of one utterance.
    transcript : str
        Suffix of the transcript that ``make`` writes beside the audio; empty for none.
    """
    changed = changed_files(folder, name)

    def is_whole(item: Item, seconds: float) -> bool:
        has_text = not transcript or (folder / item.relative).with_suffix(transcript).is_file()
        return seconds > 0 and has_text and item.relative not in changed

    durations = [whole_duration(folder / item.relative) for item in plan]  # s
    missing = [item for item, seconds in zip(plan, durations, strict=True) if not is_whole(item, seconds)]
    manifest, columns = folder / "manifest.csv", SpokenRow.columns()
    if missing or not os.path.isfile(manifest):
        if missing:
            Synthesizer()  # reports a missing package before any worker starts
        with writing(folder, name, len(missing) * megabytes):
            write_text(folder / "README.txt", readme)
            for _ in map_in_processes(partial(make, folder), missing, num_workers, f"Speaking the {name}"):
                pass
            durations = [whole_duration(folder / item.relative) for item in plan]
            listed = _utterances(Path(), plan, durations)
            write_rows(manifest, SpokenRow, (SpokenRow(**{key: getattr(u, key) for key in columns}) for u in listed))
    record_files(folder, [folder / item.relative for item in plan], again=bool(missing))
    return _utterances(folder, plan, durations)


def _utterances(folder: Path, plan: Sequence[Item], durations: Sequence[float]) -> Iterator[Utterance]:
    for item, seconds in zip(plan, durations, strict=True):
        yield Utterance(item.utt_id, item.speaker, item.voice.split, folder / item.relative, seconds, item.text)


def check_at_least(minimum: int, **options: int | None) -> None:
    """Raise ConfigError unless every option is None or a whole number of at least ``minimum``."""
    for name, value in options.items():
        if value is not None:
            check_number(name, value, minimum, whole=True)


def cache_folder(data_folder: str | Path | None) -> Path:
    """``data_folder``, or else the folder of SPEECHTOOLS_CACHE, or else ``~/.cache/speechtools``."""
    folder = data_folder or os.environ.get("SPEECHTOOLS_CACHE") or "~/.cache/speechtools"
    return Path(os.path.abspath(Path(folder).expanduser()))


def whole_duration(path: Path) -> float:
    """Seconds of an audio file that exists and is complete, 0 otherwise."""
    try:
        return audio.duration(path) if os.path.isfile(path) else 0.0
    except AudioError:  # truncated by a crash of the machine, or by hand: it is made again
        return 0.0


def changed_files(folder: Path, name: str) -> set[str]:
    """Files of a generated corpus that have changed since they were made, by relative path, with a warning.

    They are made again, so that the same options always give the same samples.
    """
    changed = {file for file, reason in find_damaged(folder).items() if reason != MISSING}
    if changed:
        logger.warning("These files of the %s in %s changed and are made again: %s", name, folder, first_of([*changed]))
    return changed


def record_files(folder: Path, paths: Sequence[Path], again: bool) -> None:
    """Write the checksums of a generated corpus, if they do not exist or ``again``."""
    if again or not (folder / CHECKSUMS).is_file():
        with contextlib.suppress(OSError):  # a folder that cannot be written is used without
            write_checksums(folder, paths)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_audio(path: Path, samples: np.ndarray) -> None:
    """Write audio at 16 kHz; an OSError passes, so that :func:`writing` reports it once for the whole corpus."""
    try:
        audio.write(path, samples, SAMPLE_RATE)
    except SpeechtoolsError as error:
        if isinstance(error.__cause__, OSError):
            raise error.__cause__ from None
        raise


def writing(folder: Path, name: str, megabytes: float) -> AbstractContextManager[None]:
    """A block that writes the files of a generated corpus; an OSError in it becomes a CorpusError."""
    remedy = (
        "Files already made are kept: free the space, or choose another place with data_folder or the environment "
        "variable SPEECHTOOLS_CACHE, and start again."
    )
    return disk_errors(f"the {name} in {folder}", remedy, megabytes)
