"""From a corpus to stores of speech for GE2E: read, divide the speakers, keep the speech alone (paper, section 3).

Audio is decoded, resampled and cut by voice activity detection once, here, so that training only slices it. A killed
run keeps its finished shards, and a folder whose manifests are there is used as it is.
"""

import contextlib
import dataclasses
import functools
import json
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from speechtools import audio
from speechtools.audio.vad import speech_samples
from speechtools.core.errors import AudioError, ConfigError, CorpusError
from speechtools.core.files import fingerprint, write_aside
from speechtools.core.jobs import map_in_processes
from speechtools.core.registry import build
from speechtools.core.rows import Row, write_rows
from speechtools.corpora.reading import each_corpus
from speechtools.corpora.splits import split_speakers
from speechtools.corpora.utterance import Utterance
from speechtools.speaker.index import SpeakerRow
from speechtools.speaker.store import SpeakerStore

logger = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
#: Utterances a file of audio: what a killed run loses at the most, for each process.
SHARD_UTTERANCES = 200
#: Raised by one when a change of the code makes other files from the same options.
VERSION = 1


@dataclass(frozen=True)
class SpeakerSets:
    """Where the manifests lie, and what the figures made from them must say of their origin."""

    manifests: dict[str, Path]
    origin: str

    def open(self) -> dict[str, SpeakerStore]:
        """The store of each split."""
        return {split: SpeakerStore(path) for split, path in self.manifests.items()}


def prepare(
    corpus: str | Sequence[str] = "builtin",
    data_folder: str | Path | Sequence[str | Path] = "",
    save_folder: str | Path = "prepared",
    corpus_options: dict[str, dict] | None = None,
    vad: str = "energy",
    heldout_share: float = 0.25,
    valid_share: float = 0.1,
    min_seconds: float = 0.4,
    sample_rate: int = 16000,
    seed: int = 0,
    num_workers: int | None = None,
) -> SpeakerSets:
    """Make the stores of training, validation and test, no speaker in two of them; or find them made.

    Parameters
    ----------
    corpus, data_folder
        Name of a corpus reader and the folder it reads; or lists of one length, to join several corpora.
    save_folder
        Here a folder named after the fingerprint of all these options is made.
    corpus_options
        Further arguments of readers, by their names.
    vad
        Name of a voice activity detector.
    heldout_share, valid_share
        Share of the speakers for the test, where the corpus has no test speakers; and of the training speakers for
        validation, where it has none for that.
    min_seconds
        Utterances with less speech are rejected.

    Raises
    ------
    CorpusError, ConfigError
        As the readers raise them; a split is left without two speakers; the disk is full. Each names what to do.
    """
    folders = [data_folder] if isinstance(data_folder, (str, Path)) else list(data_folder)
    folders = [str(Path(each).expanduser().absolute()) if str(each) else "" for each in folders]
    corpora = [corpus] if isinstance(corpus, str) else list(corpus)
    options = {
        "corpus": corpora,
        "data_folder": folders,
        "corpus_options": corpus_options or {},
        "vad": vad,
        "heldout_share": heldout_share,
        "valid_share": valid_share,
        "min_seconds": min_seconds,
        "sample_rate": sample_rate,
        "seed": seed,
    }
    names = ["built-in synthetic speech" if name == "builtin" else name for name in corpora]
    folder = Path(save_folder).absolute() / f"speakers-{fingerprint(options | {'version': VERSION})}"
    sets = SpeakerSets({split: folder / f"{split}.csv" for split in SPLITS}, " + ".join(names))
    if all(path.exists() for path in sets.manifests.values()):
        logger.info("The sets in %s are complete and used as they are: %s", folder, sets.origin)
        return sets
    if min_seconds <= 0:
        raise ConfigError(f"min_seconds={min_seconds} must be positive: without speech there is no voice.")
    for name, share in (("heldout_share", heldout_share), ("valid_share", valid_share)):
        if not 0 <= share < 1:
            raise ConfigError(
                f"{name}={share} is a share of the speakers, and some must be left to train on. Give one from 0 to "
                "below 1, as in 0.1."
            )
    build(f"vad/{vad}", offered={"sample_rate": sample_rate})  # a wrong name is told before the corpus is read
    logger.info("Preparing the sets in %s: %s", folder, sets.origin)

    groups: dict[str, list[Utterance]] = {split: [] for split in SPLITS}
    for utterances in each_corpus(corpora, folders, corpus_options):
        divided = split_speakers(utterances, heldout_share, valid_share, seed, valid_from="train")
        for split, members in divided.items():
            groups[split] += members
    cutter = functools.partial(SpeechCutter, vad, min_seconds, sample_rate)
    remedy = "Use a corpus of more speakers, or change heldout_share and valid_share."
    make_stores(groups, sets, cutter, options, remedy, num_workers)
    return sets


