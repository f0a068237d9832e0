"""The speech of many speakers: int16 samples in a few flat files, and a compact index of them.

A partial utterance is a slice of a memory-mapped file: reading it neither decodes nor copies the rest. A corpus with
more files than can be mapped is read slice by slice instead, in constant memory.
"""

import contextlib
import io
import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechtools.core.errors import CorpusError
from speechtools.core.rows import write_rows
from speechtools.speaker.index import SpeakerIndex, SpeakerRow, open_index

#: A store with more files is not mapped; Linux limits a process to 65,530 maps.
MAX_MAPS = 16384
#: Open files of a store that is not mapped; a speaker's utterances are in one or two.
MAX_OPEN = 4
#: Header that np.save writes for int16 (samples,).
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<i2', 'fortran_order': False, 'shape': \((\d+),\), \} *\n", re.DOTALL
)


class SpeakerStore:
    """The utterances of one split, sorted by speaker.

    Parameters
    ----------
    manifest : str or Path
        A CSV file of :class:`~speechtools.speaker.index.SpeakerRow`, sorted by speaker; the shards are beside it.
    index : SpeakerIndex
        That of the manifest, if it is open already.

    Attributes
    ----------
    speakers : list of str
        Names; a speaker's index in this list is its label.
    first : np.ndarray
        (speakers + 1,): utterances ``first[k]`` to ``first[k + 1]`` are those of speaker k.
    num_samples : np.ndarray
        (utterances,)
    keyword : np.ndarray
        (utterances,): index into ``keywords``, which is a single empty text if the manifest has no keywords.
    num_versions : int
        How many times the speech is there: 1, and one more for each degraded copy of all utterances.
    targets : np.ndarray or None
        (utterances, voices, size): d-vectors of a teacher; see :mod:`speechtools.speaker.teacher`.

    Raises
    ------
    CorpusError
        The manifest is missing or torn, or a shard is missing or shorter than the manifest says.
    """

    def __init__(self, manifest: str | Path, index: SpeakerIndex | None = None):
        self.manifest = Path(manifest)
        self.index = index or open_index(self.manifest)
        self.speakers = [self.index.speakers[k] for k in range(len(self.index.speakers))]
        self.utt_ids, self.keywords = self.index.utt_ids, self.index.keywords
        self.first, self.num_samples, self.keyword = self.index.first, self.index.samples, self.index.keyword
        self.targets: np.ndarray | None = None
        self.num_versions = 1
        while self.index.shards and version_path(self._path(0), self.num_versions).exists():
            self.num_versions += 1
        self._maps: dict[tuple[int, int], np.ndarray] = {}  # by shard and version
        # open ones, and where their samples start
        self._files: OrderedDict[tuple[int, int], tuple[io.FileIO, int]] = OrderedDict()
        count = self.num_versions * len(self.index.shards)
        for number in range(min(count, MAX_MAPS)):  # reports damage at once
            place = divmod(number, self.num_versions)
            if count <= MAX_MAPS:
                self._maps[place] = self._mapped(*place)
            else:
                self._opened(*place)

    def _path(self, shard: int) -> Path:
        return self.manifest.parent / self.index.shards[shard]

    def _mapped(self, shard: int, version: int) -> np.ndarray:
        """The samples of a shard, mapped and read-only: (samples,) int16."""
        with self._errors(shard, version) as path:
            with open(path, "rb", buffering=0) as stream:
                begin, num_samples = self._layout(shard, path, stream)
            # Python's maps keep their file open, of which a process may have about a thousand; torch's do not.
            samples = torch.from_file(str(path), size=begin + num_samples, dtype=torch.int16).numpy()[begin:]
            samples.flags.writeable = False
            return samples

    def _opened(self, shard: int, version: int) -> tuple[io.FileIO, int]:
        """The open file of a shard and the offset of its first sample, in samples."""
        place = shard, version
        if place not in self._files:
            with self._errors(shard, version) as path:
                stream = open(path, "rb", buffering=0)
                self._files[place] = stream, self._layout(shard, path, stream)[0]
            if len(self._files) > MAX_OPEN:
                self._files.popitem(last=False)[1][0].close()
        return self._files[place]

    def _slice(self, shard: int, version: int, first: int, samples: int) -> np.ndarray:
        """Samples (samples,) of a shard from ``first`` on, read-only."""
        if self._maps:
            return self._maps[shard, version][first : first + samples]
        stream, begin = self._opened(shard, version)
        # Independent of the position in the file, which loader processes share.
        return np.frombuffer(os.pread(stream.fileno(), 2 * samples, 2 * (begin + first)), np.int16)

    def _layout(self, shard: int, path: Path, stream: io.FileIO) -> tuple[int, int]:
        """The offset of the first sample in a shard's file, in samples, and the number of samples."""
        header, size = _HEADER.match(stream.read(256)), os.fstat(stream.fileno()).st_size
        if header and header.end() % 2 == 0 and header.end() + 2 * int(header[1]) <= size:
            begin, num_samples = header.end() // 2, int(header[1])
        else:  # ten times slower: for other versions of the layout, and to find out what is wrong
            whole = np.load(path, mmap_mode="r", allow_pickle=False)
            if whole.dtype != np.int16 or whole.ndim != 1:
                raise ValueError(f"{whole.dtype} of shape {whole.shape} instead of int16 of (samples,)")
            begin, num_samples = whole.offset // whole.itemsize, len(whole)
        needed = int(self.index.needed[shard])
        if num_samples < needed:
            raise CorpusError(
                f"{path} has {num_samples} samples, but the manifest needs {needed}: it was truncated. Delete it and "
                f"{self.manifest.name}, and prepare again."
            )
        return begin, num_samples

    @contextlib.contextmanager
    def _errors(self, shard: int, version: int) -> Iterator[Path]:
        """Yield the path of a shard; any error of its file in the block becomes a CorpusError."""
        path = version_path(self._path(shard), version)
        try:
            yield path
        except CorpusError:
            raise
        except FileNotFoundError as error:
            raise CorpusError(f"The audio {path} is missing. Delete its manifests and prepare again.") from error
        except (OSError, RuntimeError) as error:  # an error of the machine: the file is intact
            raise CorpusError(f"The audio {path} cannot be read or mapped into memory: {error}") from error
        except Exception as error:  # whatever NumPy raises for a damaged header
            raise CorpusError(
                f"The audio {path} is damaged ({error}). Delete it and the manifests beside it, and prepare again."
            ) from error

    def __len__(self) -> int:
        return len(self.num_samples)

    def speaker_of(self, utterance: int) -> int:
        """The label of an utterance's speaker."""
        return int(np.searchsorted(self.first, utterance, side="right")) - 1

    def read(self, utterance: int, start: int = 0, samples: int | None = None, version: int = 0) -> np.ndarray:
        """int16 samples (samples,) of an utterance from ``start`` on, as a read-only view where possible.

        Multiply them by 2 ** -15 for floats in [-1, 1). A shorter utterance is repeated until ``samples`` are filled.
        Version 0 is the recording, the others are degraded copies, in which everything is at the same place.
        """
        length = int(self.num_samples[utterance])
        samples = length - start if samples is None else samples
        shard, first = int(self.index.shard[utterance]), int(self.index.start[utterance])
        if start + samples <= length:
            return self._slice(shard, version, first + start, samples)
        return self._slice(shard, version, first, length).take(np.arange(start, start + samples), mode="wrap")


