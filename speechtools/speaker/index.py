"""Manifests of speech by speaker, and their index: numbers and names in flat files that are memory-mapped.

The index is made from the manifest in one pass, in constant memory, and is kept beside it in ``<manifest>.index``. A
corpus of a hundred million utterances then opens at once, and takes no more memory than what is read of it.
"""

import array
import contextlib
import itertools
import json
import operator
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from speechtools.core.checksums import LIST, find_damaged, write_checksums
from speechtools.core.errors import CorpusError
from speechtools.core.rows import Row, iterate_rows

#: The numbers of the index, and their types.
_NUMBERS = {"shard": "i", "start": "q", "samples": "i", "first": "q", "keyword": "i"}
_TEXTS = ("utt_ids", "speakers")
_VERSION = 3
#: Durations are written with three digits or more.
TOLERANCE_SECONDS = 1e-3
#: What the index takes of a row.
_COLUMNS = operator.attrgetter("utt_id", "speaker", "shard", "start", "samples", "keyword")
#: Rows that are collected before they are written.
_CHUNK = 10_000


@dataclass(frozen=True, kw_only=True)
class SpeakerRow(Row, manifest="speaker"):
    """An utterance of speech, whose samples are in a file with those of others.

    Attributes
    ----------
    utt_id, speaker, path : str
        The utterance, who speaks, and the recording that it was taken from.
    duration : float
        Of the samples (s).
    shard : str
        A ``.npy`` file of int16 samples, relative to the manifest.
    start, samples : int
        The first sample in it, and how many.
    keyword : str
        In a corpus of keywords, the one that is spoken.
    """

    key = "utt_id"

    utt_id: str
    speaker: str
    path: str
    duration: float
    shard: str
    start: int
    samples: int
    keyword: str = ""

    @classmethod
    def check_all(cls, rows: Sequence[Any], folder: Path) -> Iterator[tuple[int, str]]:
        """Check rows against their shards, against the sample rate in ``about.json``, and against each other."""
        rate = _sample_rate(folder)
        lengths: dict[str, int | str] = {}
        last_rows: dict[str, int] = {}  # by speaker
        for index, row in enumerate(rows):
            if last_rows.get(row.speaker, index - 1) != index - 1:
                yield index, f"speaker={row.speaker} also has rows further up. Keep the rows of a speaker together."
            last_rows[row.speaker] = index
            if row.shard not in lengths:
                lengths[row.shard] = _shard_length(folder / row.shard)
            length = lengths[row.shard]
            if isinstance(length, str):
                yield index, f"shard={row.shard} {length}."
            elif row.start < 0 or row.samples < 1 or row.start + row.samples > length:
                yield index, f"start={row.start}, samples={row.samples} are not within the {length} of {row.shard}."
            if row.duration <= 0 or (rate and abs(row.duration - row.samples / rate) > TOLERANCE_SECONDS):
                yield index, f"duration={row.duration} is not that of {row.samples} samples at {rate or 'any'} Hz."
            if bool(row.keyword) != bool(rows[0].keyword):
                yield index, "Some rows have a keyword and others none. Fill the column, or leave it out."
        if rows and len(last_rows) < 2:
            yield len(rows) - 1, f"speaker={rows[0].speaker} is the only speaker. Add rows of at least one other."


def _sample_rate(folder: Path) -> int | None:
    """The sample rate (Hz) that a preparation wrote beside its manifests, if there is one."""
    try:
        rate = json.loads((folder / "about.json").read_text(encoding="utf-8-sig"))["sample_rate"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return rate if type(rate) is int and rate > 0 else None


def _shard_length(path: Path) -> int | str:
    """The number of samples in a file, or what is wrong with it."""
    try:
        samples = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        return "does not exist"
    except Exception:  # whatever NumPy raises for a damaged header
        return "is damaged, or not a .npy file"
    is_flat = isinstance(samples, np.ndarray) and samples.dtype == np.int16 and samples.ndim == 1
    return len(samples) if is_flat else "does not contain int16 samples (samples,)"


@dataclass(frozen=True)
class Texts(Sequence[str]):
    """Many short texts as one block of bytes and their ends: a list of str would take five times the memory."""

    block: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: int) -> str:  # type: ignore[override]  # no slices
        if not 0 <= index < len(self):
            raise IndexError(f"text {index} of {len(self)}")
        return self.block[self.ends[index] : self.ends[index + 1]].tobytes().decode()


@dataclass(frozen=True)
class SpeakerIndex:
    """Where the samples of every utterance are, and whose they are; all arrays but ``needed`` are mapped files.

    Attributes
    ----------
    shard, start, samples, keyword : np.ndarray
        (utterances,): index of the file in ``shards``, first sample in it, number of samples, and index of the keyword
        in ``keywords``.
    first : np.ndarray
        (speakers + 1,): utterances ``first[k]`` to ``first[k + 1]`` are those of speaker k.
    utt_ids, speakers : Texts
    shards, keywords : list of str
    needed : np.ndarray
        (shards,): samples that each file must have.
    """

    shard: np.ndarray
    start: np.ndarray
    samples: np.ndarray
    keyword: np.ndarray
    first: np.ndarray
    utt_ids: Texts
    speakers: Texts
    shards: list[str]
    keywords: list[str]
    needed: np.ndarray
    temporary: object = field(default=None, repr=False)  # a folder that exists as long as this index

    def __len__(self) -> int:
        return len(self.samples)


