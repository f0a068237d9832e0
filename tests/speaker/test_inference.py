"""SpeakerEncoder and SpeakerVerification on tensors, files and folders, and the commands built on them."""

import numpy as np
import pytest
import soundfile
import torch

import speechtools
from speechtools import audio, cli
from speechtools.core.errors import AudioError, ConfigError
from speechtools.inference import BUNDLED_SPEAKER_ENCODER, SpeakerEncoder, SpeakerVerification
from speechtools.speaker import dvectors
from speechtools.speaker.encoders import LSTMP

RATE = 16000
YAML = """
sample_rate: 16000
window_frames: 160
window_hop_frames: 80
threshold: 0.5
features: !apply:speechtools.build {{plugin: features/log-mel, n_mels: {mels}}}
vad: !apply:speechtools.build {{plugin: vad/energy}}
encoder: !apply:speechtools.build {{plugin: encoder/{encoder}, input_size: 40, hidden_size: 12, num_layers: 2}}
modules:
    encoder: !ref <encoder>
"""


def write_model(folder, encoder="lstm", mels=40, seed=0):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hyperparams.yaml").write_text(
        YAML.format(mels=mels, encoder=encoder).replace(
            "num_layers: 2", "num_layers: 2, " + ("embedding_size: 6" if encoder == "lstm" else "proj_size: 6")
        )
    )
    torch.manual_seed(seed)
    size = {"embedding_size": 6} if encoder == "lstm" else {"proj_size": 6}
    part = speechtools.build(f"encoder/{encoder}", input_size=40, hidden_size=12, num_layers=2, **size)
    torch.save(part.state_dict(), folder / "encoder.ckpt")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "pretrained")


@pytest.fixture(scope="module")
def verifier(model):
    return SpeakerVerification.from_hparams(model, run_opts={"device": "cpu"})


