"""The contract of the kind ``corpus``."""

import functools
import inspect
import re
from pathlib import Path

from speechtools import audio
from speechtools.core.contract import (
    Broken,
    Contract,
    Slot,
    Subject,
    first_parameter,
    law,
    makes_its_data,
    register_kind,
    temporary_folder,
)
from speechtools.core.errors import SpeechtoolsError
from speechtools.core.registry import find
from speechtools.corpora.utterance import Utterance

#: Recordings whose duration is compared with the reader's.
MAX_AUDIO_CHECKED = 50


def _read(subject: Subject, data_folder: Path | None) -> list[Utterance]:
    options = inspect.signature(find(subject.name)).parameters if makes_its_data(subject.name) else ()
    few = {key: 4 if "train" in key else 2 for key in options if re.fullmatch(r"num_(\w+_)?(speakers|phrases)", key)}
    return list(subject.build(data_folder=data_folder, **few))


@functools.lru_cache(maxsize=1)
def _utterances(subject: Subject) -> list[Utterance]:
    """The utterances of the subject's folder, read once for all laws."""
    return _read(subject, subject.data_folder)


@law(
    "the first parameter is data_folder, the folder of the corpus",
    "Put data_folder first; give it a default only if the corpus makes its own recordings.",
)
def _data_folder_first(subject: Subject) -> None:
    first = first_parameter(subject.name)
    if first is None or first.name != "data_folder":
        raise Broken(f"the first parameter is {'none' if first is None else repr(first.name)}")


@law(
    "a data_folder that is missing or empty raises a SpeechtoolsError that names it",
    "Raise a CorpusError with the folder and what it should contain.",
    applies=lambda subject: not makes_its_data(subject.name),
)
def _refuses_other_folders(subject: Subject) -> None:
    with temporary_folder() as empty:
        for folder in (empty / "missing", empty):
            try:
                result = f"{len(_read(subject, folder))} utterances and no error"
            except SpeechtoolsError as error:
                if str(folder) in str(error):
                    continue
                result = f"a message that does not name it: {error}"
            except Exception as error:
                result = f"{type(error).__name__}: {error}"
            raise Broken(f"{result}, for {folder}")


@law(
    "there are utterances, with unique non-empty utt_id, a speaker, and a split that is 'train', 'valid', 'test' or ''",
    "Fix the reader, or the folder if its recordings are not of this corpus.",
    applies=lambda subject: subject.data_folder is not None,
)
def _utterances_valid(subject: Subject) -> None:
    if not _utterances(subject):
        raise Broken(f"no utterance in {subject.data_folder}")
    ids = set()
    for number, utterance in enumerate(_utterances(subject)):
        if not isinstance(utterance, Utterance):
            raise Broken(f"item {number} is a {type(utterance).__name__}")
        valid = {
            "utt_id": isinstance(utterance.utt_id, str) and utterance.utt_id.strip(),
            "speaker": isinstance(utterance.speaker, str) and utterance.speaker.strip(),
            "split": utterance.split in ("train", "valid", "test", ""),
            "text": utterance.text is None or isinstance(utterance.text, str),
        }
        for field, is_valid in valid.items():
            if not is_valid:
                raise Broken(f"utterance {number}, {utterance.utt_id!r}, has {field}={getattr(utterance, field)!r}")
        if utterance.utt_id in ids:
            raise Broken(f"the utt_id {utterance.utt_id!r} occurs twice, the second time as utterance {number}")
        ids.add(utterance.utt_id)


@law(
    "every speaker is in one split, where '' counts as train",
    "Divide the corpus by speakers, or leave split='': recipes then draw speakers by heldout_share and valid_share.",
    applies=lambda subject: subject.data_folder is not None,
)
def _split_by_speaker(subject: Subject) -> None:
    split_of: dict[str, str] = {}
    for utterance in _utterances(subject):
        split = utterance.split or "train"
        if split_of.setdefault(utterance.speaker, split) != split:
            raise Broken(f"the speaker {utterance.speaker!r} is in {split_of[utterance.speaker]} and {split}")


@law(
    f"every path exists, and every duration is above 0 and, in the first {MAX_AUDIO_CHECKED}, within 1 % "
    "of the audio's",
    "Take the duration from soundfile.info: frames / samplerate, in seconds.",
    applies=lambda subject: subject.data_folder is not None,
)
def _durations_true(subject: Subject) -> None:
    for number, utterance in enumerate(_utterances(subject)):
        where = f"utterance {utterance.utt_id!r}"
        if not Path(utterance.path).is_file():
            raise Broken(f"{where} has path={str(utterance.path)!r}, which does not exist")
        if not utterance.duration > 0:
            raise Broken(f"{where} has duration={utterance.duration!r}")
        if number < MAX_AUDIO_CHECKED:
            duration = audio.duration(utterance.path)
            if abs(utterance.duration - duration) > 0.01 * duration:
                raise Broken(f"{where} has duration={utterance.duration:g} s, and its audio lasts {duration:g} s")


register_kind(
    "corpus",
    Contract(
        "build(name, data_folder=…): the utterances of a folder, with utt_id, speaker, split, path, "
        "duration (s), and text, score and measure or None (speechtools.corpora.utterance.Utterance)",
        modules=("speechtools.corpora",),
        slot=Slot("TI-SV/GE2E", "ge2e.yaml", "corpus"),
        reads_folder=True,
        laws=(_data_folder_first, _refuses_other_folders, _utterances_valid, _split_by_speaker, _durations_true),
    ),
)
