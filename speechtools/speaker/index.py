"""The index of a manifest of speech: numbers and names in flat files that are mapped, never read whole.

It is made from the manifest in one pass, in constant memory, and lies beside it in ``<manifest>.index``. A corpus of a
hundred million utterances then opens at once, and takes no more memory than what is looked at.
"""

import array
import contextlib
import csv
import itertools
import json
import operator
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from speechtools.core.errors import CorpusError

#: Columns of a manifest. ``duration`` is that of the speech (s); ``shard`` is a file beside the manifest. A manifest of
#: keywords has a column ``keyword`` besides.
FIELDS = ["utt_id", "speaker", "path", "duration", "shard", "start", "samples"]
#: The numbers of the index, and their types.
_NUMBERS = {"shard": "i", "start": "q", "samples": "i", "first": "q", "keyword": "h"}
_TEXTS = ("utt_ids", "speakers")
_VERSION = 1
#: Rows that are collected before they are written.
_CHUNK = 10_000


class Texts:
    """Many short texts as one block of bytes and their ends: a list of str would take five times the memory."""

    def __init__(self, texts: Iterable[str] = (), block: np.ndarray | None = None, ends: np.ndarray | None = None):
        if block is None:
            places, held = array.array("q", [0]), bytearray()
            for text in texts:
                held += text.encode()
                places.append(len(held))
            block, ends = np.frombuffer(bytes(held), np.uint8), np.frombuffer(places, np.int64)
        self.block, self.ends = block, ends

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: int) -> str:
        if not 0 <= index < len(self):
            raise IndexError(f"text {index} of {len(self)}")
        return self.block[self.ends[index] : self.ends[index + 1]].tobytes().decode()

    @property
    def nbytes(self) -> int:
        """Bytes of all texts and their ends."""
        return self.block.nbytes + self.ends.nbytes


@dataclass(frozen=True)
class SpeakerIndex:
    """Which samples of which file are whose utterance; all arrays but ``needed`` are mapped files.

    Attributes
    ----------
    shard, start, samples, keyword : np.ndarray
        (utterances,): number of the file in ``shards``, first sample in it, how many, and the number of the keyword in
        ``keywords``.
    first : np.ndarray
        (speakers + 1,): utterances ``first[k]`` to ``first[k + 1]`` are those of speaker k.
    utt_ids, speakers : Texts
    shards, keywords : list of str
    needed : np.ndarray
        (shards,): samples that each file must hold.
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
    temporary: object = field(default=None, repr=False)  # a folder that lives as long as this index

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def nbytes(self) -> int:
        """Bytes of the mapped files: as much memory as it takes once all of it has been looked at."""
        arrays = (self.shard, self.start, self.samples, self.keyword, self.first)
        return sum(each.nbytes for each in arrays) + self.utt_ids.nbytes + self.speakers.nbytes


def open_index(manifest: Path) -> SpeakerIndex:
    """The index of a manifest; made first where it is missing or older than the manifest.

    Raises
    ------
    CorpusError
        The manifest is missing, torn, or not sorted by speaker.
    """
    try:
        status = os.stat(manifest)
    except FileNotFoundError as error:
        raise CorpusError(f"There is no manifest {manifest}. Prepare the corpus again.") from error
    origin = [_VERSION, status.st_size, status.st_mtime_ns]
    folder = manifest.with_suffix(".index")
    index = read_index(folder, origin)
    if index is not None:
        return index
    try:
        aside = Path(tempfile.mkdtemp(prefix=".index-", dir=manifest.parent))
    except OSError:  # nothing can be written there: the index lives as long as the store
        temporary = tempfile.TemporaryDirectory(prefix="index-")
        write_index(Path(temporary.name), _rows(manifest), origin, manifest)
        return read_index(Path(temporary.name), origin, temporary)
    try:
        write_index(aside, _rows(manifest), origin, manifest)
        os.chmod(aside, 0o755)
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # another process was faster, and its index is as good
            os.rename(aside, folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    index = read_index(folder, origin)
    if index is None:
        raise CorpusError(f"{manifest} or its index in {folder} was changed while it was read. Start again.")
    return index


def write_index(folder: Path, rows: Iterable[tuple], origin: list, name: object = "The corpus") -> None:
    """Write the index of ``rows`` (utt_id, speaker, shard, start, samples, keyword), those of a speaker together.

    In constant memory, but for the names of the shards; ``name`` is what an error calls the rows.
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
            utt_ids, of, names, start, samples, words = zip(*chunk, strict=True)
            begins = [k for k, (this, last) in enumerate(zip(of, (speaker, *of[:-1]), strict=True)) if this != last]
            speaker = of[-1]
            texts["utt_ids"].extend(utt_ids)
            texts["speakers"].extend([of[k] for k in begins])
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
    names = _texts(folder, "speakers")
    if len({names[k] for k in range(len(names))}) < len(names):
        raise CorpusError(f"The rows of {name} are not sorted by speaker. Prepare the corpus again.")


class _TextsWriter:
    """Appends texts to two files, those that :class:`Texts` maps."""

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


def _rows(manifest: Path) -> Iterator[tuple]:
    """The rows of a manifest as :func:`write_index` takes them."""
    try:
        with open(manifest, newline="", encoding="utf-8") as stream:
            reader = csv.reader(stream)
            header = next(reader, [])
            utt_id, speaker, shard, start, samples = (
                header.index(name) for name in ("utt_id", "speaker", "shard", "start", "samples")
            )
            keyword = header.index("keyword") if "keyword" in header else None
            for row in reader:
                word = "" if keyword is None else row[keyword]
                yield row[utt_id], row[speaker], row[shard], int(row[start]), int(row[samples]), word
    except (IndexError, ValueError) as error:
        raise CorpusError(
            f"{manifest} is no manifest of speech ({type(error).__name__}: {error}). Delete it and prepare "
            "the corpus again: what is finished is kept."
        ) from error


def read_index(folder: Path, origin: list, temporary: object = None) -> SpeakerIndex | None:
    """The index in a folder; None where there is none that was made from ``origin``."""
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
        if about["origin"] != origin:
            return None
        numbers = {key: _mapped(folder / f"{key}.bin", kind) for key, kind in _NUMBERS.items()}
        texts = {key: _texts(folder, key) for key in _TEXTS}
        needed = np.fromfile(folder / "needed.bin", np.int64)
    except (OSError, ValueError, KeyError):
        return None
    return SpeakerIndex(
        **numbers,
        **texts,
        shards=about["shards"],
        keywords=about["keywords"],
        needed=needed,
        temporary=temporary,
    )


def _texts(folder: Path, key: str) -> Texts:
    return Texts(block=_mapped(folder / f"{key}.bin", "B"), ends=_mapped(folder / f"{key}_ends.bin", "q"))


def _mapped(path: Path, kind: str) -> np.ndarray:
    """A file of numbers, read-only; an empty one cannot be mapped."""
    if not path.stat().st_size:
        return np.zeros(0, np.dtype(kind))
    # As a plain array: every look at a single number of a np.memmap takes ten times as long.
    return np.asarray(np.memmap(path, np.dtype(kind), mode="r"))
