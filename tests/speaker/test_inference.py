"""Laws of SpeakerEncoder and SpeakerVerification on tensors and files."""

import numpy as np
import pytest
import soundfile
import torch

import speechtools
from speechtools.audio import read
from speechtools.core import model_folder
from speechtools.core.errors import AudioError, ConfigError
from speechtools.inference import SpeakerEncoder, SpeakerVerification
from speechtools.speaker import dvectors
from speechtools.speaker.encoders import LSTMP

RATE = 16000
OUTPUT_SIZES = {"lstm": "embedding_size", "lstmp": "proj_size"}


def write_model(folder, encoder="lstm", seed=0, zero_bias=False, without=(), features=None, **values):
    """Write the `pretrained` folder of a tiny encoder with random weights."""
    options = {"plugin": f"encoder/{encoder}", "input_size": 40, "hidden_size": 12, OUTPUT_SIZES[encoder]: 6}
    torch.manual_seed(seed)
    net = speechtools.build(**options)
    if zero_bias:  # in an untrained net, the bias dominates every d-vector
        torch.nn.init.zeros_(net.linear.bias)
    entries = {"sample_rate": RATE, "window_frames": 160, "window_hop_frames": 80, "threshold": 0.5, "encoder": net}
    entries |= {
        "features": speechtools.build("features/log-mel", **(features or {})),
        "vad": speechtools.build("vad/energy"),
    }
    entries = {key: value for key, value in (entries | values).items() if key not in without}
    return model_folder.write_model(folder, entries, {"encoder": net}, {}, "")


def load(folder, interface=SpeakerVerification):
    return interface.from_hparams(folder, run_opts={"device": "cpu"})


@pytest.fixture(scope="module")
def verifier(tmp_path_factory):
    return load(write_model(tmp_path_factory.mktemp("model") / "pretrained"))


def voice(seconds, pitch=120.0, seed=0):
    """Return a buzz with syllables and pauses, (samples,)."""
    time = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 12)) * (np.sin(2 * np.pi * 1.3 * time) > -0.6)
    return (0.1 * wave + 0.0005 * np.random.default_rng(seed).standard_normal(len(time))).astype(np.float32)


@pytest.fixture
def recordings(tmp_path):
    paths = []
    for number, pitch in enumerate((110, 112, 114, 200)):
        paths.append(tmp_path / f"v{number}.wav")
        soundfile.write(paths[-1], voice(3.0, pitch, number), RATE)
    return paths


@pytest.mark.parametrize("encoder", OUTPUT_SIZES)
def test_steps_from_samples_to_dvector(tmp_path, encoder, monkeypatch):
    """VAD, features, windows, encoder, L2, mean; folding changes nothing."""
    net = load(write_model(tmp_path, encoder), SpeakerEncoder)
    wav = torch.from_numpy(voice(6.0))
    wav -= wav.mean()
    speech = net.vad(wav.unsqueeze(0))[0].repeat_interleave(160)[: len(wav)]
    assert 0.3 < speech.float().mean() < 0.95
    feats = net.features(wav[speech].unsqueeze(0))[0]
    windows = [net.mods.encoder(feats[start : start + 160][None])[0] for start in dvectors.window_starts(len(feats))]
    monkeypatch.setattr(LSTMP, "forward", lambda *arguments: pytest.fail("not folded"))
    dvector = net.encode_batch(wav)
    assert torch.allclose(dvector[0], torch.stack(windows).mean(dim=0), atol=1e-5)
    assert dvector.shape == (1, net.embedding_size)


def test_batch_equals_one_by_one_and_padding_changes_nothing(verifier):
    short, long = torch.from_numpy(voice(1.0)), torch.from_numpy(voice(5.0, 180))
    wavs = torch.zeros(2, len(long))
    wavs[0, : len(short)], wavs[1] = short, long
    together = verifier.encode_batch(wavs, torch.tensor([len(short) / len(long), 1.0]))
    assert torch.allclose(together[0], verifier.encode_batch(short)[0], atol=1e-5)
    assert torch.allclose(together[1], verifier.encode_batch(long)[0], atol=1e-5)


def test_windows_have_times_in_order_within_the_recording(verifier):
    wav = voice(4.0)
    windows = verifier.encode_windows(wav)
    assert windows.dvectors.shape == (len(windows.times), 6)
    assert torch.allclose(windows.dvectors.norm(dim=1), torch.ones(len(windows.times)), atol=1e-5)
    assert (windows.times[:, 0] < windows.times[:, 1]).all() and (np.diff(windows.times, axis=0) > 0).all()
    assert windows.times.min() >= 0 and windows.times.max() <= 4.0
    assert torch.allclose(dvectors.utterance_dvector(windows.dvectors), verifier.encode_batch(torch.tensor(wav))[0])
    later = verifier.encode_windows(np.concatenate([np.zeros(2 * RATE, np.float32), wav]))  # after a pause
    assert np.allclose(later.times[:, 0], windows.times[:, 0] + 2, atol=0.03)


def test_a_long_file_is_embedded_in_chunks(verifier, tmp_path, monkeypatch):
    path = tmp_path / "long.wav"
    soundfile.write(path, voice(40.0), RATE)
    whole = verifier.encode_file(path)
    monkeypatch.setattr(SpeakerEncoder, "CHUNK_SECONDS", 10.0)
    parts = verifier.encode_file_windows(path)
    assert parts.times.max() > 38 and (np.diff(parts.times[:, 0]) > 0).all()
    dvector = dvectors.utterance_dvector(parts.dvectors)
    assert torch.nn.functional.cosine_similarity(whole, dvector, dim=0) > 0.99
    ((_, of_many),) = verifier.encode_files([path])
    for same in (verifier.encode_file(path), verifier.enroll("long", path), of_many):
        assert torch.allclose(same, dvector, atol=1e-5)