class SpeechCutter:
    """Cuts an utterance to its speech: called with one, it returns the samples (samples,), or raises AudioError."""

    has_keywords = False

    def __init__(self, vad: str, min_seconds: float, sample_rate: int):
        self.detector = build(f"vad/{vad}", offered={"sample_rate": sample_rate})
        self.min_seconds, self.sample_rate = min_seconds, sample_rate

    def __call__(self, utterance: Utterance) -> np.ndarray:
        kept = speech_of(utterance.path, self.detector, self.sample_rate)
        seconds = len(kept) / self.sample_rate
        if seconds < self.min_seconds:
            raise AudioError(f"{seconds:.2f} s of speech, less than min_seconds={self.min_seconds}.")
        return kept


def make_stores(
    groups: dict[str, list[Utterance]],
    sets: SpeakerSets,
    make_cutter: Callable[[], Callable[[Utterance], np.ndarray]],
    options: dict,
    remedy: str,
    num_workers: int | None = None,
) -> None:
    """Write the store of every split: cut utterances as shards, and the manifests, the first split's last.

    Parameters
    ----------
    groups : dict of list of Utterance
        By split.
    sets : SpeakerSets
        Where the manifests are to lie.
    make_cutter
        Makes, in every process, a function from an utterance to its samples (samples,), with an attribute
        ``sample_rate``, and ``has_keywords`` for texts that are keywords.
    options : dict
        What ``about.json`` tells of the folder.
    remedy : str
        What to do where a split is left without two speakers.

    Raises
    ------
    CorpusError
        That, or the disk is full.
    """
    folder = sets.manifests["train"].parent
    shards = []
    for split in groups:
        members = sorted(groups[split], key=lambda utterance: (utterance.speaker, utterance.utt_id))
        for number, first in enumerate(range(0, len(members), SHARD_UTTERANCES)):
            shards.append((f"{split}-{number}", members[first : first + SHARD_UTTERANCES]))
    work = functools.partial(_make_shard, folder=folder, make_cutter=make_cutter)
    outcomes = map_in_processes(work, shards, num_workers, "Cutting the recordings", chunksize=1)
    made = dict(zip((name for name, _ in shards), outcomes, strict=True))

    rejected = [row for outcome in made.values() for row in outcome.rejected]
    with _telling_disk_errors(folder / "rejected.csv"):
        write_rows(folder / "rejected.csv", RejectedRow, rejected)
        with write_aside(folder / "about.json") as aside:
            aside.write_text(json.dumps({"origin": sets.origin, **options}, indent=1, default=str))
    if rejected:
        logger.warning("%d utterances were rejected; %s gives the reasons.", len(rejected), folder / "rejected.csv")
    for split in reversed(groups):
        rows = [row for name, outcome in made.items() if name.startswith(f"{split}-") for row in outcome.rows]
        speakers = {row.speaker for row in rows}
        if len(speakers) < 2:
            raise CorpusError(
                f"The {split} set of {sets.origin} has {len(speakers)} speaker(s) with usable speech, and verification "
                f"needs 2 or more; {len(rejected)} utterances were rejected ({folder / 'rejected.csv'}). {remedy}"
            )
        with _telling_disk_errors(sets.manifests[split]):
            write_rows(sets.manifests[split], SpeakerRow, rows)
            SpeakerStore(sets.manifests[split])  # makes the index, once for all processes


