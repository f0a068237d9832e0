"""Stores of speech from utterances: shards of samples that a killed run keeps, and the manifests over them."""

import contextlib
import dataclasses
import functools
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from speechtools.audio.writing import to_int16
from speechtools.core.checksums import refuse_damaged, write_checksums
from speechtools.core.errors import AudioError, CorpusError
from speechtools.core.files import disk_errors, write_aside
from speechtools.core.jobs import map_in_processes
from speechtools.core.results import write_json
from speechtools.core.rows import Row, write_rows
from speechtools.corpora.utterance import Utterance
from speechtools.speaker.index import SpeakerRow
from speechtools.speaker.store import SpeakerStore, version_path

logger = logging.getLogger(__name__)

#: Utterances per shard: the most that a process loses when it is killed.
SHARD_UTTERANCES = 200
_REMEDY = "Finished files are kept: free some space, or choose another folder, and start again."


@dataclass(frozen=True)
class SpeakerSets:
    """The manifest of each split, and the origin of the speech for titles and results."""

    manifests: dict[str, Path]
    origin: str

    def open(self) -> dict[str, SpeakerStore]:
        """The store of each split.

        Raises
        ------
        CorpusError
            A store is damaged.
        """
        folders = {path.parent for path in self.manifests.values()}
        for folder in folders:
            refuse_damaged(
                folder, "Delete these files and the manifests (*.csv), and start again: they are made again."
            )
        return {split: SpeakerStore(path) for split, path in self.manifests.items()}


class Cutter(Protocol):
    """Cuts an utterance to the samples (samples,) to keep, or raises AudioError."""

    sample_rate: int
    has_keywords: bool  # whether the texts of the utterances are keywords
    num_copies: int  # degraded ones of each utterance for training

    @property
    def degraded(self) -> Any:
        """(samples, utterance, copy) -> a degraded copy (samples,), number 1 to ``num_copies``; None without any."""

    def __call__(self, utterance: Utterance) -> np.ndarray:
        """Return the samples (samples,) of an utterance to keep."""


@dataclass(frozen=True, kw_only=True)
class RejectedRow(Row):
    """An utterance that was rejected, and why."""

    utt_id: str
    path: str
    reason: str


@dataclass(frozen=True)
class Shard:
    """A finished shard: the rows of its manifest, and the rejected utterances."""

    rows: list[SpeakerRow]
    rejected: list[RejectedRow]

    def matches(self, utterances: Sequence[Utterance]) -> bool:
        """Whether it was made of these utterances. A corpus that has grown is divided differently."""
        speakers = {(utterance.utt_id, str(utterance.path)): utterance.speaker for utterance in utterances}
        stored = {(row.utt_id, row.path): row.speaker for row in self.rows}
        rejected = {(row.utt_id, row.path) for row in self.rejected}
        return stored.keys() | rejected == speakers.keys() and all(speakers[key] == stored[key] for key in stored)


