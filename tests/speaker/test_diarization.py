"""Who speaks when: turns, names of enrolled voices, and recordings without speech."""

import io

import numpy as np
import pytest
import soundfile
import torch

import speechtools
from speechtools.audio.turns import read_rttm
from speechtools.core.errors import AudioError, ConfigError, PluginError
from speechtools.inference import SpeakerDiarization
from tests.speaker.test_inference import RATE, load, voice, write_model

pytest.importorskip("spectralcluster")
PITCHES = {"anna": 120.0, "ben": 200.0, "clara": 320.0}


class MeanSpectrum(torch.nn.Module):
    """Projects the mean spectrum to six numbers."""

    def __init__(self, mean):
        super().__init__()
        self.mean = mean
        self.projection = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))

    def forward(self, feats, lens=None):
        return (feats.mean(dim=1) - self.mean) @ self.projection


@pytest.fixture(scope="module")
def diarizer(tmp_path_factory):
    """A model whose d-vectors are the mean spectrum, which tells the buzzes of :func:`voice` apart."""
    model = load(write_model(tmp_path_factory.mktemp("model") / "pretrained"), SpeakerDiarization)
    spectra = [model.features(torch.from_numpy(voice(3.0, pitch))[None]).mean(dim=1) for pitch in PITCHES.values()]
    model.encoder = MeanSpectrum(sum(spectra) / len(spectra))
    model.threshold = 0.8
    return model


@pytest.fixture(autouse=True)
def no_voices(diarizer):
    diarizer.voices.clear()


def meeting(order, seconds=4.0, pause=0.6):
    """Samples of a conversation, and the turns (start, end, name)."""
    noise = np.random.default_rng(0)
    parts, turns, time = [], [], 0.0
    for number, name in enumerate(order):
        parts += [voice(seconds, PITCHES[name], number), 5e-4 * noise.standard_normal(round(pause * RATE))]
        turns.append((time, time + seconds, name))
        time += seconds + pause
    return np.concatenate(parts).astype(np.float32), turns


def confused_seconds(result, turns):
    """Seconds of the true turns that the best mapping of names does not explain."""
    times = np.arange(0, turns[-1][1], 0.01)

    def at(spans):
        labels = np.full(len(times), "", dtype=object)
        for start, end, name in spans:
            labels[(times >= start) & (times < end)] = name
        return labels

    true, found = at(turns), at(result.turns)
    right = 0
    for name in {name for *_, name in turns}:
        counts = [np.count_nonzero((true == name) & (found == other)) for other in result.speakers]
        right += max(counts)
    return 0.01 * (np.count_nonzero((true != "") & (found != "")) - right)


@pytest.mark.parametrize("order", [["anna"], ["anna", "ben", "anna"], ["anna", "ben", "clara", "ben", "anna", "clara"]])
def test_each_voice_is_a_speaker(diarizer, order):
    samples, turns = meeting(order)
    result = diarizer.diarize_file(samples)
    assert len(result.speakers) == len(set(order)) and confused_seconds(result, turns) < 0.3
    assert result.speakers == [f"speaker_{number + 1}" for number in range(len(set(order)))]
    assert result.seconds == pytest.approx(len(samples) / RATE) and not result.no_speech
    assert sum(result.talk_times.values()) == pytest.approx(4.0 * len(order), rel=0.15)
    for turn, following in zip(result.turns, result.turns[1:], strict=False):
        assert turn.start < turn.end <= following.start + 1e-6


@pytest.mark.parametrize("pause, overlap", [(0.15, -0.15), (0.0, 2 * SpeakerDiarization.CHANGE_OVERLAP)])
def test_turns_overlap_if_there_is_no_pause_between_them(diarizer, pause, overlap):
    def buzz(name):
        time = np.arange(4 * RATE) / RATE
        wave = sum(np.sin(2 * np.pi * PITCHES[name] * k * time) / k for k in range(1, 12))
        return 0.1 * wave * np.where(np.sin(2 * np.pi * 1.3 * time) > -0.6, 1.0, 0.2)

    noise = 5e-4 * np.random.default_rng(0).standard_normal(2 * RATE)
    parts = [buzz("anna"), noise[: round(pause * RATE)], buzz("clara"), noise, buzz("anna")]
    first, second, third = diarizer.diarize_file(np.concatenate(parts).astype(np.float32)).turns
    assert first.speaker == third.speaker != second.speaker and third.start - second.end == pytest.approx(2.0, abs=0.1)
    assert first.end - second.start == pytest.approx(overlap, abs=0.05)
    assert (first.end + second.start) / 2 == pytest.approx(4.0 + pause / 2, abs=0.3)


