"""Batches of N speakers with M utterances each (GE2E paper, sections 2.1 and 3.2, figure 3)."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError, CorpusError, first_of
from speechtools.core.moved import former_names
from speechtools.speaker.store import SpeakerStore

__getattr__ = former_names(__name__)
logger = logging.getLogger(__name__)


@dataclass
class SpeakerBatch:
    """Waveforms and the labels of their speakers.

    Attributes
    ----------
    wavs : Tensor or list of Tensor
        In training (batch, samples), speaker after speaker; for whole utterances a list of (samples,). The loader
        yields int16, which :meth:`to` converts to floats in [-1, 1) on the device: half as much to copy.
    speakers : Tensor
        Labels (speakers,), or (batch,) for whole utterances.
    targets : Tensor, optional
        d-vectors (batch, voices, size) of a teacher.
    """

    wavs: Tensor | list[Tensor]
    speakers: Tensor
    targets: Tensor | None = None

    def to(self, device: str | torch.device) -> "SpeakerBatch":
        """Move to a device, as floats."""
        return self._map(lambda tensor: _floats(tensor.to(device, non_blocking=True)))

    def pin_memory(self) -> "SpeakerBatch":
        """Copy to page-locked memory, from which a GPU copies fast."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> "SpeakerBatch":
        wavs = function(self.wavs) if isinstance(self.wavs, Tensor) else [function(wav) for wav in self.wavs]
        return SpeakerBatch(wavs, function(self.speakers), None if self.targets is None else function(self.targets))


def _floats(samples: Tensor) -> Tensor:
    """int16 as floats in [-1, 1); other types unchanged."""
    return samples.float().mul_(2.0**-15) if samples.dtype == torch.int16 else samples


@dataclass(frozen=True)
class Plan:
    """The partial utterances of a batch: (N * M,) utterances, first samples and versions, and the common length."""

    utterances: np.ndarray
    starts: np.ndarray
    versions: np.ndarray
    samples: int


class Store(Protocol):
    """The utterances that :class:`SpeakerBatches` draws from; see :class:`~speechtools.speaker.store.SpeakerStore`."""

    manifest: Any  # a path or a name, for messages
    speakers: list[str]
    first: np.ndarray
    num_samples: np.ndarray
    num_versions: int
    targets: np.ndarray | None

    def read(self, utterance: int, start: int = 0, samples: int | None = None, version: int = 0) -> np.ndarray:
        """Return the samples (samples,) of an utterance from ``start`` on; by default to its end."""


