"""The audio of many speakers, as speech alone: int16 samples in a few flat files, and a compact index of them.

A partial utterance is a slice of a memory-mapped file: reading it neither decodes nor copies the rest, and costs the
same in a small corpus and in one of millions of utterances.
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

from speechtools.data.speaker_index import SpeakerIndex, open_index
from speechtools.errors import CorpusError

#: Files of audio that are mapped at one time: a process may have some ten thousands of maps.
MAX_MAPS = 4096


class SpeakerStore:
    """The utterances of one split, sorted by speaker.

    Arguments
    ---------
    manifest : str or Path
        A CSV file with the columns ``FIELDS``, rows of one speaker together; the shards lie beside it.
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
        self._maps: OrderedDict[int, np.ndarray] = OrderedDict()
        for shard in range(min(len(self.index.shards), MAX_MAPS)):
            self._map(shard)  # what is damaged is told at once

    def _map(self, shard: int) -> np.ndarray:
        """The samples of a shard; of more than ``MAX_MAPS``, the one that was used least lately is let go."""
        if shard in self._maps:
            self._maps.move_to_end(shard)
            return self._maps[shard]
        path, least = self.manifest.parent / self.index.shards[shard], int(self.index.needed[shard])
        samples = self._open(path)
        if len(samples) < least:
            raise CorpusError(
                f"{path} holds {len(samples)} samples and the manifest speaks of {least}: it was cut short. Delete "
                f"that file and {self.manifest.name}, and prepare again."
            )
        self._maps[shard] = samples
        if len(self._maps) > MAX_MAPS:
            self._maps.popitem(last=False)
        return samples

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
        first = int(self.index.start[utterance])
        whole = self._map(int(self.index.shard[utterance]))[first : first + held]
        if start + samples <= held:
            return whole[start : start + samples]
        return whole.take(np.arange(start, start + samples), mode="wrap")