def test_the_number_of_speakers_can_be_given_and_bounded(diarizer):
    samples, _ = meeting(["anna", "ben", "clara", "anna"])
    assert len(diarizer.diarize_file(samples, 2).speakers) == 2
    assert len(diarizer.diarize_file(samples, max_speakers=1).speakers) == 1
    assert len(diarizer.diarize_file(voice(1.0), 5).speakers) >= 1  # fewer pieces than speakers
    for options in ({"num_speakers": 0}, {"max_speakers": 0}, {"threshold": float("nan")}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            diarizer.diarize_file(samples, **options)


def test_long_recordings_are_read_in_chunks(diarizer, monkeypatch):
    samples, turns = meeting(["anna", "ben", "anna", "ben", "anna"])
    whole = diarizer.diarize_file(samples)
    monkeypatch.setattr(diarizer, "CHUNK_SECONDS", 7.0)
    parts = diarizer.diarize_file(samples)
    assert len(parts.speakers) == 2 and confused_seconds(parts, turns) < 0.5
    assert parts.seconds == whole.seconds


def test_matching_speakers_are_named_after_enrolled_voices(diarizer):
    samples, _ = meeting(["ben", "anna", "clara", "ben"])
    diarizer.enroll("anna", voice(4.0, PITCHES["anna"], 8), sample_rate=RATE)
    diarizer.enroll("speaker_1", voice(4.0, PITCHES["ben"], 9), sample_rate=RATE)
    result = diarizer.diarize_file(samples)
    assert result.speakers == ["speaker_1", "anna", "speaker_2"]
    assert result.matches["anna"].name == "anna" and result.matches["anna"].accepted
    assert not result.matches["speaker_2"].accepted
    assert all(not match.accepted for match in diarizer.diarize_file(samples, threshold=1.5).matches.values())
    assert "anna" not in diarizer.diarize_file(samples, threshold=1.5).speakers
    # A voice names one speaker: two that match it are merged, unless the number is given.
    assert diarizer.diarize_file(samples, threshold=-1.0).speakers.count("anna") <= 1
    assert len(diarizer.diarize_file(samples, 3, threshold=-1.0).speakers) == 3


def test_voices_of_another_model_are_refused(diarizer, tmp_path):
    other = load(write_model(tmp_path / "other", seed=5), SpeakerDiarization)
    other.enroll("anna", voice(3.0), sample_rate=RATE)
    other.save_voices(tmp_path / "voices.npz")
    with pytest.raises(ConfigError, match="another model"):
        diarizer.load_voices(tmp_path / "voices.npz")


@pytest.mark.parametrize(
    "samples, reason",
    [
        (np.zeros(5 * RATE), "silent"),
        (0.1 * np.random.default_rng(0).standard_normal(5 * RATE), "noise"),
        (np.eye(1, RATE, 800)[0], "s of sound"),
    ],
    ids=["silence", "noise", "click"],
)
def test_nobody_speaks_in_silence_and_noise(diarizer, samples, reason, tmp_path):
    result = diarizer.diarize_file(samples.astype(np.float32))
    assert result.turns == [] and result.speakers == [] and reason in result.no_speech
    result.write_rttm(tmp_path / "out.rttm", "x")
    assert read_rttm(tmp_path / "out.rttm") == {}


def test_a_pause_of_noise_does_not_speak(diarizer, monkeypatch):
    monkeypatch.setattr(diarizer, "CHUNK_SECONDS", 8.0)
    noise = 0.05 * np.random.default_rng(0).standard_normal(8 * RATE)
    samples = np.concatenate([voice(8.0, 120.0), noise, voice(8.0, 120.0, 1)]).astype(np.float32)
    assert all(turn.end <= 8.01 or turn.start >= 15.99 for turn in diarizer.diarize_file(samples).turns)


def test_files_are_diarized_in_order_and_errors_are_results(diarizer, tmp_path, bad_file):
    path, content = tmp_path / "good.wav", io.BytesIO()
    samples, _ = meeting(["anna", "ben"])
    soundfile.write(path, samples, RATE)
    soundfile.write(content, samples, RATE, format="WAV")
    (first, result), (second, error), (third, again) = diarizer.diarize_files([str(path), bad_file[0], content])
    assert first == path and second == bad_file[0] and third is content
    assert result.turns == again.turns and len(result.speakers) == 2
    if bad_file[0].name == "silent.wav":
        assert error.turns == []
    else:
        assert isinstance(error, AudioError) and bad_file[1] in str(error)


def test_an_offset_changes_nothing(diarizer):
    samples, _ = meeting(["anna", "ben", "anna"])
    expected = diarizer.diarize_file(samples)
    changed = diarizer.diarize_file(samples + 0.1)
    assert [turn.speaker for turn in changed.turns] == [turn.speaker for turn in expected.turns]
    np.testing.assert_allclose([t[:2] for t in changed.turns], [t[:2] for t in expected.turns], atol=0.11)


def test_the_detector_can_be_replaced(diarizer, monkeypatch):
    samples, _ = meeting(["anna", "ben"])
    monkeypatch.setitem(diarizer._modules, "vad", diarizer.vad)  # restored after the test

    def first_two_seconds(wavs, lens=None):
        return torch.arange(wavs.shape[1] // 160).unsqueeze(0) < 200

    first_two_seconds.hop_length = 160
    diarizer.use_vad(first_two_seconds)
    assert diarizer.diarize_file(samples).turns[-1].end == pytest.approx(2.0)
    del diarizer.vad
    with pytest.raises(PluginError, match="vad/energy"):
        diarizer.use_vad("energie")


def test_keyword_models_are_refused(tmp_path):
    folder = write_model(tmp_path / "keyword", without=("vad",), segment=speechtools.build("segment/energy"))
    with pytest.raises(ConfigError, match="keyword"):
        load(folder, SpeakerDiarization)
