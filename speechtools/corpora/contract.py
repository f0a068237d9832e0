"""The contract of the kind ``corpus``."""

import functools
import inspect
import re
from pathlib import Path

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
_SPLITS = ("train", "valid", "test", "")


def _read(subject: Subject, data_folder: Path | None) -> list[Utterance]:
    sizes = {}
    if makes_its_data(subject.name):  # a few speakers are enough
        sizes = {
            key: 4 if "train" in key else 2
            for key in inspect.signature(find(subject.name)).parameters
            if re.fullmatch(r"num_(\w+_)?speakers", key)
        }
    return list(subject.build(data_folder=data_folder, **sizes))


@functools.lru_cache(maxsize=1)
def _utterances(subject: Subject) -> list[Utterance]:
    """The utterances of the subject's folder, read once for all laws."""
    return _read(subject, subject.data_folder)


def _reads_given_folder(subject: Subject) -> bool:
    return not makes_its_data(subject.name)


def _has_folder(subject: Subject) -> bool:
    return subject.data_folder is not None


@law(
    "the first parameter is data_folder, the folder of the corpus",
    "Put data_folder first; give it a default only if the corpus makes its own recordings.",
)
def _data_folder_first(subject: Subject) -> None:
    first = first_parameter(subject.name)
    if first is None or first.name != "data_folder":
        raise Broken(f"the first parameter is {'none' if first is None else repr(first.name)}")


def _must_refuse(subject: Subject, folder: Path, what: str) -> None:
    try:
        utterances = _read(subject, folder)
    except SpeechtoolsError as error:
        if str(folder) not in str(error):
            raise Broken(f"for the {what} folder {folder}, a message that does not name it: {error}") from error
        return
    except Exception as error:
        raise Broken(f"for the {what} folder {folder}, {type(error).__name__}: {error}") from error
    raise Broken(f"for the {what} folder {folder}, {len(utterances)} utterances and no error")


@law(
    "a data_folder that does not exist raises a SpeechtoolsError that names it",
    "Raise a CorpusError with the folder and what it should contain.",
    applies=_reads_given_folder,
)
def _missing_refused(subject: Subject) -> None:
    with temporary_folder() as folder:
        _must_refuse(subject, folder / "missing", "missing")


@law(
    "an empty data_folder raises a SpeechtoolsError that names it",
    "Raise a CorpusError with the folder and what it should contain.",
    applies=_reads_given_folder,
)
def _empty_refused(subject: Subject) -> None:
    with temporary_folder() as folder:
        _must_refuse(subject, folder, "empty")


@law(
    "there are utterances, with unique non-empty utt_id, a speaker, and a split that is 'train', 'valid', 'test' or ''",
    "Fix the reader, or the folder if its recordings are not of this corpus.",
    applies=_has_folder,
)
def _utterances_valid(subject: Subject) -> None:
    if not _utterances(subject):
        raise Broken(f"no utterance in {subject.data_folder}")
    ids = set()
    for number, utterance in enumerate(_utterances(subject)):
        if not isinstance(utterance, Utterance):
            raise Broken(f"item {number} is a {type(utterance).__name__}")
        where = f"utterance {number}, {utterance.utt_id!r},"
        for field in ("utt_id", "speaker"):
            value = getattr(utterance, field)
            if not isinstance(value, str) or not value.strip():
                raise Broken(f"{where} has {field}={value!r}")
        if utterance.utt_id in ids:
            raise Broken(f"the utt_id {utterance.utt_id!r} occurs twice, the second time as utterance {number}")
        ids.add(utterance.utt_id)
        if utterance.split not in _SPLITS:
            raise Broken(f"{where} has split={utterance.split!r}")
        if utterance.text is not None and not isinstance(utterance.text, str):
            raise Broken(f"{where} has text={utterance.text!r}")


@law(
    f"every path exists, and every duration is above 0 and, in the first {MAX_AUDIO_CHECKED}, within 1 % "
    "of the audio's",
    "Take the duration from soundfile.info: frames / samplerate, in seconds.",
    applies=_has_folder,
)
def _durations_true(subject: Subject) -> None:
    import soundfile

    for number, utterance in enumerate(_utterances(subject)):
        where = f"utterance {utterance.utt_id!r}"
        if not Path(utterance.path).is_file():
            raise Broken(f"{where} has path={str(utterance.path)!r}, which does not exist")
        if not utterance.duration > 0:
            raise Broken(f"{where} has duration={utterance.duration!r}")
        if number < MAX_AUDIO_CHECKED:
            info = soundfile.info(str(utterance.path))
            duration = info.frames / info.samplerate
            if abs(utterance.duration - duration) > 0.01 * duration:
                raise Broken(f"{where} has duration={utterance.duration:g} s, and its audio lasts {duration:g} s")


register_kind(
    "corpus",
    Contract(
        "build(name, data_folder=…): the utterances of a folder, with utt_id, speaker, split, path, "
        "duration (s) and text or None (speechtools.corpora.utterance.Utterance)",
        modules=("speechtools.corpora",),
        slot=Slot("TI-SV/GE2E", "ge2e.yaml", "corpus"),
        reads_folder=True,
        laws=(_data_folder_first, _missing_refused, _empty_refused, _utterances_valid, _durations_true),
    ),
)