class SpeakerBatches(Dataset):
    """Batch number ``step``, for any step: M partial utterances of N speakers, all of the same length.

    A batch depends only on the seed and its number, so a run resumes exactly, and drawing one takes the same time in a
    corpus of any size:

    - A pass goes through all speakers in a random order, N at a time. Fewer than N that remain are skipped; they appear
      in other passes, which have other orders.
    - M utterances of each speaker are drawn without replacement. Of a speaker with fewer than M, none is drawn again
      before all have been drawn, and then with another start.
    - The length is drawn once per batch, the start of each partial utterance uniformly.
    - A shorter utterance is repeated from a random start until the length is filled.
    - A share of the partial utterances are of degraded copies, where the store has some.
    - Several processes share the order, ``world_size * N`` speakers at a time, of which each takes N.

    Parameters
    ----------
    store : Store
    num_speakers, num_utterances : int
        N and M of each process (64 and 10 in the paper).
    min_samples, max_samples, step_samples : int
        Lengths to draw from: shortest, longest and step.
    seed, rank, world_size : int
    min_utterances : int
        Speakers with fewer are skipped. With 1, parts of one recording may be all that there is of a speaker.
    degraded_share : float
        Share of degraded copies.

    Raises
    ------
    ConfigError
        N or M is less than 2, or the corpus has too few speakers.
    CorpusError
        The corpus has one speaker, or no two speakers with enough utterances.
    """

    def __init__(
        self,
        store: Store,
        num_speakers: int = 64,
        num_utterances: int = 10,
        min_samples: int = 22640,
        max_samples: int = 29040,
        step_samples: int = 160,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        min_utterances: int = 2,
        degraded_share: float = 0.5,
    ):
        check_number("min_utterances", min_utterances, 1, whole=True)
        check_number("degraded_share", degraded_share, 0, 1)
        if num_speakers < 2:
            raise ConfigError(f"A batch needs at least 2 speakers; got {num_speakers}. Raise speakers_per_batch.")
        if num_utterances < 2:
            raise ConfigError(f"Each speaker needs 2 utterances; got {num_utterances}. Raise utterances_per_speaker.")
        if not 0 < min_samples <= max_samples or step_samples < 1:
            raise ConfigError(
                f"Cannot draw {min_samples} to {max_samples} samples in steps of {step_samples}. Check min_frames."
            )
        counts = np.diff(store.first)
        self.usable = np.flatnonzero(counts >= min_utterances)
        needed = {1: "an utterance", 2: "two utterances"}.get(min_utterances, f"{min_utterances} utterances")
        if len(self.usable) < 2:
            raise CorpusError(
                f"{store.manifest} has {len(counts)} speakers, of which {len(self.usable)} have {needed} or "
                "more; at least 2 are needed. Use a corpus of more speakers."
            )
        if few := [store.speakers[k] for k in np.flatnonzero(counts < min_utterances)]:
            skipped = f"{len(few)} of {len(counts)} training speakers"
            fewer = "a single utterance" if min_utterances == 2 else f"fewer than {min_utterances} utterances"
            logger.warning("%s have %s and are skipped: %s", skipped, fewer, first_of(few))
        if len(self.usable) < num_speakers * world_size:
            raise ConfigError(
                f"{world_size} process(es) need {num_speakers} speakers each, but the training set has only "
                f"{len(self.usable)} with {needed}. Lower speakers_per_batch."
            )
        self.degraded_share = degraded_share
        self.store, self.seed, self.rank, self.world_size = store, seed, rank, world_size
        self.num_speakers, self.num_utterances = num_speakers, num_utterances
        self.min_samples, self.max_samples, self.step_samples = min_samples, max_samples, step_samples
        self._order: tuple[int, np.ndarray] = (-1, self.usable)  # number of the last pass, and its order

    @property
    def steps_per_pass(self) -> int:
        """Steps of a pass, in which no speaker occurs twice."""
        return len(self.usable) // (self.num_speakers * self.world_size)

    def _speakers(self, step: int) -> np.ndarray:
        """The speakers (num_speakers,) of this process."""
        number, place = divmod(step, self.steps_per_pass)
        if self._order[0] != number:
            self._order = number, np.random.default_rng([self.seed, number, 0, 1]).permutation(self.usable)
        first = (place * self.world_size + self.rank) * self.num_speakers
        return self._order[1][first : first + self.num_speakers]

    def plan(self, step: int) -> Plan:
        """Draw the partial utterances of batch ``step`` of this process."""
        rng = np.random.default_rng([self.seed, step])
        samples = self.min_samples + self.step_samples * int(
            rng.integers(0, (self.max_samples - self.min_samples) // self.step_samples + 1)
        )
        rng = np.random.default_rng([self.seed, step, 1 + self.rank])
        utterances = np.concatenate([self._utterances(rng, speaker) for speaker in self._speakers(step)])
        # (speakers * utterances,)
        lengths = self.store.num_samples[utterances]
        # Number of possible starts; a short utterance is repeated and may start anywhere.
        starts = rng.integers(0, np.where(lengths >= samples, lengths - samples + 1, lengths))
        versions = np.zeros(len(utterances), int)
        if self.store.num_versions > 1:
            degraded = rng.random(len(utterances)) < self.degraded_share
            versions[degraded] = rng.integers(1, self.store.num_versions, int(degraded.sum()))
        return Plan(utterances, starts, versions, samples)

    def _utterances(self, rng: np.random.Generator, speaker: int) -> np.ndarray:
        first, last = self.store.first[speaker : speaker + 2].tolist()
        numbers, count = np.zeros(0, int), last - first
        while len(numbers) < self.num_utterances:
            more = rng.choice(count, min(count, self.num_utterances - len(numbers)), replace=False)
            numbers = np.concatenate([numbers, more])
        return first + numbers

    def __getitem__(self, step: int) -> SpeakerBatch:
        plan = self.plan(step)
        wavs = np.empty((len(plan.utterances), plan.samples), dtype=np.int16)
        places = zip(plan.utterances.tolist(), plan.starts.tolist(), plan.versions.tolist(), strict=True)
        for row, (utterance, start, version) in zip(wavs, places, strict=True):
            row[:] = self.store.read(utterance, start, plan.samples, version)
        firsts = plan.utterances[:: self.num_utterances]
        speakers = np.searchsorted(self.store.first, firsts, side="right") - 1
        # (speakers,)
        targets = None if self.store.targets is None else torch.from_numpy(self.store.targets[plan.utterances])
        # (speakers * utterances, voices, size)
        return SpeakerBatch(torch.from_numpy(wavs), torch.from_numpy(speakers), targets)


class StepSampler(Sampler[int]):
    """The numbers of an epoch's steps; ``set_position`` sets the epoch and how many of its steps are done."""

    def __init__(self, steps_per_epoch: int):
        if steps_per_epoch < 1:
            raise ConfigError(f"steps_per_epoch={steps_per_epoch}: an epoch needs at least 1 step.")
        self.steps_per_epoch = steps_per_epoch
        self.set_position(epoch=1)

    def set_position(self, epoch: int, batches_done: int = 0) -> None:
        """Set the next iteration to ``epoch`` (from 1) without its first ``batches_done`` steps."""
        self.epoch, self.batches_done = epoch, batches_done

    def __len__(self) -> int:
        return self.steps_per_epoch

    def __iter__(self) -> Iterator[int]:
        # A generator, which starts at its first step: a DataLoader with processes creates two and uses one.
        first = (self.epoch - 1) * self.steps_per_epoch
        done, self.batches_done = self.batches_done, 0
        yield from range(first + done, first + self.steps_per_epoch)


class WholeUtterances(Dataset):
    """All utterances of a store in order, in batches of about ``batch_seconds``."""

    def __init__(self, store: SpeakerStore, sample_rate: int = 16000, batch_seconds: float = 120.0):
        self.store, length = store, 0
        self.groups: list[list[int]] = [[]]
        for utterance in range(len(store)):
            if length > batch_seconds * sample_rate:
                self.groups.append([])
                length = 0
            self.groups[-1].append(utterance)
            length += int(store.num_samples[utterance])

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, number: int) -> SpeakerBatch:
        group = self.groups[number]
        wavs = [torch.from_numpy(self.store.read(utterance).copy()) for utterance in group]
        return SpeakerBatch(wavs, torch.tensor([self.store.speaker_of(utterance) for utterance in group]))
