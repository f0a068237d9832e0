"""Stores of speech, N x M batches from them, and their preparation, bad input included."""

import csv
import json
import os
import resource
import shutil

import numpy as np
import pytest
import soundfile
import torch

from speechtools.core.errors import ConfigError, CorpusError, PluginError
from speechtools.speaker import data as speaker_data
from speechtools.speaker import index as speaker_index
from speechtools.speaker import store as speaker_store
from speechtools.speaker.batches import SpeakerBatches, StepSampler, WholeUtterances, speaker_loader
from speechtools.speaker.index import SpeakerRow, Texts
from speechtools.speaker.store import SpeakerStore

RATE = 16000
SHAPE = {"min_samples": 400, "max_samples": 800, "step_samples": 100}

FIELDS = SpeakerRow.columns()[:-1]  # without keywords


def write_store(folder, counts, seconds=0.1):
    """A store whose every utterance is constant: the speaker's number times 100, plus the utterance's."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, pieces, start = [], [], 0
    for speaker, count in enumerate(counts):
        for utterance in range(count):
            samples = round(seconds * RATE) + 10 * utterance
            pieces.append(np.full(samples, 100 * speaker + utterance, dtype=np.int16))
            rows.append([f"s{speaker}-{utterance}", f"s{speaker}", "x.wav", samples / RATE, "a.npy", start, samples])
            start += samples
    np.save(folder / "a.npy", np.concatenate(pieces))
    with open(folder / "train.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([FIELDS, *rows])
    return SpeakerStore(folder / "train.csv")


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "store", [5, 2, 9, 3, 4, 6, 7, 8])


# ----------------------------------------------------------------------------------------------------------- store


def test_a_store_knows_its_utterances(store):
    assert store.speakers == [f"s{k}" for k in range(8)] and len(store) == 44
    assert [store.utt_ids[i] for i in (0, 5, 43)] == ["s0-0", "s1-0", "s7-7"]
    assert [store.speaker_of(i) for i in (0, 4, 5, 6, 7, 43)] == [0, 0, 1, 1, 2, 7]
    assert (store.read(6) == 101).all() and len(store.read(6)) == 1610
    assert (store.read(6, 5, 20) == 101).all() and len(store.read(6, 5, 20)) == 20


def test_what_is_too_short_is_repeated(tmp_path):
    folder = tmp_path / "s"
    folder.mkdir()
    np.save(folder / "a.npy", np.arange(7, dtype=np.int16))
    rows = [FIELDS, ["u", "a", "x", 1, "a.npy", 0, 3], ["v", "b", "x", 1, "a.npy", 3, 4]]
    with open(folder / "train.csv", "w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    store = SpeakerStore(folder / "train.csv")
    assert store.read(1, 2, 9).tolist() == [5, 6, 3, 4, 5, 6, 3, 4, 5]
    assert store.read(0, 0, 3).tolist() == [0, 1, 2]


def test_texts_take_little_memory():
    names = [f"speaker{k:05d}/video/utterance-{k:07d}" for k in range(1000)] + ["ä ß", ""]
    texts = Texts(names)
    assert [texts[i] for i in range(len(texts))] == names
    assert texts.nbytes < 60 * len(names)


def test_stores_that_are_damaged(tmp_path, store):
    with pytest.raises(CorpusError, match=r"no\.csv does not exist"):
        SpeakerStore(tmp_path / "no.csv")
    audio, manifest = tmp_path / "store" / "a.npy", tmp_path / "store" / "train.csv"
    whole = audio.read_bytes()
    np.save(audio, np.zeros(10, np.int16))
    with pytest.raises(CorpusError, match="holds 10 samples and the manifest speaks of"):
        SpeakerStore(manifest)
    audio.write_bytes(whole[:50])
    with pytest.raises(CorpusError, match="cut short"):
        SpeakerStore(manifest)
    audio.unlink()
    with pytest.raises(CorpusError, match="is gone"):
        SpeakerStore(manifest)
    manifest.write_text("utt_id,speaker\nx,y\n")
    with pytest.raises(CorpusError, match="has no column path, duration, shard"):
        SpeakerStore(manifest)


def test_audio_of_another_type_is_refused(tmp_path, store):
    np.save(tmp_path / "store" / "a.npy", np.zeros(10**5, np.float32))
    with pytest.raises(CorpusError, match="float32 of shape .* instead of int16"):
        SpeakerStore(tmp_path / "store" / "train.csv")


def test_what_a_store_reads_cannot_be_written_to(store):
    with pytest.raises(ValueError, match="read-only"):
        store.read(0)[0] = 1


def test_a_store_may_have_more_shards_than_a_process_may_have_open_files(tmp_path):
    rows = [FIELDS]
    for number in range(200):
        np.save(tmp_path / f"{number}.npy", np.full(7, number, dtype=np.int16))
        rows.append([f"u{number}", f"s{number // 2:03d}", "x", 7 / RATE, f"{number}.npy", 0, 7])
    with open(tmp_path / "train.csv", "w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    first_free = os.dup(0)
    os.close(first_free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (first_free + 20, hard))
    try:
        store = SpeakerStore(tmp_path / "train.csv")
        assert all((store.read(number) == number).all() for number in range(200))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_index_is_compact_whatever_the_paths(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(9, np.int16))
    names = [f"id{n // 20:05d}/a-video-of-some-interview/{n:07d}" for n in range(2000)]
    with open(tmp_path / "train.csv", "w", newline="") as stream:
        rows = [[name, name[:7], "/corpora/".ljust(300, "x"), 0.1, "a.npy", 0, 9] for name in names]
        csv.writer(stream).writerows([FIELDS, *rows])
    assert SpeakerStore(tmp_path / "train.csv").index_bytes <= 200 * len(names)


# ----------------------------------------------------------------------------------------------------------- index


def write_manifest(folder, rows, fields=FIELDS):
    folder.mkdir(exist_ok=True)
    np.save(folder / "a.npy", np.arange(100, dtype=np.int16))
    with open(folder / "train.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([fields, *rows])
    return folder / "train.csv"


def test_the_index_follows_its_manifest(tmp_path):
    manifest = write_manifest(tmp_path, [["u0", "s0", "x", 1, "a.npy", 0, 9]])
    assert len(SpeakerStore(manifest)) == 1
    made = (tmp_path / "train.index" / "about.json").stat().st_mtime_ns
    assert len(SpeakerStore(manifest)) == 1
    assert (tmp_path / "train.index" / "about.json").stat().st_mtime_ns == made
    write_manifest(tmp_path, [["u0", "s0", "x", 1, "a.npy", 0, 9], ["u1", "s1", "x", 1, "a.npy", 9, 50]])
    store = SpeakerStore(manifest)
    assert store.speakers == ["s0", "s1"] and store.read(1)[0] == 9 and store.utt_ids[1] == "u1"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_index_torn_by_a_crash_is_made_again(tmp_path):
    manifest = write_manifest(tmp_path, [["u0", "s0", "x", 1, "a.npy", 3, 9]])
    SpeakerStore(manifest)
    (tmp_path / "train.index" / "start.bin").unlink()
    assert SpeakerStore(manifest).read(0).tolist() == list(range(3, 12))


def test_a_manifest_in_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    manifest = write_manifest(tmp_path, [["u0", "s0", "x", 1, "a.npy", 3, 9]])
    make = speaker_index.tempfile.mkdtemp

    def refuses(suffix=None, prefix=None, dir=None):
        if dir == manifest.parent:
            raise PermissionError(13, "Permission denied")
        return make(suffix, prefix, dir)

    monkeypatch.setattr(speaker_index.tempfile, "mkdtemp", refuses)
    store = SpeakerStore(manifest)
    assert store.read(0).tolist() == list(range(3, 12)) and not (tmp_path / "train.index").exists()


def test_rows_that_are_not_sorted_by_speaker(tmp_path):
    rows = [[f"u{k}", f"s{k % 2}", "x", 1, "a.npy", 0, 9] for k in range(3)]
    with pytest.raises(CorpusError, match="not sorted by speaker"):
        SpeakerStore(write_manifest(tmp_path, rows))


def test_keywords_are_told_where_the_manifest_has_them(tmp_path):
    rows = [[f"u{k}", "s0", "x", 1, "a.npy", 0, 9, word] for k, word in enumerate(["hey", "ok", "hey"])]
    store = SpeakerStore(write_manifest(tmp_path, rows, [*FIELDS, "keyword"]))
    assert [store.keywords[k] for k in store.keyword] == ["hey", "ok", "hey"]


def write_shards(folder, count):
    """A manifest of ``count`` files with two utterances each, of one speaker."""
    rows, tracks = [], np.random.default_rng(0).integers(-9999, 9999, (count, 50)).astype(np.int16)
    folder.mkdir(exist_ok=True)
    for k, track in enumerate(tracks):
        np.save(folder / f"{k}.npy", track)
        rows += [[f"u{k}-{n}", f"s{k}", "x", 1, f"{k}.npy", 20 * n, 20 + 10 * n] for n in range(2)]
    return write_manifest(folder, rows)


def test_many_shards_are_read_as_few_are(tmp_path, monkeypatch):
    manifest = write_shards(tmp_path, 10)
    few = SpeakerStore(manifest)
    monkeypatch.setattr(speaker_store, "MAX_MAPS", 3)
    many = SpeakerStore(manifest)
    for utterance in [*range(20), 9, 0, 19]:
        for part in ((), (3, 12), (5, 40)):
            assert np.array_equal(many.read(utterance, *part), few.read(utterance, *part))
        assert not many._maps and len(many._files) <= speaker_store.MAX_OPEN
    with pytest.raises(ValueError, match="read-only"):
        many.read(0)[0] = 1
    batches = [SpeakerBatches(store, 4, 2, 10, 25, 5) for store in (few, many)]
    loaders = [speaker_loader(each, StepSampler(6), workers) for each, workers in zip(batches, (0, 1), strict=True)]
    for one, other in zip(*loaders, strict=True):
        assert torch.equal(one.wavs, other.wavs)


def test_a_damaged_one_of_many_shards_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(speaker_store, "MAX_MAPS", 3)
    store = SpeakerStore(write_shards(tmp_path, 10))
    np.save(tmp_path / "8.npy", np.zeros(10, np.int16))
    with pytest.raises(CorpusError, match="^.*8.npy holds 10 samples and the manifest speaks of 50"):
        store.read(16)
    (tmp_path / "8.npy").write_bytes(b"torn")
    with pytest.raises(CorpusError, match="8.npy cannot be opened .*cut short"):
        store.read(16)
    (tmp_path / "8.npy").unlink()
    with pytest.raises(CorpusError, match="8.npy is gone"):
        store.read(16)


def test_it_does_not_matter_how_many_rows_are_written_at_a_time(tmp_path, monkeypatch):
    made = []
    for chunk in (1, 3, 7, 1000):
        monkeypatch.setattr(speaker_index, "_CHUNK", chunk)
        manifest = write_shards(tmp_path / str(chunk), 10)
        SpeakerStore(manifest)
        made.append({path.name: path.read_bytes() for path in manifest.with_suffix(".index").glob("*.bin")})
    assert made[0]["samples.bin"] and all(each == made[0] for each in made)


# --------------------------------------------------------------------------------------------------------- batches


def test_a_batch_is_n_distinct_speakers_with_m_utterances_each(store):
    batches = SpeakerBatches(store, 4, 3, **SHAPE)
    lengths = set()
    for step in range(40):
        batch, plan = batches[step], batches.plan(step)
        lengths.add(plan.samples)
        assert batch.wavs.shape == (12, plan.samples) and batch.wavs.dtype == torch.int16
        assert len(set(batch.speakers.tolist())) == 4
        speakers = [store.speaker_of(u) for u in plan.utterances]
        assert speakers == batch.speakers.repeat_interleave(3).tolist()
        values = torch.tensor([100 * s + (u - store.first[s]) for s, u in zip(speakers, plan.utterances, strict=True)])
        assert torch.equal(batch.to("cpu").wavs, (values / 32768).float().unsqueeze(1).expand_as(batch.wavs))
        for row in plan.utterances.reshape(4, 3):
            held = store.first[store.speaker_of(row[0]) + 1] - store.first[store.speaker_of(row[0])]
            assert len(set(row)) == min(3, held)  # none twice before all were taken
    assert lengths == {400, 500, 600, 700, 800}


def test_a_batch_depends_on_seed_and_step_alone(store):
    one, other = SpeakerBatches(store, 4, 3, **SHAPE), SpeakerBatches(store, 4, 3, **SHAPE)
    for step in (7, 3, 100):
        assert torch.equal(one[step].wavs, other[step].wavs)
    assert not np.array_equal(one.plan(0).utterances, one.plan(1).utterances)
    reseeded = SpeakerBatches(store, 4, 3, seed=1, **SHAPE)
    assert not np.array_equal(one.plan(0).utterances, reseeded.plan(0).utterances)


def test_processes_draw_other_speakers_of_one_length(store):
    ranks = [SpeakerBatches(store, 4, 2, rank=rank, world_size=2, **SHAPE) for rank in range(2)]
    for step in range(20):
        one, two = (rank.plan(step) for rank in ranks)
        assert one.samples == two.samples
        speakers = [store.speaker_of(u) for u in (*one.utterances[::2], *two.utterances[::2])]
        assert len(set(speakers)) == 8


def test_utterances_shorter_than_the_part_go_round(tmp_path):
    held = [300, 399, 400, 401, 450, 900]  # samples, the parts have 400
    tracks = [np.random.default_rng(each).integers(-9999, 9999, each).astype(np.int16) for each in held]
    np.save(tmp_path / "a.npy", np.concatenate(tracks))
    rows, start = [FIELDS], 0
    for number, samples in enumerate(held):
        rows.append([f"u{number}", f"s{number // 2}", "x", 1, "a.npy", start, samples])
        start += samples
    with open(tmp_path / "train.csv", "w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    batches = SpeakerBatches(SpeakerStore(tmp_path / "train.csv"), 3, 2, 400, 400)
    for step in range(30):
        plan = batches.plan(step)
        for wav, utterance, start in zip(batches[step].wavs, plan.utterances, plan.starts, strict=True):
            positions = (start + np.arange(400)) % held[utterance]
            assert np.array_equal(wav.numpy(), tracks[utterance][positions])
            assert held[utterance] < 400 or start + 400 <= held[utterance]  # what is long enough is not wrapped


def test_every_speaker_and_utterance_comes(store):
    batches = SpeakerBatches(store, 3, 2, **SHAPE)
    assert {int(u) for step in range(300) for u in batches.plan(step).utterances} == set(range(44))


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_pass_takes_every_speaker_once_and_the_next_in_another_order(store, world_size):
    ranks = [SpeakerBatches(store, 2, 2, rank=k, world_size=world_size, **SHAPE) for k in range(world_size)]
    passes = []
    for step in range(0, 40, ranks[0].steps_per_pass):
        steps = range(step, step + ranks[0].steps_per_pass)
        passes.append([s for k in steps for rank in ranks for s in rank[k].speakers.tolist()])
    assert all(sorted(each) == list(range(8)) for each in passes)
    assert len({tuple(each) for each in passes}) > len(passes) // 2
    # Batches may be asked for in any order.
    assert ranks[0][0].speakers.tolist() == passes[0][:2]


def test_steps_go_on_where_they_were():
    steps = StepSampler(5)
    assert list(steps) == [0, 1, 2, 3, 4] and len(steps) == 5
    steps.set_position(3, 2)
    iter(steps)  # as a DataLoader with processes does, before it asks for another
    assert list(steps) == [12, 13, 14]
    assert list(steps) == [10, 11, 12, 13, 14]


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_hands_batches_on_as_they_are(store, workers):
    batches, steps = SpeakerBatches(store, 4, 2, **SHAPE), StepSampler(3)
    steps.set_position(2)
    for batch, step in zip(speaker_loader(batches, steps, workers), (3, 4, 5), strict=True):
        assert torch.equal(batch.wavs, batches[step].wavs) and torch.equal(batch.speakers, batches[step].speakers)


def test_whole_utterances_come_in_order(store):
    loader = speaker_loader(WholeUtterances(store, RATE, batch_seconds=0.35))
    wavs = [wav for batch in loader for wav in batch.to("cpu").wavs]
    assert len(loader) > 5 and [len(wav) for wav in wavs] == store.num_samples.tolist()
    assert torch.cat([batch.speakers for batch in loader]).tolist() == [store.speaker_of(i) for i in range(44)]


@pytest.mark.parametrize(
    "counts, arguments, error, message",
    [
        ([3, 3, 3], {"num_speakers": 1}, ConfigError, "at least 2; got 1. Raise speakers_per_batch"),
        ([3, 3, 3], {"num_utterances": 1}, ConfigError, "at least 2; got 1. Raise utterances_per_speaker"),
        ([3, 3, 3], {"num_speakers": 4}, ConfigError, "only 3 speakers.*Lower speakers_per_batch"),
        ([3, 3, 3], {"world_size": 2}, ConfigError, "each of 2 process.*only 3 speakers"),
        ([5], {}, CorpusError, "has 1 speakers, of which 1"),
        ([1, 1, 4], {}, CorpusError, "of which 1 have two utterances"),
        ([3, 3], {"min_samples": 900}, ConfigError, "cannot be drawn"),
    ],
)
def test_batches_that_cannot_be(tmp_path, counts, arguments, error, message):
    store = write_store(tmp_path, counts)
    with pytest.raises(error, match=message):
        SpeakerBatches(store, **{"num_speakers": 2, "num_utterances": 2, **SHAPE, **arguments})


def test_speakers_with_one_utterance_are_left_out_with_a_warning(tmp_path, caplog):
    batches = SpeakerBatches(write_store(tmp_path, [3, 1, 2]), 2, 2, **SHAPE)
    assert "1 of 3 training speakers have a single utterance and are left out: s1" in caplog.text
    assert 3 not in {int(u) for step in range(30) for u in batches.plan(step).utterances}


# ----------------------------------------------------------------------------------------------------- preparation


def write_corpus(folder, speakers=8, utterances=3):
    rng = np.random.default_rng(0)
    for speaker in range(speakers):
        for number in range(utterances):
            path = folder / f"spk{speaker}" / f"u{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            wave = np.concatenate([np.zeros(RATE // 2), 0.1 * rng.standard_normal(RATE), np.zeros(RATE // 2)])
            soundfile.write(path, wave, RATE)
    return folder


def prepare(recordings, folder, **options):
    defaults = {"corpus": "folder", "heldout_share": 0.3, "valid_share": 0.3, "num_workers": 1}
    return speaker_data.prepare(**{"data_folder": recordings, "save_folder": folder, **defaults, **options})


def test_preparation_divides_the_speakers_and_keeps_the_speech(tmp_path):
    sets = prepare(write_corpus(tmp_path / "corpus"), tmp_path / "prepared")
    stores = sets.open()
    names = [set(store.speakers) for store in stores.values()]
    assert sum(map(len, names)) == 8 and len(set.union(*names)) == 8
    assert all(len(store.speakers) >= 2 for store in stores.values())
    for store in stores.values():
        assert np.allclose(store.num_samples / RATE, 1.0, atol=0.06)  # the pauses are gone
    before = sets.manifests["train"].stat().st_mtime_ns
    assert prepare(tmp_path / "corpus", tmp_path / "prepared") == sets
    assert sets.manifests["train"].stat().st_mtime_ns == before
    assert prepare(tmp_path / "corpus", tmp_path / "prepared", seed=1) != sets


def test_bad_recordings_are_rejected_with_their_reason(tmp_path):
    corpus = write_corpus(tmp_path / "corpus")
    soundfile.write(corpus / "spk0" / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(corpus / "spk1" / "short.wav", 0.1 * np.ones(RATE // 10) * np.sin(np.arange(RATE // 10)), RATE)
    flac = corpus / "spk2" / "cut.flac"
    soundfile.write(flac, 0.1 * np.random.default_rng(0).standard_normal(2 * RATE), RATE)
    flac.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])
    sets = prepare(corpus, tmp_path / "prepared")
    with open(sets.manifests["train"].parent / "rejected.csv", newline="") as stream:
        reasons = {row["path"].rpartition("/")[2]: row["reason"] for row in csv.DictReader(stream)}
    assert set(reasons) == {"silent.wav", "short.wav", "cut.flac"} and "truncated or damaged" in reasons["cut.flac"]
    assert "silent" in reasons["silent.wav"] and "less than min_seconds=0.4" in reasons["short.wav"]
    ids = [store.utt_ids[i] for store in sets.open().values() for i in range(len(store))]
    assert len(ids) == 24


def test_what_a_killed_run_has_finished_is_kept(tmp_path, monkeypatch):
    corpus = write_corpus(tmp_path / "corpus")
    monkeypatch.setattr(speaker_data, "SHARD_UTTERANCES", 4)
    done, speech_of = [], speaker_data.speech_of

    def dies(*arguments):
        if len(done) == 9:
            raise KeyboardInterrupt
        done.append(arguments[0])
        return speech_of(*arguments)

    monkeypatch.setattr(speaker_data, "speech_of", dies)
    with pytest.raises(KeyboardInterrupt):
        prepare(corpus, tmp_path / "prepared")
    finished = set(done[:8])
    done.clear()
    monkeypatch.setattr(speaker_data, "speech_of", lambda *a: done.append(a[0]) or speech_of(*a))
    stores = prepare(corpus, tmp_path / "prepared").open()
    assert not finished & set(done) and len(done) == 16
    assert sum(len(store) for store in stores.values()) == 24


def test_a_corpus_that_has_grown_since_a_killed_run_is_divided_anew(tmp_path, monkeypatch):
    corpus = write_corpus(tmp_path / "corpus")
    monkeypatch.setattr(speaker_data, "SHARD_UTTERANCES", 4)
    for manifest in prepare(corpus, tmp_path / "prepared").manifests.values():
        manifest.unlink()  # the shards stay, as after a kill
    for number in range(4):
        shutil.copytree(corpus / "spk0", corpus / f"new{number}")
    stores = prepare(corpus, tmp_path / "prepared").open().values()
    assert len({name for store in stores for name in store.speakers}) == sum(len(store.speakers) for store in stores)
    ids = [store.utt_ids[i] for store in stores for i in range(len(store))]
    assert len(ids) == len(set(ids)) == 36


def test_a_shard_emptied_by_a_crash_is_made_again(tmp_path):
    corpus = write_corpus(tmp_path / "corpus")
    sets = prepare(corpus, tmp_path / "prepared")
    folder = sets.manifests["train"].parent
    before = sets.manifests["train"].read_bytes()
    sets.manifests["train"].unlink()
    (folder / "shards" / "train-0.json").write_bytes(b"")
    assert prepare(corpus, tmp_path / "prepared").manifests["train"].read_bytes() == before


def test_processes_do_not_change_what_is_made(tmp_path, monkeypatch):
    corpus = write_corpus(tmp_path / "corpus")
    monkeypatch.setattr(speaker_data, "SHARD_UTTERANCES", 4)
    one, two = (prepare(corpus, tmp_path / f"{count}", num_workers=count) for count in (1, 2))
    for split, manifest in one.manifests.items():
        assert manifest.read_bytes() == two.manifests[split].read_bytes()
        pairs = zip(*(sets.open()[split]._maps.values() for sets in (one, two)), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


def test_a_full_disk_is_told_of_the_manifests_too(tmp_path, monkeypatch):
    corpus = write_corpus(tmp_path / "corpus")
    monkeypatch.setattr(speaker_data, "write_rows", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(CorpusError, match="rejected.csv cannot be written .*No space left.*Free some space and start"):
        prepare(corpus, tmp_path / "prepared")
    monkeypatch.undo()
    assert prepare(corpus, tmp_path / "prepared").open()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(CorpusError, match="nowhere does not exist"):
        prepare(tmp_path / "nowhere", tmp_path / "prepared")


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    corpus = write_corpus(tmp_path / "corpus")
    monkeypatch.setattr(speaker_data.np, "save", lambda *a: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(CorpusError, match="cannot be written .*No space left.*Free some space and start again"):
        prepare(corpus, tmp_path / "prepared")
    monkeypatch.undo()
    assert prepare(corpus, tmp_path / "prepared").open()


@pytest.mark.parametrize(
    "speakers, options, error, message",
    [
        (1, {}, CorpusError, "which leaves none for"),
        (3, {}, CorpusError, "set has 1 speaker.*at least 2|2 or more|leaves none for"),
        (8, {"vad": "energi"}, PluginError, "Did you mean 'vad/energy'"),
        (8, {"heldout_share": 1.2}, ConfigError, "heldout_share=1.2 is a share"),
        (8, {"valid_share": -0.1}, ConfigError, "valid_share=-0.1 is a share"),
        (8, {"min_seconds": 0}, ConfigError, "min_seconds=0 must be positive"),
        (8, {"min_seconds": 5.0}, CorpusError, "0 speaker.*24 utterances were rejected"),
        (8, {"corpus": "foldre"}, PluginError, "Did you mean 'corpus/folder'"),
        (8, {"corpus": ["folder", "folder"]}, ConfigError, "2 corpora .* but 1 data folders"),
    ],
)
def test_corpora_and_options_that_cannot_be(tmp_path, speakers, options, error, message):
    corpus = write_corpus(tmp_path / "corpus", speakers)
    with pytest.raises(error, match=message):
        prepare(corpus, tmp_path / "prepared", **options)


def test_the_origin_calls_synthetic_speech_so(tmp_path, builtin_cache):
    sets = speaker_data.prepare(
        corpus_options={"builtin": {"num_train_speakers": 5, "num_test_speakers": 2, "num_workers": 1}},
        save_folder=tmp_path,
        num_workers=1,
    )
    assert "synthetic" in sets.origin
    about = json.loads((sets.manifests["train"].parent / "about.json").read_text())
    assert about["origin"] == sets.origin