def open_index(manifest: Path) -> SpeakerIndex:
    """Open the index of a manifest; make it first if it is missing or does not match the manifest.

    Raises
    ------
    CorpusError
        The manifest is missing, torn, or not sorted by speaker.
    """
    try:
        status = os.stat(manifest)
    except FileNotFoundError as error:
        raise CorpusError(f"The manifest {manifest} does not exist. Prepare the corpus again.") from error
    origin = [_VERSION, status.st_size, status.st_mtime_ns]
    folder = manifest.with_suffix(".index")
    index = read_index(folder, origin)
    if index is not None:
        return index
    try:
        aside = Path(tempfile.mkdtemp(prefix=".index-", dir=manifest.parent))
    except OSError:  # nothing can be written there: the index exists as long as the store
        temporary = tempfile.TemporaryDirectory(prefix="index-")
        write_index(Path(temporary.name), map(_COLUMNS, iterate_rows(manifest, SpeakerRow)), origin, manifest)
        index = read_index(Path(temporary.name), origin, temporary)
    else:
        try:
            write_index(aside, map(_COLUMNS, iterate_rows(manifest, SpeakerRow)), origin, manifest)
            os.chmod(aside, 0o755)
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # another process was faster; its index is the same
                os.rename(aside, folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        index = read_index(folder, origin)
    if index is None:
        raise CorpusError(f"{manifest} or its index {folder} changed while it was read. Start again.")
    return index


def write_index(folder: Path, rows: Iterable[tuple], origin: list, name: object = "The corpus") -> None:
    """Write the index of ``rows`` (utt_id, speaker, shard, start, samples, keyword), sorted by speaker.

    Memory is constant except for the names of the shards. ``name`` describes the rows in an error message.
    """
    shards: dict[str, int] = {}
    keywords: dict[str, int] = {}
    needed = array.array("q")
    rows, number, speaker = iter(rows), 0, None
    with contextlib.ExitStack() as stack:
        files = {key: stack.enter_context(open(folder / f"{key}.bin", "wb")) for key in _NUMBERS}
        texts = {key: stack.enter_context(_TextsWriter(folder, key)) for key in _TEXTS}
        # In columns: a hundred million rows, one by one, would take twice the time.
        while chunk := list(itertools.islice(rows, _CHUNK)):
            utt_ids, speakers, names, start, samples, words = zip(*chunk, strict=True)
            pairs = zip(speakers, (speaker, *speakers[:-1]), strict=True)
            begins = [k for k, (this, previous) in enumerate(pairs) if this != previous]
            speaker = speakers[-1]
            texts["utt_ids"].extend(utt_ids)
            texts["speakers"].extend([speakers[k] for k in begins])
            places = [shards.setdefault(name, len(shards)) for name in names]
            needed.extend([0] * (len(shards) - len(needed)))
            for place, end in zip(places, map(operator.add, start, samples), strict=True):
                needed[place] = max(needed[place], end)
            numbers = {
                "shard": places,
                "start": start,
                "samples": samples,
                "first": [number + k for k in begins],
                "keyword": [keywords.setdefault(word, len(keywords)) for word in words],
            }
            for key, values in numbers.items():
                array.array(_NUMBERS[key], values).tofile(files[key])
            number += len(chunk)
        array.array(_NUMBERS["first"], [number]).tofile(files["first"])
        needed.tofile(stack.enter_context(open(folder / "needed.bin", "wb")))
    about = {"origin": origin, "shards": list(shards), "keywords": list(keywords)}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    names_written = _texts(folder, "speakers")
    if len(set(names_written)) < len(names_written):
        raise CorpusError(f"The rows of {name} are not sorted by speaker. Prepare the corpus again.")
    write_checksums(folder, sorted(folder.iterdir()))


class _TextsWriter:
    """Append texts to the two files that :class:`Texts` maps."""

    def __init__(self, folder: Path, key: str):
        self.block, self.ends = open(folder / f"{key}.bin", "wb"), open(folder / f"{key}_ends.bin", "wb")
        self.end = 0
        array.array("q", [0]).tofile(self.ends)

    def __enter__(self) -> "_TextsWriter":
        return self

    def extend(self, texts: Iterable[str]) -> None:
        encoded = [text.encode() for text in texts]
        self.block.write(b"".join(encoded))
        ends = array.array("q", itertools.accumulate(map(len, encoded), initial=self.end))
        self.end = ends[-1]
        ends[1:].tofile(self.ends)

    def __exit__(self, *_) -> None:
        self.block.close()
        self.ends.close()


def read_index(folder: Path, origin: list, temporary: object = None) -> SpeakerIndex | None:
    """Read the index in a folder; None if there is none, if it is damaged, or if it was made from another ``origin``.

    The check of its files is a quick one, as in :func:`~speechtools.core.checksums.find_damaged`.
    """
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        if about["origin"] != origin or not (folder / LIST).exists() or find_damaged(folder):
            return None
        numbers: dict[str, Any] = {key: _mapped(folder / f"{key}.bin", kind) for key, kind in _NUMBERS.items()}
        texts: dict[str, Any] = {key: _texts(folder, key) for key in _TEXTS}
        needed = np.fromfile(folder / "needed.bin", np.int64)
        names = {key: about[key] for key in ("shards", "keywords")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError, CorpusError):  # damaged: it is made again
        return None
    return SpeakerIndex(**numbers, **texts, **names, needed=needed, temporary=temporary)


def _texts(folder: Path, key: str) -> Texts:
    return Texts(block=_mapped(folder / f"{key}.bin", "B"), ends=_mapped(folder / f"{key}_ends.bin", "q"))


def _mapped(path: Path, kind: str) -> np.ndarray:
    """A file of numbers, read-only; an empty one cannot be mapped."""
    if not path.stat().st_size:
        return np.zeros(0, np.dtype(kind))
    # As a plain array: indexing a single number of an np.memmap takes ten times as long.
    return np.asarray(np.memmap(path, np.dtype(kind), mode="r"))
