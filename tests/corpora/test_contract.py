"""Each law of the kind corpus catches a reader that breaks it."""

import dataclasses
from pathlib import Path

import laws
import pytest

from speechtools import audio
from speechtools.core.errors import CorpusError, PluginError
from speechtools.corpora.utterance import Utterance
from tests.corpora.layouts import put


def read_wavs(data_folder):
    """Every WAV file of a folder, its speaker first in its name: correct."""
    paths = sorted(Path(data_folder).glob("*.wav"))
    if not paths:
        raise CorpusError(f"{data_folder} has no WAV file.")
    return [Utterance(path.stem, path.stem[:2], "train", path, audio.duration(path)) for path in paths]


def write_wavs(folder, num_speakers=2):
    for speaker in range(num_speakers):
        for number in range(2):
            put(folder / f"s{speaker}-{number}.wav", 1600 * (number + 1))


@pytest.fixture
def wav_folder(tmp_path):
    write_wavs(tmp_path / "wavs")
    return tmp_path / "wavs"


def third_with(**changes):
    """``read_wavs`` with some fields of the third utterance changed."""

    def reader(data_folder):
        utterances = read_wavs(data_folder)
        return [*utterances[:2], dataclasses.replace(utterances[2], **changes), *utterances[3:]]

    return reader


def path_first(root):
    return read_wavs(root)


def missing_is_an_os_error(data_folder):
    sorted(Path(data_folder).iterdir())
    return read_wavs(data_folder)


def empty_is_none(data_folder):
    if not Path(data_folder).exists():
        raise CorpusError(f"The folder {data_folder} does not exist.")
    return list(Path(data_folder).glob("*.wav")) and read_wavs(data_folder)


def dictionaries(data_folder):
    return [dataclasses.asdict(utterance) for utterance in read_wavs(data_folder)]


def test_a_correct_reader_keeps_the_laws_that_need_no_folder_and_all_with_one(wav_folder):
    assert len(laws.keeps("corpus", read_wavs)) == 2
    assert len(laws.keeps("corpus", third_with(duration=0.1009), data_folder=wav_folder)) == 5  # within 1 %


@pytest.mark.parametrize(
    "plugin, law, seen",
    [
        (path_first, "first parameter is data_folder", "'root'"),
        (missing_is_an_os_error, "missing or empty", "FileNotFoundError"),
        (empty_is_none, "missing or empty", "0 utterances and no error"),
        (dictionaries, "unique", "item 0 is a dict"),
        (third_with(utt_id="s0-0"), "unique", "'s0-0' occurs twice, the second time as utterance 2"),
        (third_with(split="dev"), "unique", "split='dev'"),
        (third_with(split="valid"), "one split", "'s1' is in valid and train. Divide .* by speakers"),
        (third_with(path=Path("gone.wav")), "every path exists", "which does not exist"),
        (third_with(duration=0.102), "every path exists", "duration=0.102 s, and its audio lasts 0.1 s"),
    ],
)
def test_broken_readers(wav_folder, plugin, law, seen):
    laws.must_break("corpus", plugin, law, seen, data_folder=wav_folder)


def test_a_missing_folder_does_not_blame_the_reader(tmp_path):
    with pytest.raises(PluginError, match="could not be tested: .*nowhere has no WAV file"):
        laws.keeps("corpus", read_wavs, data_folder=tmp_path / "nowhere")


def test_a_corpus_that_makes_its_data_is_made_small_in_a_temporary_folder(tmp_path):
    calls = []

    def spoken(data_folder=tmp_path / "cache", num_train_speakers=462, num_valid_speakers=50):
        calls.append((data_folder, num_train_speakers, num_valid_speakers))
        write_wavs(data_folder, num_train_speakers)
        return read_wavs(data_folder)

    assert len(laws.keeps("corpus", spoken)) == 4  # none on missing or empty folders
    ((folder, *sizes),) = calls
    assert sizes == [4, 2]
    assert not folder.exists() and not (tmp_path / "cache").exists()
    laws.must_break("corpus", lambda data_folder=None: [], "unique", "no utterance in ")
