"""The built-in corpus: espeak-ng's binding, the sentences, the noises and the files."""

import collections
import ctypes
import errno
import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import welch

import speechtools
from speechtools import audio
from speechtools.audio import noises as noise_generators
from speechtools.core.errors import ConfigError, CorpusError, SpeechtoolsError
from speechtools.core.rows import read_rows
from speechtools.corpora import builtin as module
from speechtools.corpora import espeak, sentences
from speechtools.corpora.builtin import builtin, builtin_noises

pytest.importorskip("espeakng_loader")

FEW = {"num_train_speakers": 2, "num_test_speakers": 1, "num_workers": 1}
TEXT = "The gardener watered seven yellow tulips before breakfast."


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A small corpus: its folder and its utterances."""
    folder = tmp_path_factory.mktemp("builtin")
    utterances = list(builtin(folder, **FEW))
    return folder, utterances


@pytest.fixture(scope="module")
def noises():
    return {
        name: noise_generators.make_noise(name, seconds=3.0)
        for name in (*noise_generators.training_noises(), *noise_generators.TEST_NOISES)
    }


# espeak-ng ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("voice", ["en-us+f3", "en-gb-scotland+m1", "en-us+klatt3", "en-029+adam", "en+sandro"])
def test_speech_does_not_depend_on_what_was_spoken_before(voice):
    synthesizer = espeak.Synthesizer()
    first = synthesizer.speak(TEXT, voice, seed=5)
    for other in ("en-us+f1", "en+klatt4", "en-us-nyc+croak"):
        synthesizer.speak("Something else entirely", other, pitch=80, pitch_range=10, rate=240, seed=9)
    np.testing.assert_array_equal(synthesizer.speak(TEXT, voice, seed=5), first)


def test_speech_is_the_same_in_another_process():
    code = (
        "import sys; from speechtools.corpora.espeak import Synthesizer; "
        f"sys.stdout.buffer.write(Synthesizer().speak({TEXT!r}, 'en-us+f3', seed=5).tobytes())"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout
    assert output == espeak.Synthesizer().speak(TEXT, "en-us+f3", seed=5).tobytes()


def test_another_user_of_the_library_in_this_process_is_left_alone():
    import espeakng_loader

    expected = espeak.Synthesizer().speak(TEXT)
    theirs = ctypes.CDLL(espeakng_loader.get_library_path())
    assert theirs.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 0x8000) == 22050
    try:
        np.testing.assert_array_equal(espeak.Synthesizer().speak(TEXT), expected)
        assert theirs.espeak_ng_GetSampleRate() == 22050  # still initialized
    finally:
        theirs.espeak_Terminate()
        espeak._unload(theirs)


def test_a_data_path_too_long_for_espeak_is_reached(tmp_path):
    synthesizer = espeak.Synthesizer()
    expected = synthesizer.speak(TEXT)
    far = tmp_path / ("x" * 100) / ("y" * 100)
    far.mkdir(parents=True)
    (far / "espeak-ng-data").symlink_to(synthesizer._data_path)
    synthesizer._data_path = far / "espeak-ng-data"
    np.testing.assert_array_equal(synthesizer.speak(TEXT), expected)


def test_pitch_rate_and_voice_are_obeyed():
    synthesizer = espeak.Synthesizer()
    durations = [len(synthesizer.speak(TEXT, rate=rate)) for rate in (120, 170, 240)]
    assert durations[0] > 1.2 * durations[1] > 1.2 * 1.2 * durations[2]

    def fundamental(pitch):  # Hz, from the lag at which the signal is most like itself
        samples = synthesizer.speak("aaaaah", pitch=pitch, pitch_range=0)
        spectrum = np.fft.rfft(samples, 2 * len(samples))
        lags = np.arange(synthesizer.sample_rate // 300, synthesizer.sample_rate // 60)
        return synthesizer.sample_rate / lags[np.fft.irfft(np.abs(spectrum) ** 2)[lags].argmax()]

    assert fundamental(75) == pytest.approx(2**0.5 * fundamental(50), rel=0.1)
    assert not np.array_equal(synthesizer.speak("hello", "en-us+f1"), synthesizer.speak("hello", "en-us+m1"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"voice": "en-nowhere"}, "no voice 'en-nowhere'"),
        ({"voice": "en-us+nobody"}, r"no voice 'en-us\+nobody'"),
        ({"rate": 10}, "rate from 80 to 450; got 10"),
        ({"pitch": 100}, "pitch from 0 to 99; got 100"),
        ({"pitch_range": -1}, "pitch_range from 0 to 99; got -1"),
    ],
)
def test_espeak_says_what_is_wrong(arguments, message):
    with pytest.raises(SpeechtoolsError, match=message):
        espeak.Synthesizer().speak("hello", **arguments)


def test_an_exception_in_the_callback_is_raised(monkeypatch):
    def broken(*_):
        raise MemoryError("no room for samples")

    monkeypatch.setattr(espeak.ctypes, "string_at", broken)
    with pytest.raises(MemoryError, match="no room for samples"):
        espeak.Synthesizer().speak(TEXT)


def test_without_espeakng_loader_the_message_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SpeechtoolsError, match=r'pip install "speechtools\[recipes\]"'):
        espeak.Synthesizer()
    with pytest.raises(SpeechtoolsError, match=r'pip install "speechtools\[recipes\]"'):
        builtin(tmp_path, **FEW)


def test_a_corpus_that_is_there_is_read_without_espeakng_loader(corpus, monkeypatch):
    folder, utterances = corpus
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    assert list(builtin(folder, **FEW)) == utterances


# Sentences ----------------------------------------------------------------------------------------------------------


def test_sentences_are_many_distinct_and_of_6_to_14_words():
    written = sentences.SA + sentences.SX + sentences.SI
    composed = list(itertools.islice(sentences.composed(0), 1000))
    texts = [*written, *composed]
    assert len(written) >= 300
    assert len({text.lower() for text in texts}) == len(texts)
    assert all(6 <= len(text.split()) <= 14 and text[0].isupper() and text[-1] in ".?" for text in texts)
    assert composed[:50] == list(itertools.islice(sentences.composed(0), 50))
    assert composed[:50] != list(itertools.islice(sentences.composed(1), 50))


def test_sentences_are_varied_in_words_and_onsets():
    words = {word.strip(".,?").lower() for text in sentences.SX + sentences.SI for word in text.split()}
    assert len(words) > 1200
    for onset in "b ch d f g h j k l m n p r s sh t th v w y z st str pl br qu".split():
        assert sum(word.startswith(onset) for word in words) >= 2, onset


# Noises -------------------------------------------------------------------------------------------------------------


def test_there_are_enough_noises_and_the_test_noises_have_their_own_generators():
    training = noise_generators.training_noises()
    assert len(training) == len(set(training)) >= 100
    assert noise_generators.TEST_NOISES == ("engine", "white", "street", "baby_cry")
    assert tuple(noise_generators._TESTS) == noise_generators.TEST_NOISES
    assert not set(noise_generators._TESTS.values()) & set(noise_generators._FAMILIES.values())
    assert not any(word in name for name in training for word in ("engine", "white", "street", "baby", "cry"))


def test_noises_have_their_level_and_do_not_clip(noises):
    for name, noise in noises.items():
        assert noise.dtype == np.float32 and noise.shape == (48000,), name
        assert np.isfinite(noise).all() and np.abs(noise).max() <= 0.951, name
        assert 20 * np.log10(np.sqrt(np.mean(noise.astype(float) ** 2))) == pytest.approx(-25, abs=1.5), name
        frames = noise.reshape(-1, 160).astype(float)
        assert np.mean(frames**2, axis=1).min() > 10**-9, name  # nowhere digital silence


def test_noises_are_not_nearly_identical(noises):
    def features(noise):  # long-term spectrum, and the spread of levels over time, in dB
        _, power = welch(noise.astype(float), 16000, nperseg=512)
        levels = 10 * np.log10(np.mean(noise.reshape(-1, 800).astype(float) ** 2, axis=1))
        bands = 10 * np.log10(power[2:].reshape(-1, 5).mean(axis=1) + 1e-14)  # (51,)
        return np.concatenate([bands, np.percentile(levels, [5, 25, 50, 75, 95])])

    matrix = np.array([features(noise) for noise in noises.values()])  # (noises, features)
    distance = np.sqrt(np.mean((matrix[:, None] - matrix[None]) ** 2, axis=-1))  # dB
    names = list(noises)
    near = [(names[i], names[j]) for i, j in itertools.combinations(range(len(names)), 2) if distance[i, j] < 0.4]
    assert near == []


def test_noises_depend_on_name_and_seed_only():
    make = noise_generators.make_noise
    for name in ("rain-01", "babble-03", "engine", "white"):
        first = make(name, seed=3, seconds=1.0)
        make("bells-01", seed=4, seconds=1.0)
        np.testing.assert_array_equal(make(name, seed=3, seconds=1.0), first)
        assert not np.array_equal(make(name, seed=4, seconds=1.0), first)


def test_unseen_noises_are_what_they_are_called(noises):
    flat = 10 * np.log10(welch(noises["white"].astype(float), 16000, nperseg=256)[1][2:-2])
    assert flat.std() < 0.8  # dB
    frequencies, power = welch(noises["engine"].astype(float), 16000, nperseg=4096)
    assert power[frequencies < 500].sum() > 0.7 * power.sum()
    frequencies, power = welch(noises["baby_cry"].astype(float), 16000, nperseg=1024)
    assert power[(frequencies > 330) & (frequencies < 4000)].sum() > 0.8 * power.sum()


@pytest.mark.parametrize(("name", "seconds"), [("rain-99", 1.0), ("rain", 1.0), ("rain-01", 0.0), ("nothing-01", 1.0)])
def test_a_noise_that_cannot_be_made_is_refused(name, seconds):
    with pytest.raises(ConfigError, match=f"{name}|seconds={seconds}"):
        noise_generators.make_noise(name, seconds=seconds)


def test_noise_files_are_written_and_completed(tmp_path, monkeypatch):
    monkeypatch.setattr(noise_generators, "training_noises", lambda: ["rain-01", "clicks-02"])
    made = []
    monkeypatch.setattr(
        noise_generators, "make_noise", lambda name, seed: made.append(name) or np.full(1600, 0.1, np.float32)
    )
    folder = builtin_noises(tmp_path, seed=1)
    assert sorted(path.stem for path in folder.iterdir()) == sorted(made)
    made.clear()
    (folder / "rain-01.wav").unlink()
    (folder / "white.wav").write_bytes((folder / "white.wav").read_bytes()[:-100])
    assert builtin_noises(tmp_path, seed=1) == folder
    assert made == ["rain-01", "white"]
    assert builtin_noises(tmp_path, seed=2) != folder


def test_write_noises_puts_one_file_a_type_into_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(noise_generators, "training_noises", lambda: ["sea-waves-01", "knocks-03"])
    folder = noise_generators.write_noises(tmp_path / "noises", seed=7, seconds=1.0)
    assert {path.name for path in folder.iterdir()} == {
        *("sea-waves-01.wav", "knocks-03.wav", "engine.wav", "white.wav", "street.wav", "baby_cry.wav")
    }
    expected = noise_generators.make_noise("knocks-03", seed=7, seconds=1.0)
    np.testing.assert_allclose(audio.read(folder / "knocks-03.wav"), expected, atol=1 / 32768)


# The corpus ---------------------------------------------------------------------------------------------------------


def test_corpus_has_timits_layout_and_split(corpus):
    folder, utterances = corpus
    assert len(utterances) == 30
    by_speaker = collections.defaultdict(list)
    for utterance in utterances:
        by_speaker[utterance.speaker].append(utterance)
        split, dialect, speaker, file = utterance.path.relative_to(next(folder.iterdir())).parts
        assert (split.lower(), speaker.lower()) == (utterance.split, utterance.speaker)
        assert dialect in {f"DR{k}" for k in range(1, 9)} and speaker[0] in "FM"
        assert utterance.utt_id == f"{speaker}_{file[:-4]}".lower()
        first, last, text = utterance.path.with_suffix(".TXT").read_text().split(maxsplit=2)
        assert (int(first), int(last) / 16000, text.strip()) == (0, utterance.duration, utterance.text)
    assert collections.Counter(spoken[0].split for spoken in by_speaker.values()) == {"train": 2, "test": 1}
    for spoken in by_speaker.values():
        kinds = collections.Counter(u.utt_id.split("_")[1][:2] for u in spoken)
        assert kinds == {"sa": 2, "sx": 5, "si": 3}
        assert len({u.text for u in spoken}) == 10 and len({u.split for u in spoken}) == 1


def test_corpus_reads_the_same_with_the_timit_reader(corpus):
    _, utterances = corpus
    assert list(speechtools.build("corpus/timit", data_folder=utterances[0].path.parents[3])) == utterances


def test_speech_is_of_natural_length_and_level(corpus):
    _, utterances = corpus
    levels = []
    for utterance in utterances:
        samples = audio.read(utterance.path).astype(float)
        assert len(samples) / 16000 == utterance.duration and 1.5 < utterance.duration < 6.5
        assert np.abs(samples).max() < 0.95
        frames = np.mean(samples[: len(samples) // 160 * 160].reshape(-1, 160) ** 2, axis=1)
        assert frames.min() > 10**-8.5  # never digital silence
        for edge in (frames[:9], frames[-9:]):  # 0.1 s of silence at least
            assert 10 * np.log10(edge).max() < -70
        levels.append(10 * np.log10(np.mean(samples**2)))
    assert -36 < min(levels) and max(levels) < -17 and np.std(levels) > 0.5


def test_same_seed_same_bytes_for_any_number_of_workers(corpus, tmp_path):
    folder, _ = corpus
    espeak.Synthesizer().speak("Something else was said before.", "en-us+f5")
    list(builtin(tmp_path, **{**FEW, "num_workers": 2}))
    assert contents(tmp_path) == contents(folder)


def test_another_seed_gives_other_speakers_texts_and_bytes(corpus, tmp_path):
    folder, utterances = corpus
    others = list(builtin(tmp_path, seed=1, num_train_speakers=1, num_test_speakers=1, num_workers=1))
    assert next(tmp_path.iterdir()).name != next(folder.iterdir()).name
    waves = {data for name, data in contents(folder).items() if name.endswith("WAV")}
    assert not waves & {other.path.read_bytes() for other in others}


@pytest.mark.parametrize(("seed", "num_train", "num_test"), [(0, 126, 48), (3, 400, 100), (5, 1, 300), (6, 12, 4)])
def test_splits_share_neither_speakers_nor_sentences_but_sa(seed, num_train, num_test):
    plan = module._plan(seed, num_train, num_test)
    speakers, texts = collections.defaultdict(set), collections.defaultdict(set)
    for item in plan:
        speakers[item.speaker.split].add(item.speaker.name)
        texts[item.speaker.split].add(item.text)
    assert (len(speakers["train"]), len(speakers["test"])) == (num_train, num_test)
    assert not speakers["train"] & speakers["test"]
    assert texts["train"] & texts["test"] == set(sentences.SA)
    assert len({item.utt_id for item in plan}) == len({item.relative for item in plan}) == 10 * (num_train + num_test)
    own = [item.text for item in plan if item.sentence.startswith("SI")]
    assert len(set(own)) == len(own)
    assert not set(own) & {item.text for item in plan if not item.sentence.startswith("SI")}


def test_speakers_differ_from_each_other():
    speakers = module._speakers(0, 300, 100)
    assert {speaker.variant for speaker in speakers} == set(module.VARIANTS)
    assert {speaker.accent for speaker in speakers} == set(range(8))
    assert 0.2 < np.mean([speaker.name[0] == "F" for speaker in speakers]) < 0.6
    for one, other in itertools.combinations(speakers, 2):
        if one.variant == other.variant:  # then 1 % in vocal-tract length or a third of a semitone in pitch
            heights = [speaker.pitch / 50 + np.log2(speaker.warp) for speaker in (one, other)]
            assert abs(np.log2(one.warp / other.warp)) > 0.014 or abs(heights[0] - heights[1]) > 1 / 36


def test_only_what_is_missing_is_made_again(tmp_path, monkeypatch):
    utterances = list(builtin(tmp_path, **FEW))
    folder = next(tmp_path.iterdir())
    before = contents(folder)
    gone, cut, mute, *_ = [utterance.path for utterance in utterances]
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:5000])
    mute.with_suffix(".TXT").unlink()
    (folder / "manifest.csv").unlink()
    (gone.parent / f".{gone.name}.1.part").write_bytes(b"torn")  # what a killed process leaves; nobody's business
    made = []
    speak = module._speak
    monkeypatch.setattr(module, "_speak", lambda item: made.append(folder / item.relative) or speak(item))
    assert list(builtin(tmp_path, **FEW)) == utterances
    assert sorted(made) == sorted([gone, cut, mute])
    assert {name: data for name, data in contents(folder).items() if not name.endswith(".part")} == before
    made.clear()
    assert list(builtin(tmp_path, **FEW)) == utterances
    assert made == []


@pytest.mark.skipif(sys.platform != "linux", reason="the workers are forked on Linux only")
def test_a_killed_run_leaves_no_worker_and_is_resumed(tmp_path):
    options = {**FEW, "num_train_speakers": 14, "num_workers": 2}
    code = f"from speechtools.corpora.builtin import builtin; builtin({str(tmp_path)!r}, **{options})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.rglob("*.WAV")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.communicate(timeout=20)  # returns when no worker holds the pipe any longer
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("S*.WAV")}
    assert 0 < len(kept) < 150
    assert not list(tmp_path.rglob("manifest.csv"))
    assert len(list(builtin(tmp_path, **options))) == 150
    assert all(path.stat().st_mtime_ns == then for path, then in kept.items())


def test_manifest_lists_every_file_and_the_readme_says_synthetic(corpus):
    folder, utterances = corpus
    folder = next(folder.iterdir())
    rows = read_rows(folder / "manifest.csv", ["utt_id", "speaker", "split", "path", "duration", "text"])
    assert [(row["utt_id"], folder / row["path"], row["text"]) for row in rows] == [
        (utterance.utt_id, utterance.path, utterance.text) for utterance in utterances
    ]
    assert "SYNTHETIC" in (folder / "README.txt").read_text()


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_full_disk_is_told_and_what_was_made_is_kept(tmp_path, monkeypatch, num_workers):
    write_bytes = Path.write_bytes

    def full(path, data):
        if "SX" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    options = {**FEW, "num_workers": num_workers}
    with pytest.raises(
        CorpusError, match=r"disk is full: .*builtin-\w+ needs about 4 MB.*Nothing already made is lost"
    ):
        builtin(tmp_path, **options)
    kept = {name: data for name, data in contents(tmp_path).items() if name.endswith("WAV")}
    assert kept and not any("part" in name or "manifest" in name for name in contents(tmp_path))
    monkeypatch.undo()
    assert len(list(builtin(tmp_path, **options))) == 30
    assert kept.items() <= contents(tmp_path).items()


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CorpusError, match=r"cannot be written to .*file/builtin-\w+: .*Not a directory"):
        builtin(tmp_path / "file", **FEW)
    with pytest.raises(CorpusError, match=r"noises cannot be written to .*file/noises-\w+: "):
        builtin_noises(tmp_path / "file")


def test_the_cache_folder_is_the_environments_or_in_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("SPEECHTOOLS_CACHE", str(tmp_path / "cache"))
    assert module._cache_folder(None) == tmp_path / "cache"
    assert module._cache_folder(tmp_path / "given") == tmp_path / "given"
    monkeypatch.delenv("SPEECHTOOLS_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert module._cache_folder(None) == tmp_path / ".cache" / "speechtools"


@pytest.mark.parametrize(
    "options", [{"num_train_speakers": 0}, {"num_test_speakers": 0}, {"seed": -1}, {"num_workers": 0}, {"seed": 1.5}]
)
def test_impossible_options_are_refused(tmp_path, options):
    with pytest.raises(ConfigError, match=rf"{next(iter(options))} must be a whole number of at least"):
        builtin(tmp_path, **{**FEW, **options})
