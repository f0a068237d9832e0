"""The audio of many speakers, as speech alone: int16 samples in a few flat files, and a compact index of them.

A partial utterance is a slice of a memory-mapped file: reading it neither decodes nor copies the rest, and costs the
same in a small corpus and in one of millions of utterances.
"""

import array
import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from speechtools.errors import CorpusError

#: Columns of a manifest. ``duration`` is that of the speech (s); ``shard`` is a file beside the manifest.
FIELDS = ["utt_id", "speaker", "path", "duration", "shard", "start", "samples"]


class Texts:
    """Many short texts as one block of bytes and their ends: a list of str would take five times the memory."""

    def __init__(self, texts: Iterable[str]):
        ends, block = array.array("q", [0]), bytearray()
        for text in texts:
            block += text.encode()
            ends.append(len(block))
        self.block, self.ends = bytes(block), np.frombuffer(ends, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, index: int) -> str:
        return self.block[self.ends[index] : self.ends[index + 1]].decode()

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return len(self.block) + self.ends.nbytes


class SpeakerStore:
    """The utterances of one split, sorted by speaker.

    Arguments
    ---------
    manifest : str or Path
        A CSV file with the columns ``FIELDS``, rows of one speaker together; the shards lie beside it.

    Attributes
    ----------
    speakers : list of str
        Names; a speaker's index in it is its label.
    first : np.ndarray
        (speakers + 1,): utterances ``first[k]`` to ``first[k + 1]`` are those of speaker k.
    num_samples : np.ndarray
        (utterances,)

    Raises
    ------
    CorpusError
        The manifest is missing or torn, or a shard is gone or shorter than the manifest says.
    """

    def __init__(self, manifest: str | Path):
        self.manifest = Path(manifest)
        shards: dict[str, int] = {}
        shard, start, samples = array.array("i"), array.array("q"), array.array("i")
        self.speakers: list[str] = []
        first = array.array("q")
        try:
            with open(self.manifest, newline="", encoding="utf-8") as stream:
                # One pass for the numbers and one for the names: no list of rows is ever held.
                for number, row in enumerate(csv.DictReader(stream)):
                    if not self.speakers or self.speakers[-1] != row["speaker"]:
                        self.speakers.append(row["speaker"])
                        first.append(number)
                    shard.append(shards.setdefault(row["shard"], len(shards)))
                    start.append(int(row["start"]))
                    samples.append(int(row["samples"]))
                stream.seek(0)
                self.utt_ids = Texts(row["utt_id"] for row in csv.DictReader(stream))
        except FileNotFoundError as error:
            raise CorpusError(f"There is no manifest {self.manifest}. Prepare the corpus again.") from error
        except (KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
            raise CorpusError(
                f"{self.manifest} is no manifest of speech ({type(error).__name__}: {error}). Delete it and prepare "
                "the corpus again: what is finished is kept."
            ) from error
        first.append(len(shard))
        if len(set(self.speakers)) < len(self.speakers):
            raise CorpusError(f"The rows of {self.manifest} are not sorted by speaker. Prepare the corpus again.")
        self.shard, self.start = np.frombuffer(shard, np.int32), np.frombuffer(start, np.int64)
        self.num_samples, self.first = np.frombuffer(samples, np.int32), np.frombuffer(first, np.int64)
        self._maps = [self._open(self.manifest.parent / name) for name in shards]
        needed = np.zeros(len(shards), dtype=np.int64)
        np.maximum.at(needed, self.shard, self.start + self.num_samples)
        # (shards,): in one pass, because a large corpus has thousands of them
        for name, samples, least in zip(shards, self._maps, needed.tolist(), strict=True):
            if len(samples) < least:
                raise CorpusError(
                    f"{self.manifest.parent / name} holds {len(samples)} samples and the manifest speaks of "
                    f"{least}: it was cut short. Delete that file and {self.manifest.name}, and prepare again."
                )

    @staticmethod
    def _open(path: Path) -> np.ndarray:
        """The samples of a shard, mapped and read-only: (samples,) int16."""
        try:
            whole = np.load(path, mmap_mode="r", allow_pickle=False)
            if whole.dtype != np.int16 or whole.ndim != 1:
                raise ValueError(f"{whole.dtype} of shape {whole.shape} instead of int16 of (samples,)")
            # Python's maps keep their file open, and a process may have no more than a thousand or so; torch's do not.
            header = whole.offset // whole.itemsize
            samples = torch.from_file(str(path), size=header + len(whole), dtype=torch.int16).numpy()[header:]
        except FileNotFoundError as error:
            raise CorpusError(f"The audio {path} is gone. Delete the manifests beside it and prepare again.") from error
        except (ValueError, EOFError) as error:
            raise CorpusError(
                f"The audio {path} cannot be opened ({error}): it was cut short. Delete it and the manifests beside "
                "it, and prepare again."
            ) from error
        except (OSError, RuntimeError) as error:  # of the machine, not of the file: there is nothing to delete
            raise CorpusError(
                f"The audio {path} cannot be mapped into memory ({error}). Mend its permissions or the limits of this "
                "process, and start again."
            ) from error
        samples.flags.writeable = False
        return samples

    def __len__(self) -> int:
        return len(self.num_samples)

    @property
    def index_bytes(self) -> int:
        """Bytes that the index takes in memory, without the names of the speakers."""
        arrays = (self.shard, self.start, self.num_samples, self.first)
        return sum(each.nbytes for each in arrays) + self.utt_ids.nbytes

    def speaker_of(self, utterance: int) -> int:
        """The label of an utterance's speaker."""
        return int(np.searchsorted(self.first, utterance, side="right")) - 1

    def read(self, utterance: int, start: int = 0, samples: int | None = None) -> np.ndarray:
        """Samples (samples,) of an utterance from ``start`` on, in [-1, 1), as a view of int16: multiply by 2 ** -15.

        An utterance that ends before is begun again: it is repeated until ``samples`` are filled.
        """
        held = int(self.num_samples[utterance])
        samples = held - start if samples is None else samples
        first = int(self.start[utterance])
        whole = self._maps[self.shard[utterance]][first : first + held]
        if start + samples <= held:
            return whole[start : start + samples]
        return whole.take(np.arange(start, start + samples), mode="wrap")
