"""Tiny corpora in every layout, written by the tests, and the readers' common calls."""

import itertools
import re

import numpy as np
import pytest
import soundfile

import speechtools

#: The audio files of each corpus; alternatives are in braces.
FILES = {
    "timit": ["{TRAIN/DR1/FCJF0,TRAIN/DR4/MESD0,TEST/DR2/FPAS0}/{SA1,SX37}.WAV"],
    "librispeech": [
        "LibriSpeech/{train-clean-5/19/77/19,train-clean-5/26/77/26,dev-clean/84/77/84}-77-000{0,1}.flac",
        "LibriSpeech/test-other/367/77/367-77-000{0,1}.flac",
    ],
    "kaldi": ["wave/{anna/anna,boris/boris,clara/clara}{1,2}.flac"],
    "folder": ["{Train/anna,Train/boris/monday,dev/dora,test/clara}/{001.wav,002.flac}"],
    "voxceleb": ["{dev/wav/id10001/J9lHsKG98U8,dev/wav/id10002/-x_9uCP,test/wav/id10270/5r0dWxy17C8}/0000{1,2}.wav"],
    "speech-commands": [
        "{yes,no,bird}/{0a7c2a8d,1b4c9b89,c1d39ce8,ffd2ba2f}_nohash_{0,1}.wav",
        "_background_noise_/running_tap.wav",
    ],
    "arabic-speech-commands": ["dataset/{enter,send}/0000000{1,2,3,4}_NO_0{1,2}.flac", "background_noise/boiler.flac"],
    "audiomnist": [f"data/{speaker}/{{0,1,2}}_{speaker}_{{0,49}}.wav" for speaker in ("01", "02", "60")],
    "keyword-folder": ["{OK Google,Hey Google,مرحبا}/{anna,boris}/{1.wav,2.flac}"],
}
#: Options of small generated corpora, by reader.
SMALL = {
    "builtin": {"num_train_speakers": 2, "num_test_speakers": 1, "num_workers": 1},
    "builtin-keywords": {"num_speakers": 3, "num_test_speakers": 2, "renditions": 3, "num_workers": 1},
}


def put(path, samples=None):
    """Write noise, of a length that depends on the file's name; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = samples or 1600 + sum(path.name.encode()) % 97
    signal = 0.1 * np.random.default_rng(samples).standard_normal(samples)
    soundfile.write(path, signal, 16000, format=path.suffix[1:].upper(), subtype="PCM_16")
    return path


def put_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def make(name, root):
    """Write the corpus of a reader: audio, transcripts and lists."""
    paths = []
    for pattern in FILES[name]:
        alternatives = [part.split(",") for part in re.split(r"[{}]", pattern)]
        paths += [put(root / "".join(parts)) for parts in itertools.product(*alternatives)]
    texts = {}
    for path in paths:
        word, stem, file = path.parent.name, path.stem, path.relative_to(root).as_posix()
        if name == "timit":
            texts[f"{file[:-4]}.TXT"] = [f"0 46797 She had {stem} in greasy wash water."]
        elif name == "librispeech":
            texts.setdefault(f"{file[:-10]}.trans.txt", []).append(f"{stem} WORDS OF {stem}")
        elif name == "kaldi":
            split = "test" if word == "clara" else "train"
            for kind, value in {"wav.scp": f"\t{file}", "utt2spk": f" {word}", "text": f" WORDS OF {stem}"}.items():
                texts.setdefault(f"{split}/{kind}", []).append(stem + value)
        elif name == "speech-commands" and stem[:8] in ("1b4c9b89", "c1d39ce8"):
            texts.setdefault("validation_list.txt" if stem[0] == "1" else "testing_list.txt", []).append(file)
        elif name == "arabic-speech-commands" and "_NO_" in stem:
            split = {"3": "val", "4": "test"}.get(stem[7], "train")
            texts.setdefault(f"{split}.csv", ["file,class"]).append(f"{file[:-5]}.wav,{word}")
    for file, lines in texts.items():
        put_text(root / file, "\n".join(lines) + "\n")


def read(name, data_folder, **arguments):
    return list(speechtools.build(f"corpus/{name}", data_folder=data_folder, **arguments))


def read_with_warning(match, name, data_folder):
    with pytest.warns(UserWarning, match=match) as caught:
        utterances = read(name, data_folder)
    assert len(caught) == 1
    return utterances


def by_id(name, data_folder):
    return {utterance.utt_id: utterance for utterance in read(name, data_folder)}


def generate(name, folder=None, **options):
    """The utterances of a small generated corpus, in the tests' cache or in a folder."""
    return read(name, folder, **SMALL[name] | options)
