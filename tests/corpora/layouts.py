"""Tiny corpora in every layout, written by the tests, and the readers' common calls."""

import itertools

import numpy as np
import soundfile

import speechtools


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


def make_timit(root):
    for place, sentence in itertools.product(("TRAIN/DR1/FCJF0", "TRAIN/DR4/MESD0", "TEST/DR2/FPAS0"), ("SA1", "SX37")):
        put(root / place / f"{sentence}.WAV")
        put_text(root / place / f"{sentence}.TXT", f"0 46797 She had {sentence} in greasy wash water.\n")


def make_librispeech(root):
    for subset, speaker in (("train-clean-5", 19), ("train-clean-5", 26), ("dev-clean", 84), ("test-other", 367)):
        chapter = root / "LibriSpeech" / subset / str(speaker) / "77"
        names = [f"{speaker}-77-{number:04d}" for number in range(2)]
        for name in names:
            put(chapter / f"{name}.flac")
        put_text(chapter / f"{speaker}-77.trans.txt", "".join(f"{name} WORDS OF {name}\n" for name in names))
    put_text(root / "LibriSpeech" / "SPEAKERS.TXT", "; 1 | F\n")


def make_kaldi(root):
    for split, speakers in {"train": ("anna", "boris"), "test": ("clara",)}.items():
        utterances = [(f"{speaker}{number}", speaker) for speaker in speakers for number in (1, 2)]
        for name, speaker in utterances:
            put(root / "wave" / speaker / f"{name}.flac")
        put_text(root / split / "wav.scp", "".join(f"{n}\twave/{s}/{n}.flac\n" for n, s in utterances))
        put_text(root / split / "utt2spk", "".join(f"{n} {s}\n" for n, s in utterances))
        put_text(root / split / "text", "".join(f"{n} WORDS OF {n}\n" for n, _ in utterances))


def make_folder(root):
    for place, name in itertools.product(
        ("Train/anna", "Train/boris/monday", "dev/dora", "test/clara"), ("001.wav", "002.flac")
    ):
        put(root / place / name)


def make_voxceleb(root):
    for place in ("dev/wav/id10001/J9lHsKG98U8", "dev/wav/id10002/-x_9uCPMKiA", "test/wav/id10270/5r0dWxy17C8"):
        for segment in ("00001", "00002"):
            put(root / place / f"{segment}.wav", 1600 + sum(place.encode()) % 97 + int(segment))


def make_speech_commands(root):
    speakers = ("0a7c2a8d", "1b4c9b89", "c1d39ce8", "ffd2ba2f")
    for word, speaker, number in itertools.product(("yes", "no", "bird"), speakers, (0, 1)):
        put(root / word / f"{speaker}_nohash_{number}.wav")
    for name, speaker in {"validation": "1b4c9b89", "testing": "c1d39ce8"}.items():
        listed = [f"{word}/{speaker}_nohash_{number}.wav" for word in ("bird", "no", "yes") for number in (0, 1)]
        put_text(root / f"{name}_list.txt", "\n".join(listed) + "\n")
    put(root / "_background_noise_" / "running_tap.wav")


def make_arabic(root):
    for split, speakers in {"train": (1, 2), "val": (3,), "test": (4,)}.items():
        rows = ["file,class"]
        for keyword, speaker, number in itertools.product(("enter", "send"), speakers, (1, 2)):
            name = f"dataset/{keyword}/{speaker:08d}_NO_{number:02d}"
            put(root / f"{name}.flac")
            rows.append(f"{name}.wav,{keyword}")
        put_text(root / f"{split}.csv", "\n".join(rows) + "\n")
    put(root / "background_noise" / "boiler.flac")


def make_audiomnist(root):
    for speaker, digit, number in itertools.product(("01", "02", "60"), range(3), (0, 49)):
        put(root / "data" / speaker / f"{digit}_{speaker}_{number}.wav")


def make_keyword_folder(root):
    for place in itertools.product(("OK Google", "Hey Google", "مرحبا"), ("anna", "boris"), ("1.wav", "2.flac")):
        put(root.joinpath(*place))


MAKERS = {
    "timit": make_timit,
    "librispeech": make_librispeech,
    "kaldi": make_kaldi,
    "folder": make_folder,
    "voxceleb": make_voxceleb,
    "speech-commands": make_speech_commands,
    "arabic-speech-commands": make_arabic,
    "audiomnist": make_audiomnist,
    "keyword-folder": make_keyword_folder,
}

#: Options of small generated corpora, by reader.
SMALL = {
    "builtin": {"num_train_speakers": 2, "num_test_speakers": 1, "num_workers": 1},
    "builtin-keywords": {"num_speakers": 3, "num_test_speakers": 2, "renditions": 3, "num_workers": 1},
}


def generate(name, folder=None, **options):
    """The utterances of a small generated corpus, in the tests' cache or in a folder."""
    return read(name, folder, **SMALL[name] | options)


def read(name, data_folder, **arguments):
    return list(speechtools.build(f"corpus/{name}", data_folder=data_folder, **arguments))


def by_id(name, data_folder):
    return {utterance.utt_id: utterance for utterance in read(name, data_folder)}