def version_path(shard: Path, version: int) -> Path:
    """The file of a version of a shard: ``train-0.npy``, ``train-0.1.npy`` and so on.

    >>> version_path(Path("shards/train-0.npy"), 2).name
    'train-0.2.npy'
    """
    return shard.with_suffix(f".{version}.npy") if version else shard


def store_of(
    folder: str | Path, utterances: Mapping[str, Sequence[np.ndarray]], sample_rate: int = 16000
) -> SpeakerStore:
    """A small store of waveforms, written to ``folder``, for examples and tests.

    Parameters
    ----------
    utterances : mapping
        By speaker: arrays of int16 (samples,).

    Examples
    --------
    >>> import tempfile
    >>> store_of(tempfile.mkdtemp(), {"anna": [np.ones(500, np.int16), np.ones(700, np.int16)]}).num_samples.tolist()
    [500, 700]
    """
    folder, start = Path(folder), 0
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for speaker, waveforms in utterances.items():
        for number, samples in enumerate(waveforms):
            place: dict[str, Any] = {"shard": "a.npy", "start": start, "samples": len(samples)}
            duration = len(samples) / sample_rate
            rows.append(
                SpeakerRow(utt_id=f"{speaker}-{number}", speaker=speaker, path="x.wav", duration=duration, **place)
            )
            start += len(samples)
    np.save(folder / "a.npy", np.concatenate([samples for waveforms in utterances.values() for samples in waveforms]))
    write_rows(folder / "train.csv", SpeakerRow, rows)
    return SpeakerStore(folder / "train.csv")