def make_stores(
    groups: dict[str, list[Utterance]],
    sets: SpeakerSets,
    make_cutter: Callable[[], Cutter],
    options: dict,
    remedy: str,
    num_workers: int | None = None,
) -> None:
    """Write the store of every split: utterances as shards, and the manifests, that of the first split last.

    Parameters
    ----------
    groups : dict of list of Utterance
        By split.
    sets : SpeakerSets
        Where to write the manifests.
    make_cutter : callable
        Makes a :class:`Cutter`, in every process.
    options : dict
        Content of ``about.json``.
    remedy : str
        What to do if a split has fewer than two speakers.
    num_workers : int, optional
        Processes; by default one a core.

    Raises
    ------
    CorpusError
        A split has fewer than two speakers, or the disk is full.
    """
    folder = sets.manifests["train"].parent
    shards = []
    for split in groups:
        members = sorted(groups[split], key=lambda utterance: (utterance.speaker, utterance.utt_id))
        for number, first in enumerate(range(0, len(members), SHARD_UTTERANCES)):
            shards.append((f"{split}-{number}", members[first : first + SHARD_UTTERANCES]))
    work = functools.partial(_make_shard, folder=folder, make_cutter=make_cutter)
    outcomes = map_in_processes(work, shards, num_workers, "Cutting the recordings", chunksize=1)
    finished_shards = dict(zip((name for name, _ in shards), outcomes, strict=True))

    rejected_csv = folder / "rejected.csv"
    rejected = [row for shard in finished_shards.values() for row in shard.rejected]
    files = [path for name in finished_shards for path in sorted((folder / "shards").glob(f"{name}.*npy"))]
    with disk_errors(str(rejected_csv), _REMEDY):
        write_checksums(folder, files)
        write_rows(rejected_csv, RejectedRow, rejected)
        write_json(folder / "about.json", {"origin": sets.origin, **options})
    if rejected:
        logger.warning("%d utterances were rejected; %s gives the reasons.", len(rejected), rejected_csv)
    for split in reversed(groups):
        rows = [row for name, shard in finished_shards.items() if name.startswith(f"{split}-") for row in shard.rows]
        speakers = {row.speaker for row in rows}
        if len(speakers) < 2:
            raise CorpusError(
                f"The {split} set of {sets.origin} has {len(speakers)} speaker(s) with usable speech, but verification "
                f"needs 2; {len(rejected)} utterances were rejected ({rejected_csv}). {remedy}"
            )
        with disk_errors(str(sets.manifests[split]), _REMEDY):
            write_rows(sets.manifests[split], SpeakerRow, rows)
            SpeakerStore(sets.manifests[split])  # builds the index once for all processes


def _make_shard(job: tuple[str, list[Utterance]], folder: Path, make_cutter: Callable[[], Cutter]) -> Shard:
    """Write the speech of some utterances as one array, unless that is done already."""
    name, utterances = job
    audio_path, about = folder / "shards" / f"{name}.npy", folder / "shards" / f"{name}.json"
    if about.exists() and audio_path.exists():
        # emptied by a crash of the machine, or damaged: it is made again
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
            content = json.loads(about.read_text(encoding="utf-8"))
            rejected = [RejectedRow(**row) for row in content["rejected"]]
            shard = Shard([SpeakerRow(**row) for row in content["rows"]], rejected)
            if shard.matches(utterances):
                return shard
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    shard, start = Shard([], []), 0
    try:
        cutter = make_cutter()
        num_versions = 1 + (cutter.num_copies if name.startswith("train-") else 0)
        versions: list[list[np.ndarray]] = [[np.zeros(0, np.int16)] for _ in range(num_versions)]
        for utterance in utterances:
            names: dict[str, Any] = {"utt_id": utterance.utt_id, "path": str(utterance.path)}
            try:
                samples = cutter(utterance)
                cuts = [samples, *(cutter.degraded(samples, utterance, copy) for copy in range(1, num_versions))]
            except AudioError as error:
                shard.rejected.append(RejectedRow(**names, reason=str(error)))
                continue
            place: dict[str, Any] = {"shard": f"shards/{name}.npy", "start": start, "samples": len(samples)}
            keyword = utterance.text or "" if cutter.has_keywords else ""
            duration = round(len(samples) / cutter.sample_rate, 3)
            shard.rows.append(
                SpeakerRow(**names, speaker=utterance.speaker, **place, duration=duration, keyword=keyword)
            )
            for arrays, cut in zip(versions, cuts, strict=True):
                arrays.append(to_int16(cut))
            start += len(samples)
    finally:
        torch.set_num_threads(threads)
    with disk_errors(str(audio_path), _REMEDY, 2e-6 * start * num_versions):
        about.unlink(missing_ok=True)  # it may describe other utterances, and must not stand beside the new audio
        for version, arrays in enumerate(versions):
            with write_aside(version_path(audio_path, version)) as aside, open(aside, "wb") as stream:
                np.save(stream, np.concatenate(arrays))
        with write_aside(about) as aside:
            aside.write_text(json.dumps(dataclasses.asdict(shard)), encoding="utf-8")
    return shard
