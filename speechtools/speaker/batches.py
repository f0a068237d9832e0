"""Batches of N speakers with M utterances each (GE2E paper, sections 2.1 and 3.2, figure 3)."""

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from speechtools.core.errors import ConfigError, CorpusError
from speechtools.core.jobs import cores_left
from speechtools.speaker.store import SpeakerStore

logger = logging.getLogger(__name__)

_SCALE = 2.0**-15


@dataclass
class SpeakerBatch:
    """Waveforms and the labels of their speakers.

    ``wavs`` is (batch, samples) in training, speaker after speaker; of whole utterances it is a list of (samples,). The
    loader has 16 bit integers, of which ``to`` makes floats from -1 to 1, on the device: half as much to be copied.
    """

    wavs: Tensor | list[Tensor]
    speakers: Tensor

    def to(self, device) -> "SpeakerBatch":
        """The same on a device, as floats."""
        if isinstance(self.wavs, Tensor):
            wavs = _floats(self.wavs.to(device, non_blocking=True))
        else:
            wavs = [_floats(wav.to(device, non_blocking=True)) for wav in self.wavs]
        return SpeakerBatch(wavs, self.speakers.to(device, non_blocking=True))

    def pin_memory(self) -> "SpeakerBatch":
        """The same in memory from which a GPU copies fast."""
        wavs = self.wavs.pin_memory() if isinstance(self.wavs, Tensor) else [wav.pin_memory() for wav in self.wavs]
        return SpeakerBatch(wavs, self.speakers.pin_memory())


def _floats(samples: Tensor) -> Tensor:
    """Samples of 16 bit as floats from -1 to 1; floats as they are."""
    return samples if samples.is_floating_point() else samples.float().mul_(_SCALE)


@dataclass(frozen=True)
class Plan:
    """Which parts of which utterances make a batch: (N * M,) utterances and starts, and their common length."""

    utterances: np.ndarray
    starts: np.ndarray
    samples: int