def voice(seconds, pitch=120.0, seed=0):
    """A buzz with syllables, so that the detector finds speech and pauses in it."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * pitch * k * time) / k for k in range(1, 12)) * (np.sin(2 * np.pi * 1.3 * time) > -0.6)
    return (0.1 * wave + 0.0005 * rng.standard_normal(len(time))).astype(np.float32)


@pytest.fixture
def recordings(tmp_path):
    paths = []
    for number, pitch in enumerate((110, 112, 114, 200)):
        paths.append(tmp_path / f"v{number}.wav")
        soundfile.write(paths[-1], voice(3.0, pitch, number), RATE)
    return paths


@pytest.mark.parametrize("encoder", ["lstm", "lstmp"])
def test_the_way_from_samples_to_the_dvector(tmp_path, encoder):
    """VAD, features, windows, encoder, L2, mean: each step by itself gives the same; folding changes nothing."""
    net = SpeakerEncoder.from_hparams(write_model(tmp_path, encoder), run_opts={"device": "cpu"})
    wav = torch.from_numpy(voice(6.0))
    speech = net.vad(wav.unsqueeze(0))[0].repeat_interleave(160)[: len(wav)]
    assert 0.3 < speech.float().mean() < 0.95
    feats = net.features(wav[speech].unsqueeze(0))[0]
    windows = []
    for start in dvectors.window_starts(len(feats)):
        windows.append(net.mods.encoder(feats[start : start + 160].unsqueeze(0))[0])
    expected = torch.stack(windows).mean(dim=0).detach()
    assert torch.allclose(net.encode_batch(wav)[0], expected, atol=1e-5)
    assert net.encode_batch(wav).shape == (1, net.embedding_size)


def test_batch_equals_one_by_one_and_padding_changes_nothing(verifier):
    short, long = torch.from_numpy(voice(1.0)), torch.from_numpy(voice(5.0, 180))
    wavs = torch.zeros(2, len(long))
    wavs[0, : len(short)], wavs[1] = short, long
    together = verifier.encode_batch(wavs, torch.tensor([len(short) / len(long), 1.0]))
    assert torch.allclose(together[0], verifier.encode_batch(short)[0], atol=1e-5)
    assert torch.allclose(together[1], verifier.encode_batch(long)[0], atol=1e-5)


def test_windows_have_times_in_order_within_the_recording(verifier):
    wav = voice(8.0)
    found = verifier.encode_windows(wav)
    assert found.dvectors.shape == (len(found.times), 6)
    assert torch.allclose(found.dvectors.norm(dim=1), torch.ones(len(found.times)), atol=1e-5)
    assert (found.times[:, 0] < found.times[:, 1]).all() and (np.diff(found.times, axis=0) > 0).all()
    assert found.times.min() >= 0 and found.times.max() <= 8.0
    assert torch.allclose(dvectors.utterance_dvector(found.dvectors), verifier.encode_batch(torch.tensor(wav))[0])


def test_a_pause_before_the_speech_moves_the_times(verifier):
    wav = voice(4.0)
    later = np.concatenate([np.zeros(2 * RATE, np.float32), wav])
    starts, moved = verifier.encode_windows(wav).times[:, 0], verifier.encode_windows(later).times[:, 0]
    assert np.allclose(moved, starts + 2.0, atol=0.03)


def test_files_of_any_rate_and_channels(verifier, tmp_path):
    wav = voice(3.0)
    soundfile.write(tmp_path / "a.wav", wav, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "b.flac", np.stack([wav, wav], axis=1), RATE)
    a, b = verifier.encode_file(tmp_path / "a.wav"), verifier.encode_file(str(tmp_path / "b.flac"))
    assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.999
    soundfile.write(tmp_path / "c.wav", np.repeat(wav, 3), 3 * RATE, subtype="PCM_24")
    assert verifier.encode_file(tmp_path / "c.wav").shape == (6,)


def test_a_long_file_is_embedded_in_pieces(verifier, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "long.wav", voice(40.0), RATE)
    whole = verifier.encode_file_windows(tmp_path / "long.wav")
    read = []
    blocks = audio.blocks
    monkeypatch.setattr(SpeakerEncoder, "CHUNK_SECONDS", 10.0)
    monkeypatch.setattr(
        audio, "blocks", lambda *arguments: (read.append(len(block)) or block for block in blocks(*arguments))
    )
    pieces = verifier.encode_file_windows(tmp_path / "long.wav")
    assert max(read) == 10 * RATE and len(read) == 4
    assert pieces.times.max() > 38 and (np.diff(pieces.times[:, 0]) > 0).all()
    one, other = (dvectors.utterance_dvector(found.dvectors) for found in (whole, pieces))
    assert torch.nn.functional.cosine_similarity(one, other, dim=0) > 0.99
    assert torch.allclose(verifier.encode_file(tmp_path / "long.wav"), other, atol=1e-5)


def test_enrolment_and_verification(verifier, recordings):
    verifier.voices.clear()
    voiceprint = verifier.enroll("anna", recordings[:3])
    mean = torch.stack([verifier.encode_file(path) for path in recordings[:3]]).mean(dim=0)
    assert torch.allclose(voiceprint, mean, atol=1e-5)
    score, accepted = verifier.verify("anna", recordings[3])
    assert score == pytest.approx(
        torch.nn.functional.cosine_similarity(mean, verifier.encode_file(recordings[3]), dim=0).item(), abs=1e-5
    )
    assert accepted == (score >= verifier.threshold)
    assert verifier.verify("anna", recordings[3], threshold=-1.1).accepted
    assert not verifier.verify("anna", recordings[3], threshold=1.1).accepted
    assert verifier.verify_files(recordings[0], recordings[0]).score == pytest.approx(1.0, abs=1e-5)


def test_voices_are_kept_and_belong_to_their_model(verifier, recordings, tmp_path):
    verifier.voices.clear()
    verifier.enroll("anna", recordings[:2])
    verifier.save_voices(tmp_path / "voices.npz")
    again = SpeakerVerification.from_hparams(write_model(tmp_path / "same"), run_opts={"device": "cpu"})
    again.load_voices(tmp_path / "voices.npz")
    assert torch.equal(again.voice("anna"), verifier.voice("anna"))
    other = SpeakerVerification.from_hparams(write_model(tmp_path / "other", seed=1), run_opts={"device": "cpu"})
    with pytest.raises(ConfigError, match="enrolled with another model"):
        other.load_voices(tmp_path / "voices.npz")
    altered = write_model(tmp_path / "altered")
    yaml = altered / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace("n_mels: 40", "n_mels: 40, mean_norm: True"))
    with pytest.raises(ConfigError, match="enrolled with another model"):  # the same weights behind other features
        SpeakerVerification.from_hparams(altered, run_opts={"device": "cpu"}).load_voices(tmp_path / "voices.npz")
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(ConfigError, match="cannot be read as a file of enrolled voices"):
        verifier.load_voices(tmp_path / "array.npy")
    (tmp_path / "torn.npz").write_bytes((tmp_path / "voices.npz").read_bytes()[:100])
    with pytest.raises(ConfigError, match="cannot be read as a file of enrolled voices"):
        verifier.load_voices(tmp_path / "torn.npz")
    with pytest.raises(ConfigError, match="No voice 'bob' is enrolled; there are: anna"):
        verifier.verify("bob", recordings[0])


@pytest.mark.parametrize("what, message", [("silence", "silent"), ("hiss of 0.2 s", "0.20 s of speech, and at least")])
def test_enrolment_from_nothing(verifier, tmp_path, what, message):
    wav = np.zeros(RATE) if what == "silence" else voice(0.2)
    soundfile.write(tmp_path / "no.wav", wav, RATE)
    with pytest.raises(AudioError, match=message):
        verifier.enroll("nobody", [tmp_path / "no.wav"])
    assert "nobody" not in verifier.voices


def test_a_long_recording_is_enrolled_in_pieces(verifier, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "long.wav", voice(40.0), RATE)
    monkeypatch.setattr(SpeakerEncoder, "CHUNK_SECONDS", 10.0)
    monkeypatch.setattr(audio, "read", lambda *arguments: pytest.fail("the whole file was read"))
    voiceprint = verifier.enroll("long", tmp_path / "long.wav")
    assert torch.allclose(voiceprint, verifier.encode_file(tmp_path / "long.wav"), atol=1e-5)


def test_enrolment_needs_a_second_of_speech_in_all(verifier, tmp_path):
    soundfile.write(tmp_path / "short.wav", voice(0.45), RATE)
    with pytest.raises(AudioError, match="hold 0.* s of speech together, and at least 1.0 s"):
        verifier.enroll("nobody", [tmp_path / "short.wav"])
    with pytest.raises(ConfigError, match="No recordings to enrol 'nobody' from"):
        verifier.enroll("nobody", [])


def test_batches_that_cannot_be(verifier):
    with pytest.raises(AudioError, match="NaN or infinite"):
        verifier.encode_batch(torch.full((1, RATE), float("nan")))
    with pytest.raises(AudioError, match="cannot be embedded"):
        verifier.encode_batch(torch.zeros(1, 2, RATE))
    with pytest.raises(AudioError, match="takes one waveform"):
        verifier.encode_windows(torch.zeros(2, RATE))
    with pytest.raises(AudioError, match="at least one sample; got shape .0,"):
        verifier.encode_windows(np.zeros(0, np.float32))
    with pytest.raises(AudioError, match="floating point.*type torch.int16"):  # of another scale
        verifier.encode_windows((20000 * voice(2.0)).astype(np.int16))


def test_an_encoder_trained_with_other_features_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not take the features beside it"):
        SpeakerEncoder.from_hparams(write_model(tmp_path, mels=30), run_opts={"device": "cpu"})


@pytest.mark.parametrize("change", ["none", "mean_norm: True", "hop_ms: 20.0", "scale: db", "weights"])
@pytest.mark.parametrize("encoder", ["lstm", "lstmp"])
def test_an_export_whose_parts_were_changed_is_refused(tmp_path, encoder, change):
    """Features of the same size, or weights of another model: nothing but the d-vectors tells."""
    yaml = write_model(tmp_path, encoder) / "hyperparams.yaml"
    state = torch.load(tmp_path / "encoder.ckpt", weights_only=True)
    state["linear.bias"].zero_()  # of an untrained net, it would make up most of every d-vector
    torch.save(state, tmp_path / "encoder.ckpt")
    net = SpeakerEncoder.from_hparams(tmp_path, run_opts={"device": "cpu"})
    text = yaml.read_text() + f"probe: {dvectors.probe(net.features, net.mods.encoder, RATE)}\n"
    if change == "weights":
        write_model(tmp_path, encoder, seed=1)
    elif change != "none":
        text = text.replace("n_mels: 40", f"n_mels: 40, {change}")
    yaml.write_text(text)
    if change == "none":
        assert SpeakerEncoder.from_hparams(tmp_path, run_opts={"device": "cpu"}).embedding_size == 6
    else:
        with pytest.raises(ConfigError, match="not those that it was trained with.*from one export"):
            SpeakerEncoder.from_hparams(tmp_path, run_opts={"device": "cpu"})


def test_a_small_projection_lstm_is_never_run_as_it_is(tmp_path, monkeypatch):
    """torch warns of its slow way through projections: nothing that a user of the commands could mend."""
    monkeypatch.setattr(LSTMP, "forward", lambda *arguments: pytest.fail("it was not folded"))
    net = SpeakerEncoder.from_hparams(write_model(tmp_path, "lstmp"), run_opts={"device": "cpu"})
    assert net.encode_batch(torch.from_numpy(voice(2.0))).shape == (1, 6)


def test_a_quality_model_is_no_speaker_model(pretrained):
    with pytest.raises(ConfigError, match="lacks modules: encoder, which SpeakerEncoder needs"):
        SpeakerEncoder.from_hparams(pretrained)


def test_the_model_that_comes_with_the_package_is_used_where_none_is_named(recordings, tmp_path, capsys):
    """It is small, of float32, and tells a voice of 110 Hz from one of 200 Hz better than from one of 112 Hz."""
    bundled = SpeakerVerification.from_hparams(run_opts={"device": "cpu"})
    assert {value.dtype for value in bundled.mods.state_dict().values()} == {torch.float32}
    assert sum(path.stat().st_size for path in BUNDLED_SPEAKER_ENCODER.iterdir()) < 1_000_000
    near, far = (bundled.verify_files(recordings[0], other) for other in (recordings[1], recordings[3]))
    assert near.score > far.score + 0.1
    assert cli.main(["verify", str(recordings[0]), str(recordings[1])]) == 0
    assert f"score {near.score:.4f}\tthreshold {bundled.threshold:.4f}" in capsys.readouterr().out


# -------------------------------------------------------------------------------------------------------- commands


def test_embed_writes_what_it_can_and_names_the_rest(model, recordings, tmp_path, capsys):
    flac = tmp_path / "cut.flac"
    soundfile.write(flac, voice(3.0), RATE)
    flac.write_bytes(flac.read_bytes()[: flac.stat().st_size // 2])
    out = tmp_path / "dvectors.npz"
    status = cli.main(["embed", *map(str, recordings), str(flac), "--out", str(out), "--model", str(model)])
    with np.load(out) as held:
        assert held["files"].tolist() == list(map(str, recordings))
        assert held["dvectors"].shape == (4, 6)
    printed = capsys.readouterr()
    assert status == 1 and "cut.flac" in printed.err and "4 d-vectors of size 6" in printed.out


def test_embed_does_not_replace_a_file_by_nothing(model, recordings, tmp_path, capsys):
    out = tmp_path / "dvectors.npz"
    rest = ["--out", str(out), "--model", str(model)]
    assert cli.main(["embed", str(recordings[0]), *rest]) == 0
    held = out.read_bytes()
    assert cli.main(["embed", str(tmp_path / "gone.wav"), *rest]) == 1
    printed = capsys.readouterr()
    assert out.read_bytes() == held and "was not written" in printed.out and "gone.wav does not exist" in printed.err
    assert cli.main(["embed", str(recordings[0]), "--out", str(tmp_path), "--model", str(model)]) == 1
    assert "is a folder. Give the name of a file" in capsys.readouterr().err


def test_enroll_and_verify_commands(model, recordings, tmp_path, capsys):
    voices = str(tmp_path / "voices.npz")
    rest = ["--voices", voices, "--model", str(model)]
    assert cli.main(["enroll", "anna", *map(str, recordings[:2]), *rest]) == 0
    assert cli.main(["enroll", "bob", str(recordings[3]), *rest]) == 0
    assert "voices: anna, bob" in capsys.readouterr().out
    assert cli.main(["verify", "anna", str(recordings[0]), *rest, "--threshold", "0.1"]) == 0
    assert capsys.readouterr().out.startswith(("accepted\tscore", "rejected\tscore"))
    assert cli.main(["verify", str(recordings[0]), str(recordings[0]), "--model", str(model)]) == 0
    assert "accepted\tscore 1.0000\tthreshold 0.5000" in capsys.readouterr().out
    assert cli.main(["verify", "carl", str(recordings[0]), *rest]) == 1
    assert "No voice 'carl' is enrolled; there are: anna, bob" in capsys.readouterr().err
    assert cli.main(["verify", "anna", str(recordings[0]), "--model", str(model)]) == 1
    assert "There is no recording anna." in (error := capsys.readouterr().err) and "--voices" in error