@dataclass(frozen=True, kw_only=True)
class RejectedRow(Row):
    """An utterance that was left out, and why."""

    utt_id: str
    path: str
    reason: str


@dataclass(frozen=True)
class Shard:
    """A finished shard: the rows of its manifest, and the utterances that were rejected."""

    rows: list[SpeakerRow]
    rejected: list[RejectedRow]

    def matches(self, utterances: Sequence[Utterance]) -> bool:
        """Whether it is of these utterances: the corpus may have grown since, and be divided otherwise."""
        speakers = {(utterance.utt_id, str(utterance.path)): utterance.speaker for utterance in utterances}
        kept = {(row.utt_id, row.path): row.speaker for row in self.rows}
        rejected = {(row.utt_id, row.path) for row in self.rejected}
        return kept.keys() | rejected == speakers.keys() and all(speakers[key] == kept[key] for key in kept)


def _make_shard(shard: tuple[str, list[Utterance]], folder: Path, make_cutter: Callable[[], Callable]) -> Shard:
    """Write the speech of some utterances as one array."""
    name, utterances = shard
    audio_path, about = folder / "shards" / f"{name}.npy", folder / "shards" / f"{name}.json"
    if about.exists() and audio_path.exists():
        with contextlib.suppress(ValueError):  # emptied by a crash of the machine: it is made again
            kept = json.loads(about.read_text(encoding="utf-8"))
            outcome = Shard(
                [SpeakerRow(**row) for row in kept["rows"]], [RejectedRow(**row) for row in kept["rejected"]]
            )
            if outcome.matches(utterances):
                return outcome
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pieces, rows, rejected, start = [], [], [], 0
    try:
        cutter = make_cutter()
        for utterance in utterances:
            try:
                kept = cutter(utterance)
            except AudioError as error:
                rejected.append(RejectedRow(utt_id=utterance.utt_id, path=str(utterance.path), reason=str(error)))
                continue
            row = SpeakerRow(
                utt_id=utterance.utt_id,
                speaker=utterance.speaker,
                path=str(utterance.path),
                duration=round(len(kept) / cutter.sample_rate, 3),
                shard=f"shards/{name}.npy",
                start=start,
                samples=len(kept),
                keyword=utterance.text or "" if cutter.has_keywords else "",
            )
            rows.append(row)
            pieces.append(np.clip(np.round(kept * 32768.0), -32768, 32767).astype(np.int16))
            start += len(kept)
    finally:
        torch.set_num_threads(threads)
    outcome = Shard(rows, rejected)
    with _telling_disk_errors(audio_path, 2 * start):
        about.unlink(missing_ok=True)  # of other utterances: it must not stand beside the new audio
        with write_aside(audio_path) as aside, open(aside, "wb") as stream:
            np.save(stream, np.concatenate(pieces) if pieces else np.zeros(0, np.int16))
        with write_aside(about) as aside:
            aside.write_text(json.dumps(dataclasses.asdict(outcome)), encoding="utf-8")
    return outcome


@contextlib.contextmanager
def _telling_disk_errors(path: Path, size: int = 0) -> Iterator[None]:
    """Turns an OSError of the block into a CorpusError; ``size`` is that of the file in bytes, where it is large."""
    try:
        yield
    except OSError as error:
        takes = f"; it takes {size / 1e6:.0f} MB" if size else ""
        raise CorpusError(
            f"{path} cannot be written ({os.strerror(error.errno) if error.errno else error}){takes}. Free some space "
            "and start again, or choose another place: finished files are kept."
        ) from error


def speech_of(path: str | Path, detector, sample_rate: int = 16000) -> np.ndarray:
    """The speech (samples,) in an audio file, pauses left out.

    Raises
    ------
    AudioError
        The file cannot be read, is cut short or silent.
    """
    samples = audio.read(path, sample_rate)
    audio.check_signal(samples, path)
    wav = torch.from_numpy(samples)
    return speech_samples(wav, detector(wav.unsqueeze(0))[0], detector.hop_length).numpy()
