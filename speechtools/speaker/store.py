"""The audio of many speakers, as speech alone: int16 samples in a few flat files, and a compact index of them.

A partial utterance is a slice of a memory-mapped file: reading it neither decodes nor copies the rest. A corpus of more
files than can be mapped is read piece by piece instead, so that its memory does not grow with what has been read.
"""

import contextlib
import io
import os
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from speechtools.core.errors import CorpusError
from speechtools.core.rows import write_rows
from speechtools.speaker.index import SpeakerIndex, SpeakerRow, open_index

#: Files of audio that are mapped; Linux lets a process have 65,530 maps. Of a store of more files, none is.
MAX_MAPS = 16384
#: Files that are held open of a store whose files are not mapped; a speaker's utterances lie in one or two.
MAX_OPEN = 4
#: How np.save begins a file of int16 (samples,).
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
        Of the manifest, where it is open already.

    Attributes
    ----------
    speakers : list of str
        Names; a speaker's index in it is its label.
    first : np.ndarray
        (speakers + 1,): utterances ``first[k]`` to ``first[k + 1]`` are those of speaker k.
    num_samples : np.ndarray
        (utterances,)
    keyword : np.ndarray
        (utterances,): index of what is said in ``keywords``; a single empty one where the manifest does not tell.

    Raises
    ------
    CorpusError
        The manifest is missing or torn, or a shard is gone or shorter than the manifest says.
    """

    def __init__(self, manifest: str | Path, index: SpeakerIndex | None = None):
        self.manifest = Path(manifest)
        self.index = index or open_index(self.manifest)
        self.speakers = [self.index.speakers[k] for k in range(len(self.index.speakers))]
        self.utt_ids, self.keywords = self.index.utt_ids, self.index.keywords
        self.first, self.num_samples, self.keyword = self.index.first, self.index.samples, self.index.keyword
        self._maps: dict[int, np.ndarray] = {}
        self._files: OrderedDict[int, tuple[io.FileIO, int]] = OrderedDict()  # open ones, and where their samples begin
        for shard in range(min(len(self.index.shards), MAX_MAPS)):  # what is damaged is told at once
            if len(self.index.shards) <= MAX_MAPS:
                self._maps[shard] = self._mapped(shard)
            else:
                self._opened(shard)

    def _mapped(self, shard: int) -> np.ndarray:
        """The samples of a shard, mapped and read-only: (samples,) int16."""
        with self._told(shard) as path:
            with open(path, "rb", buffering=0) as stream:
                begin, num_samples = self._layout(shard, path, stream)
            # Python's maps keep their file open, and a process may have no more than a thousand or so; torch's do not.
            samples = torch.from_file(str(path), size=begin + num_samples, dtype=torch.int16).numpy()[begin:]
            samples.flags.writeable = False
            return samples

    def _opened(self, shard: int) -> tuple[io.FileIO, int]:
        """The open file of a shard and where in it the samples begin, in samples."""
        if shard not in self._files:
            with self._told(shard) as path:
                stream = open(path, "rb", buffering=0)
                self._files[shard] = stream, self._layout(shard, path, stream)[0]
            if len(self._files) > MAX_OPEN:
                self._files.popitem(last=False)[1][0].close()
        return self._files[shard]

    def _piece(self, shard: int, first: int, samples: int) -> np.ndarray:
        """Samples (samples,) of a shard from ``first`` on, read-only."""
        if self._maps:
            return self._maps[shard][first : first + samples]
        stream, begin = self._opened(shard)
        # Not by the file's own position, which loader processes have in common.
        return np.frombuffer(os.pread(stream.fileno(), 2 * samples, 2 * (begin + first)), np.int16)

    def _layout(self, shard: int, path: Path, stream: io.FileIO) -> tuple[int, int]:
        """Where in a shard's file the samples begin, in samples, and how many they are."""
        found, size = _HEADER.match(stream.read(256)), os.fstat(stream.fileno()).st_size
        if found and found.end() % 2 == 0 and found.end() + 2 * int(found[1]) <= size:
            begin, num_samples = found.end() // 2, int(found[1])
        else:  # takes ten times as long: for other versions of the layout, and to tell what is wrong
            whole = np.load(path, mmap_mode="r", allow_pickle=False)
            if whole.dtype != np.int16 or whole.ndim != 1:
                raise ValueError(f"{whole.dtype} of shape {whole.shape} instead of int16 of (samples,)")
            begin, num_samples = whole.offset // whole.itemsize, len(whole)
        least = int(self.index.needed[shard])
        if num_samples < least:
            raise CorpusError(
                f"{path} holds {num_samples} samples and the manifest speaks of {least}: it was cut short. Delete "
                f"that file and {self.manifest.name}, and prepare again."
            )
        return begin, num_samples

    @contextlib.contextmanager
    def _told(self, shard: int) -> Iterator[Path]:
        """The path of a shard; what is wrong with the file is told as CorpusError."""
        path = self.manifest.parent / self.index.shards[shard]
        try:
            yield path
        except CorpusError:
            raise
        except FileNotFoundError as error:
            raise CorpusError(f"The audio {path} is gone. Delete the manifests beside it and prepare again.") from error
        except (ValueError, EOFError) as error:
            raise CorpusError(
                f"The audio {path} cannot be opened ({error}): it was cut short. Delete it and the manifests beside "
                "it, and prepare again."
            ) from error
        except (OSError, RuntimeError) as error:  # of the machine, not of the file: there is nothing to delete
            raise CorpusError(
                f"The audio {path} cannot be read or mapped into memory ({error}). Mend its permissions or the limits "
                "of this process, and start again."
            ) from error

    def __len__(self) -> int:
        return len(self.num_samples)

    @property
    def index_bytes(self) -> int:
        """Bytes of the mapped index: what it takes in memory once all of it has been looked at."""
        return self.index.nbytes

    def speaker_of(self, utterance: int) -> int:
        """The label of an utterance's speaker."""
        return int(np.searchsorted(self.first, utterance, side="right")) - 1

    def read(self, utterance: int, start: int = 0, samples: int | None = None) -> np.ndarray:
        """Samples (samples,) of an utterance from ``start`` on, in [-1, 1), as a view of int16: multiply by 2 ** -15.

        An utterance that ends before is begun again: it is repeated until ``samples`` are filled.
        """
        held = int(self.num_samples[utterance])
        samples = held - start if samples is None else samples
        shard, first = int(self.index.shard[utterance]), int(self.index.start[utterance])
        if start + samples <= held:
            return self._piece(shard, first + start, samples)
        return self._piece(shard, first, held).take(np.arange(start, start + samples), mode="wrap")


def store_of(
    folder: str | Path, utterances: Mapping[str, Sequence[np.ndarray]], sample_rate: int = 16000
) -> SpeakerStore:
    """A small store of waveforms in memory, written to ``folder``: for examples and trials of a reader.

    Parameters
    ----------
    utterances : mapping
        By speaker: int16 (samples,) each.

    Example
    -------
    >>> import tempfile
    >>> store_of(tempfile.mkdtemp(), {"anna": [np.ones(500, np.int16), np.ones(700, np.int16)]}).num_samples.tolist()
    [500, 700]
    """
    folder, start = Path(folder), 0
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for speaker, waveforms in utterances.items():
        for number, samples in enumerate(waveforms):
            rows.append(
                SpeakerRow(
                    utt_id=f"{speaker}-{number}",
                    speaker=speaker,
                    path="x.wav",
                    duration=len(samples) / sample_rate,
                    shard="a.npy",
                    start=start,
                    samples=len(samples),
                )
            )
            start += len(samples)
    np.save(folder / "a.npy", np.concatenate([each for waveforms in utterances.values() for each in waveforms]))
    write_rows(folder / "train.csv", SpeakerRow, rows)
    return SpeakerStore(folder / "train.csv")
