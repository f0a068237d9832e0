"""The preparation of corpora of speakers: stores of speech, resuming, bad input."""

import shutil

import numpy as np
import pytest
import soundfile

from speechtools.core.errors import ConfigError, CorpusError, PluginError
from speechtools.core.rows import check_manifest, read_rows
from speechtools.speaker import data as speaker_data
from speechtools.speaker import shards

RATE = 16000


def write_corpus(folder, speakers=8, utterances=3):
    rng = np.random.default_rng(0)
    for speaker in range(speakers):
        (folder / f"spk{speaker}").mkdir(parents=True)
        for number in range(utterances):
            wave = np.pad(0.1 * rng.standard_normal(RATE), RATE // 2)
            soundfile.write(folder / f"spk{speaker}" / f"u{number}.wav", wave, RATE)
    return folder


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Eight speakers with three utterances each; shards of four utterances."""
    monkeypatch.setattr(shards, "SHARD_UTTERANCES", 4)
    return write_corpus(tmp_path / "corpus")


def prepare(recordings, folder, **options):
    defaults = {"corpus": "folder", "heldout_share": 0.3, "valid_share": 0.3, "num_workers": 1}
    return speaker_data.prepare(**{"data_folder": recordings, "save_folder": folder, **defaults, **options})


def utt_ids(sets):
    return [store.utt_ids[i] for store in sets.open().values() for i in range(len(store))]


def test_speakers_are_divided_and_pauses_removed(corpus, tmp_path):
    sets = prepare(corpus, tmp_path / "prepared")
    stores = sets.open()
    names = [set(store.speakers) for store in stores.values()]
    assert sum(map(len, names)) == len(set.union(*names)) == 8
    for store in stores.values():
        assert len(store.speakers) >= 2 and np.allclose(store.num_samples / RATE, 1.0, atol=0.06)
    modified = sets.manifests["train"].stat().st_mtime_ns
    assert prepare(corpus, tmp_path / "prepared") == sets
    assert sets.manifests["train"].stat().st_mtime_ns == modified
    assert prepare(corpus, tmp_path / "prepared", seed=1) != sets


def test_two_corpora_are_joined_in_one_preparation(corpus, tmp_path):
    other = write_corpus(tmp_path / "other", speakers=6, utterances=2)  # speakers of the same names
    sets = prepare([corpus, other], tmp_path / "prepared", corpus=["folder", "folder"])
    stores = sets.open()
    assert sets.origin == "folder + folder" and sorted(utt_ids(sets))[-1] == "folder1-spk5-u1"
    assert sum(len(store) for store in stores.values()) == 8 * 3 + 6 * 2
    speakers = [set(store.speakers) for store in stores.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 14
    assert all({name.partition("-")[0] for name in names} == {"folder0", "folder1"} for names in speakers)
    for path in sets.manifests.values():
        assert check_manifest(path)[2] == []


def test_bad_recordings_are_rejected_with_their_reason(corpus, tmp_path):
    soundfile.write(corpus / "spk0" / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(corpus / "spk1" / "short.wav", 0.1 * np.sin(np.arange(RATE // 10)), RATE)
    sets = prepare(corpus, tmp_path / "prepared")
    rows = read_rows(sets.manifests["train"].parent / "rejected.csv", shards.RejectedRow)
    assert [row.path.rpartition("/")[2] for row in rows] == ["silent.wav", "short.wav"]
    assert "silent" in rows[0].reason and "less than min_seconds=0.4" in rows[1].reason
    assert len(utt_ids(sets)) == 24


def test_after_a_kill_finished_shards_are_kept(corpus, tmp_path, monkeypatch):
    done, speech_of = [], speaker_data.speech_of

    def counted(path, *arguments):
        if len(done) == 9:
            raise KeyboardInterrupt
        done.append(path)
        return speech_of(path, *arguments)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(speaker_data, "speech_of", counted)
        prepare(corpus, tmp_path / "prepared")
    finished = set(done[:8])
    done.clear()
    monkeypatch.setattr(speaker_data, "speech_of", lambda *a: done.append(a[0]) or speech_of(*a))
    sets = prepare(corpus, tmp_path / "prepared")
    assert not finished & set(done) and len(done) == 16 and len(utt_ids(sets)) == 24


def test_a_corpus_that_has_grown_since_a_kill_is_divided_again(corpus, tmp_path):
    for manifest in prepare(corpus, tmp_path / "prepared").manifests.values():
        manifest.unlink()  # the shards stay, as after a kill
    for number in range(4):
        shutil.copytree(corpus / "spk0", corpus / f"new{number}")
    sets = prepare(corpus, tmp_path / "prepared")
    speakers = [name for store in sets.open().values() for name in store.speakers]
    assert len(speakers) == len(set(speakers)) == 12 and len(set(utt_ids(sets))) == len(utt_ids(sets)) == 36


def test_a_shard_emptied_by_a_crash_is_made_again(corpus, tmp_path):
    train = prepare(corpus, tmp_path / "prepared").manifests["train"]
    before = train.read_bytes()
    train.unlink()
    (train.parent / "shards" / "train-0.json").write_bytes(b"")
    assert prepare(corpus, tmp_path / "prepared").manifests["train"].read_bytes() == before


def test_the_number_of_processes_changes_nothing(corpus, tmp_path):
    one, two = (prepare(corpus, tmp_path / f"{count}", num_workers=count) for count in (1, 2))
    for split, manifest in one.manifests.items():
        assert manifest.read_bytes() == two.manifests[split].read_bytes()
        stores = one.open()[split], two.open()[split]
        assert all(np.array_equal(*(store.read(k) for store in stores)) for k in range(len(stores[0])))


@pytest.mark.parametrize("target, name, file", [(shards, "write_rows", "rejected.csv"), (shards.np, "save", "0.npy")])
def test_after_a_full_disk_the_preparation_can_be_completed(corpus, tmp_path, monkeypatch, target, name, file):
    def full(*arguments):
        raise OSError(28, "No space left")

    with monkeypatch.context() as patch, pytest.raises(CorpusError, match=f"{file}: No space left.*free some space"):
        patch.setattr(target, name, full)
        prepare(corpus, tmp_path / "prepared")
    assert prepare(corpus, tmp_path / "prepared").open()


@pytest.mark.parametrize(
    "speakers, options, error, message",
    [
        (3, {}, CorpusError, "1 speaker|leaves none for"),
        (0, {}, CorpusError, "corpus does not exist"),
        (8, {"vad": "energi"}, PluginError, "Did you mean 'vad/energy'"),
        (8, {"heldout_share": 1.2}, ConfigError, "heldout_share=1.2"),
        (8, {"min_seconds": 0}, ConfigError, "min_seconds: 0"),
        (8, {"num_train_speakers": 9}, ConfigError, "needs 9 speakers, .* only [0-9]. Lower speakers_per_batch"),
        (8, {"min_seconds": 5.0}, CorpusError, "0 speaker.*24 utterances were rejected"),
        (8, {"corpus": ["folder", "folder"]}, ConfigError, "2 corpora .* 1 data folders"),
    ],
)
def test_impossible_corpora_and_options(tmp_path, speakers, options, error, message):
    with pytest.raises(error, match=message):
        prepare(write_corpus(tmp_path / "corpus", speakers), tmp_path / "prepared", **options)


def test_too_few_speakers_for_a_step_are_refused_before_anything_is_decoded(corpus, tmp_path):
    with pytest.raises(ConfigError, match="speakers_per_batch"):
        prepare(corpus, tmp_path / "prepared", num_train_speakers=20)
    assert not (tmp_path / "prepared").exists()


def test_synthetic_speech_is_named_and_its_manifests_are_sound(tmp_path, builtin_cache):
    options = {"builtin": {"num_train_speakers": 5, "num_test_speakers": 2, "num_workers": 1}}
    sets = speaker_data.prepare(corpus_options=options, save_folder=tmp_path, num_workers=1)
    assert "synthetic" in sets.origin
    for path in sets.manifests.values():
        name, count, problems = check_manifest(path)
        assert name == "speaker" and count > 0 and problems == []