class SpeakerBatches(Dataset):
    """Batch number ``step``, for any step: N speakers, M partial utterances of each, all of one length.

    A batch depends on the seed and its number alone, so a run goes on exactly where it was; and drawing it costs the
    same however large the corpus is. The rules:

    - a pass goes through all speakers in a drawn order, N at a time; those left over at its end, fewer than N, come in
      other passes, for each has an order of its own;
    - M utterances of each are drawn without replacement; a speaker with fewer than M has each of them before any a
      second time, in other parts;
    - the length is drawn once a batch, and each part's beginning uniformly from where the whole part fits;
    - an utterance shorter than that is repeated, from a drawn place on, until the length is filled;
    - with several processes, all go through the same order, ``world_size * N`` at a time, and each takes N of its own.

    Parameters
    ----------
    store : SpeakerStore
    num_speakers, num_utterances : int
        N and M, of each process (the paper: 64 and 10).
    min_samples, max_samples, step_samples : int
        The length of the parts: from, to and in steps of.
    seed, rank, world_size : int

    Raises
    ------
    ConfigError
        N or M is less than 2, or the corpus has too few speakers.
    CorpusError
        The corpus has one speaker, or no two speakers with two utterances.
    """

    def __init__(
        self,
        store: SpeakerStore,
        num_speakers: int = 64,
        num_utterances: int = 10,
        min_samples: int = 22640,
        max_samples: int = 29040,
        step_samples: int = 160,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ):
        if num_speakers < 2:
            raise ConfigError(
                f"GE2E tells speakers from each other, so a batch needs at least 2; got {num_speakers}. "
                "Raise speakers_per_batch."
            )
        if num_utterances < 2:
            raise ConfigError(
                f"GE2E leaves one utterance out of its own centroid, so a speaker needs at least 2; got "
                f"{num_utterances}. Raise utterances_per_speaker."
            )
        if not 0 < min_samples <= max_samples or step_samples < 1:
            raise ConfigError(
                f"Partial utterances of {min_samples} to {max_samples} samples in steps of {step_samples} cannot be "
                "drawn: give min_frames of at least 1 and max_frames no smaller."
            )
        counts = np.diff(store.first)
        self.usable = np.flatnonzero(counts >= 2)
        if len(self.usable) < 2:
            raise CorpusError(
                f"{store.manifest} has {len(counts)} speakers, of which {len(self.usable)} have two utterances or "
                "more, and at least 2 such are needed to tell voices apart. Use a corpus of more speakers."
            )
        single = len(counts) - len(self.usable)
        if single:
            some = [store.speakers[k] for k in np.flatnonzero(counts < 2)[:5]]
            logger.warning(
                "%d of %d training speakers have a single utterance and are left out: %s%s",
                single,
                len(counts),
                ", ".join(some),
                " …" if single > len(some) else "",
            )
        if len(self.usable) < num_speakers * world_size:
            raise ConfigError(
                f"{num_speakers} speakers a batch of each of {world_size} process(es), but the training set has only "
                f"{len(self.usable)} speakers with two utterances or more. Lower speakers_per_batch."
            )
        self.store, self.seed, self.rank, self.world_size = store, seed, rank, world_size
        self.num_speakers, self.num_utterances = num_speakers, num_utterances
        self.min_samples, self.max_samples, self.step_samples = min_samples, max_samples, step_samples
        self._order: tuple[int, np.ndarray] = (-1, self.usable)  # number of the latest pass, and its order

    @property
    def steps_per_pass(self) -> int:
        """Steps in which every speaker comes at most once."""
        return len(self.usable) // (self.num_speakers * self.world_size)

    def _speakers(self, step: int) -> np.ndarray:
        """The speakers (num_speakers,) of this process."""
        number, place = divmod(step, self.steps_per_pass)
        if self._order[0] != number:
            self._order = number, np.random.default_rng([self.seed, number, 0, 1]).permutation(self.usable)
        first = (place * self.world_size + self.rank) * self.num_speakers
        return self._order[1][first : first + self.num_speakers]

    def plan(self, step: int) -> Plan:
        """What batch ``step`` of this process is made of."""
        rng = np.random.default_rng([self.seed, step])
        samples = self.min_samples + self.step_samples * int(
            rng.integers(0, (self.max_samples - self.min_samples) // self.step_samples + 1)
        )
        rng = np.random.default_rng([self.seed, step, 1 + self.rank])
        utterances = np.concatenate([self._utterances(rng, speaker) for speaker in self._speakers(step)])
        # (speakers * utterances,)
        held = self.store.num_samples[utterances]
        # One place more than the last whole part; in short utterances any place.
        places = np.where(held >= samples, held - samples + 1, held)
        return Plan(utterances, rng.integers(0, places), samples)

    def _utterances(self, rng: np.random.Generator, speaker: int) -> np.ndarray:
        first, count = int(self.store.first[speaker]), int(self.store.first[speaker + 1] - self.store.first[speaker])
        needed, drawn = self.num_utterances, []
        while needed:
            drawn.append(rng.choice(count, min(count, needed), replace=False))
            needed -= len(drawn[-1])
        return first + np.concatenate(drawn)

    def __getitem__(self, step: int) -> SpeakerBatch:
        plan = self.plan(step)
        wavs = np.empty((len(plan.utterances), plan.samples), dtype=np.int16)
        for row, utterance, start in zip(wavs, plan.utterances.tolist(), plan.starts.tolist(), strict=True):
            row[:] = self.store.read(utterance, start, plan.samples)
        firsts = plan.utterances[:: self.num_utterances]
        speakers = np.searchsorted(self.store.first, firsts, side="right") - 1
        # (speakers,)
        return SpeakerBatch(torch.from_numpy(wavs), torch.from_numpy(speakers))


class StepSampler(Sampler[int]):
    """The numbers of an epoch's steps; ``set_position`` says which epoch, and how many of its steps are done."""

    def __init__(self, steps_per_epoch: int):
        if steps_per_epoch < 1:
            raise ConfigError(f"steps_per_epoch={steps_per_epoch}: an epoch needs at least 1 step.")
        self.steps_per_epoch = steps_per_epoch
        self.set_position(epoch=1)

    def set_position(self, epoch: int, batches_done: int = 0) -> None:
        """The next iteration is over ``epoch`` (from 1), without its first ``batches_done`` steps."""
        self.epoch, self.batches_done = epoch, batches_done

    def __len__(self) -> int:
        return self.steps_per_epoch

    def __iter__(self) -> Iterator[int]:
        # A generator begins with the first step that is asked for: a DataLoader with processes makes two, and uses one.
        first = (self.epoch - 1) * self.steps_per_epoch
        done, self.batches_done = self.batches_done, 0
        yield from range(first + done, first + self.steps_per_epoch)


class WholeUtterances(Dataset):
    """All utterances of a store in batches of about ``batch_seconds``, in order; the last SpeakerBatches of a split."""

    def __init__(self, store: SpeakerStore, sample_rate: int = 16000, batch_seconds: float = 120.0):
        self.store, self.groups, held = store, [[]], 0
        for utterance in range(len(store)):
            if held > batch_seconds * sample_rate:
                self.groups.append([])
                held = 0
            self.groups[-1].append(utterance)
            held += int(store.num_samples[utterance])

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, number: int) -> SpeakerBatch:
        group = self.groups[number]
        wavs = [torch.from_numpy(self.store.read(utterance).copy()) for utterance in group]
        return SpeakerBatch(wavs, torch.tensor([self.store.speaker_of(utterance) for utterance in group]))


def speaker_loader(
    batches: Dataset, steps: Sampler | None = None, num_workers: int = 0, spare_cores: int | None = None
) -> DataLoader:
    """A DataLoader whose items are whole batches, read ahead in processes where cores are left for them.

    ``spare_cores`` tells how many are left; unless given, those that torch has no thread for.
    """
    if not torch.cuda.is_available():
        spare = cores_left(torch.get_num_threads()) if spare_cores is None else spare_cores
        num_workers = max(0, min(num_workers, spare))
    if sys.platform != "linux":
        num_workers = 0
    return DataLoader(
        batches,
        batch_size=None,
        sampler=steps,
        num_workers=num_workers,
        multiprocessing_context="fork" if num_workers else None,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),
    )