def test_a_pause_of_a_whole_chunk_is_skipped(verifier, tmp_path, monkeypatch):
    monkeypatch.setattr(SpeakerEncoder, "CHUNK_SECONDS", 2.0)
    soundfile.write(tmp_path / "a.wav", np.concatenate([np.zeros(2 * RATE), voice(2.0)]), RATE)
    assert verifier.encode_file_windows(tmp_path / "a.wav").times.min() >= 2.0


def test_many_files_have_the_dvectors_of_single_files(verifier, recordings, bad_file):
    path, message = bad_file
    results = list(verifier.encode_files([*recordings, path], batch_size=2))
    error = results.pop()[1]
    assert isinstance(error, AudioError) and message in str(error) and path.name in str(error)
    for path, dvector in results:
        assert torch.allclose(dvector, verifier.encode_file(path), atol=1e-5)


def test_enrolment_and_verification(verifier, recordings):
    verifier.voices.clear()
    voiceprint = verifier.enroll("anna", recordings[:3])
    mean = torch.stack([verifier.encode_file(path) for path in recordings[:3]]).mean(dim=0)
    assert torch.allclose(voiceprint, mean, atol=1e-5)
    score, accepted = verifier.verify("anna", recordings[3])
    cosine = torch.nn.functional.cosine_similarity(mean, verifier.encode_file(recordings[3]), dim=0)
    assert score == pytest.approx(float(cosine), abs=1e-5) and accepted == (score >= verifier.threshold)
    assert verifier.verify_files(recordings[0], recordings[0]).score == pytest.approx(1.0, abs=1e-5)


def test_voices_are_stored_for_their_model(verifier, recordings, tmp_path):
    verifier.voices.clear()
    verifier.enroll("anna", recordings[:2])
    path = tmp_path / "voices.npz"
    verifier.save_voices(path)
    again = load(write_model(tmp_path / "same"))
    again.load_voices(path)
    assert torch.equal(again.voice("anna"), verifier.voice("anna"))
    features = write_model(tmp_path / "features", features={"mean_norm": True})  # the same weights
    for folder in (features, write_model(tmp_path / "weights", seed=1)):
        with pytest.raises(ConfigError, match="enrolled with another model"):
            load(folder).load_voices(path)
    (tmp_path / "truncated.npz").write_bytes(path.read_bytes()[:100])
    with pytest.raises(ConfigError, match="truncated.npz is not a file of voices"):
        verifier.load_voices(tmp_path / "truncated.npz")
    with pytest.raises(ConfigError, match="No voice 'bob' is enrolled. Enrolled voices: anna"):
        verifier.verify("bob", recordings[0])


@pytest.mark.parametrize(
    "seconds, message", [(0.2, "0.20 s of speech"), (0.9, "of speech together, but at least 1.0 s")]
)
def test_too_little_speech_to_enroll(verifier, tmp_path, seconds, message):
    soundfile.write(tmp_path / "no.wav", voice(seconds), RATE)
    with pytest.raises(AudioError, match=message):
        verifier.enroll("otto", [tmp_path / "no.wav"])
    with pytest.raises(ConfigError, match="No recordings to enroll 'otto'"):
        verifier.enroll("otto", [])
    assert "otto" not in verifier.voices
    with pytest.raises(AudioError, match=r"shape \(16000, 2\).*Transpose"):
        verifier.encode_windows(torch.zeros(RATE, 2))


def test_features_that_the_encoder_does_not_take_and_a_model_without_windows(tmp_path):
    with pytest.raises(ConfigError, match="does not take these features"):
        load(write_model(tmp_path, features={"n_mels": 30}), SpeakerEncoder)
    with pytest.raises(ConfigError, match="neither a segment nor window_frames"):
        load(write_model(tmp_path, without=["window_frames"]))


def test_features_of_another_model_are_refused(tmp_path):
    """Only the d-vectors differ."""
    net = load(write_model(tmp_path, zero_bias=True), SpeakerEncoder)
    options = {"zero_bias": True, "probe": dvectors.probe(net.features, net.mods.encoder, RATE)}
    assert load(write_model(tmp_path, **options), SpeakerEncoder).embedding_size == 6
    with pytest.raises(ConfigError, match="those of another model"):
        load(write_model(tmp_path, features={"hop_ms": 20.0}, **options), SpeakerEncoder)


def test_the_bundled_model_tells_voices_apart(recordings):
    bundled = load(None)
    near, far = (bundled.verify_files(recordings[0], other) for other in (recordings[1], recordings[3]))
    assert near.score > far.score + 0.1 and near.llr > far.llr and near.probability > far.probability
    calibrated = f"llr={near.llr:.2f}, probability={near.probability:.3f}"
    assert repr(near) == f"Verdict(score={near.score:.3f}, accepted={near.accepted}, {calibrated})"


def test_digital_silence_around_speech_changes_no_dvector():
    """Neither the threshold of the VAD nor the offset is that of the silence."""
    encoder = SpeakerEncoder.from_hparams()
    voice = read(speechtools.SAMPLE) + 0.01  # an offset that the silence does not have
    silence = np.zeros(5 * 16000, dtype=np.float32)
    alone, between = encoder.encode_file(voice), encoder.encode_file(np.concatenate([silence, voice, silence]))
    assert torch.nn.functional.cosine_similarity(alone, between, dim=0) > 0.999
