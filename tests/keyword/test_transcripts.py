"""Transcribed speech: what is kept of a corpus, and the batches of a detector."""

import numpy as np
import pytest
import soundfile
import torch

from speechtools.audio.frames import frame_counts
from speechtools.core.errors import ConfigError, CorpusError
from speechtools.corpora.utterance import Utterance
from speechtools.keyword import transcripts
from speechtools.keyword.tokens import ALPHABET, train_tokens
from tests.speaker.test_inference import RATE, voice


@pytest.fixture
def corpus(tmp_path):
    """Kaldi lists of nine speakers with two utterances each."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    lists = {"wav.scp": [], "utt2spk": [], "text": []}
    texts = ["Hello, there!", "good-bye", "number 7", "", "It's fine", "open the door"]
    for speaker in range(9):
        for number in range(2):
            name, text = f"s{speaker}-{number}", texts[(2 * speaker + 3 * number) % 6]
            samples = np.concatenate([np.zeros(RATE), voice(1.5, 100 + 20 * speaker, number), np.zeros(RATE)])
            soundfile.write(folder / f"{name}.wav", samples + 0.1, RATE)
            lists["wav.scp"].append(f"{name} {name}.wav")
            lists["utt2spk"].append(f"{name} s{speaker}")
            lists["text"].append(f"{name} {text}")
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def prepare(corpus, tmp_path, **options):
    shares = {"heldout_share": 0.34, "valid_share": 0.34}
    return transcripts.prepare("kaldi", corpus, tmp_path / "prepared", num_workers=1, **(shares | options))


def test_recordings_are_kept_with_usable_texts_and_without_silence(corpus, tmp_path):
    stores = prepare(corpus, tmp_path).open()
    speakers = [speaker for store in stores.values() for speaker in store.speakers]
    assert sorted(speakers) == sorted(set(speakers)) and len(speakers) == 9
    texts = {text for store in stores.values() for text in store.keywords}
    assert texts <= {"hello there", "good bye", "it's fine", "open the door"} and len(texts) == 4
    for store in stores.values():
        for utterance in range(len(store)):
            samples = store.read(utterance) / 2**15
            assert 1.0 < len(samples) / RATE < 2.3 and abs(samples.mean()) < 0.01
    assert prepare(corpus, tmp_path).manifests["train"] == prepare(corpus, tmp_path).manifests["train"]


def test_degraded_copies_are_items_of_training_alone(corpus, tmp_path):
    options = {"degradations": ["noise(snr_db=10)"], "degraded_copies": 2}
    stores = prepare(corpus, tmp_path, **options).open()
    tokens = train_tokens(["hello there good bye it's fine open the door"])
    train = transcripts.TranscribedSpeech(stores["train"], tokens, RATE, copies=True)
    assert len(train) == 3 * len(stores["train"]) == len(train.rows)
    items = [train[number] for number in range(0, len(train), len(stores["train"]))]
    assert all(item["tokens"] == items[0]["tokens"] for item in items)
    assert len({len(item["wav"]) for item in items}) == 1 and not torch.equal(items[0]["wav"], items[1]["wav"])
    assert items[0]["wav"].dtype == torch.float32
    assert tokens.decode(items[0]["tokens"]) in {"hello there", "good bye", "it's fine", "open the door"}
    assert train.rows[0].duration == pytest.approx(len(items[0]["wav"]) / RATE)
    assert len(transcripts.TranscribedSpeech(stores["valid"], tokens, RATE)) == len(stores["valid"])


def test_a_corpus_of_one_speaker_beside_another_is_for_training(corpus, tmp_path):
    alone = tmp_path / "alone"
    alone.mkdir()
    soundfile.write(alone / "a.wav", voice(1.5, 120, 1), RATE)
    for name, line in {"wav.scp": "a a.wav", "utt2spk": "a anna", "text": "a quite alone"}.items():
        (alone / name).write_text(line + "\n")
    shares = {"heldout_share": 0.34, "valid_share": 0.34, "num_workers": 1}
    stores = transcripts.prepare(["kaldi", "kaldi"], [corpus, alone], tmp_path / "both", **shares).open()
    assert "quite alone" in stores["train"].keywords
    assert not any("quite alone" in stores[split].keywords for split in ("valid", "test"))


def test_two_utterances_in_a_row_lose_nothing():
    wavs, lens = torch.randn(5, 100), torch.tensor([1.0, 0.5, 0.3, 0.8, 0.9])
    tokens = [torch.arange(1, 2 + number) for number in range(5)]
    pairs, pair_lens, pair_tokens = transcripts.joined(wavs, lens, tokens)
    assert pairs.shape == (3, 180) and [len(item) for item in pair_tokens] == [5, 7, 3]
    assert frame_counts(pairs, pair_lens).tolist() == [180, 140, 30]
    assert torch.equal(pairs[0], torch.cat([wavs[0], wavs[3, :80]]))
    assert torch.equal(pairs[2, :30], wavs[2, :30]) and not pairs[2, 30:].any()


def test_gains_are_within_their_range():
    torch.manual_seed(0)
    wavs = torch.ones(200, 3)
    decibels = 20 * transcripts.random_gains(wavs, 12.0)[:, 0].log10()
    assert -12 <= decibels.min() < -10 and 10 < decibels.max() <= 12
    assert torch.equal(transcripts.random_gains(wavs, 0.0), wavs)


def test_mistakes(corpus, tmp_path):
    with pytest.raises(ConfigError, match="max_seconds"):
        prepare(corpus, tmp_path, max_seconds=0)
    with pytest.raises(ConfigError, match="degradations is empty"):
        prepare(corpus, tmp_path, degraded_copies=1)
    with pytest.raises(CorpusError, match="alphabet 'xyz'"):
        prepare(corpus, tmp_path, alphabet="xyz")
    (corpus / "text").unlink()
    with pytest.raises(CorpusError, match="no text"):
        prepare(corpus, tmp_path)


def test_too_long_recordings_are_rejected(corpus, tmp_path):
    with pytest.raises(CorpusError, match="speaker"):
        prepare(corpus, tmp_path, max_seconds=0.5)
    rejected = next((tmp_path / "prepared").glob("*/rejected.csv")).read_text()
    assert "more than max_seconds=0.5" in rejected


def test_texts_are_normalised_and_counted(tmp_path):
    utterances = [Utterance(str(k), "s", "", tmp_path, 1.0, text) for k, text in enumerate(["A b!", None, "ü", "c d"])]
    kept = transcripts.with_usable_texts(utterances, ALPHABET, "kaldi")
    assert [utterance.text for utterance in kept] == ["a b", "c d"]
