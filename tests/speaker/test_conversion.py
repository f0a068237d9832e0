"""Checkpoints of other projects: the same d-vectors as plain upstream code, and what is refused."""

import math
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import speechtools
from speechtools.core.errors import ConfigError
from speechtools.inference import SpeakerDiarization, SpeakerEncoder, SpeakerVerification
from speechtools.speaker import dvectors
from speechtools.speaker.checkpoints import read_checkpoint
from speechtools.speaker.conversion import convert
from speechtools.speaker.start import start_from
from tests.speaker.test_inference import RATE, voice

DATA = Path(os.environ.get("SPEECHTOOLS_DATA", "none")) / "LibriSpeech-dev-clean-15"


class Linear(nn.Module):
    """The network of Resemblyzer and Real-Time-Voice-Cloning."""

    def __init__(self):
        super().__init__()
        self.lstm, self.linear = nn.LSTM(40, 8, 3, batch_first=True), nn.Linear(8, 6)
        self.similarity_weight = nn.Parameter(torch.tensor([10.0]))
        self.similarity_bias = nn.Parameter(torch.tensor([-5.0]))

    def forward(self, feats):
        raw = self.linear(self.lstm(feats)[1][0][-1]).relu()
        return raw / raw.norm(p=2, dim=1, keepdim=True)


class Last(nn.Module):
    """A network of yistLin/dvector."""

    def __init__(self):
        super().__init__()
        self.lstm, self.embedding = nn.LSTM(40, 8, 2, batch_first=True), nn.Linear(8, 6)
        self.seg_len = 160

    def forward(self, feats):
        raw = self.embedding(self.lstm(feats)[0][:, -1])
        return raw / raw.norm(p=2, dim=1, keepdim=True)


class Attentive(Last):
    """The other one."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(6, 1)

    def forward(self, feats):
        frames = torch.tanh(self.embedding(self.lstm(feats)[0]))
        raw = torch.sum(frames * torch.softmax(self.linear(frames), dim=1), dim=1)
        return raw / raw.norm(p=2, dim=1, keepdim=True)


def make(network, seed=0):
    torch.manual_seed(seed)
    net = network().eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5)
    return net


def save_state(net, path):
    torch.save({"step": 7, "model_state": net.state_dict(), "optimizer_state": {"state": {}}}, path)


def save_script(net, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and what the project uses
        torch.jit.script(net).save(str(path))


def save_parallel(net, path):
    torch.save({f"module.{key}": value.double() for key, value in net.state_dict().items()}, path)


@pytest.mark.parametrize(
    "project, network, save",
    [
        ("resemblyzer", Linear, save_state),
        ("real-time-voice-cloning", Linear, save_parallel),
        ("dvector", Last, save_script),
        ("dvector", Attentive, save_script),
        ("dvector", Attentive, lambda net, path: torch.save(net.state_dict(), path)),
    ],
)
def test_d_vectors_of_the_same_features_are_the_same(project, network, save, tmp_path):
    net = make(network)
    save(net, tmp_path / "weights.pt")
    model = SpeakerEncoder.from_hparams(convert(project, tmp_path / "weights.pt", tmp_path / "out", vad="energy"))
    feats = model.features(torch.from_numpy(voice(2.0))[None])[:, :160]
    with torch.no_grad():
        assert (model.encoder(feats) - net(feats)).abs().max() < 1e-5
    again = SpeakerEncoder.from_hparams(convert(project, tmp_path / "weights.pt", tmp_path / "two", vad="energy"))
    assert again.model_id == model.model_id
    assert "Their license is that of their authors" in model.card and model.facts["converted_from"]["sha256"]


def partials(samples, window=160, hop=77):
    """First frames of Resemblyzer's partial utterances of so many samples, as it computes them."""
    frames = math.ceil((samples + 1) / 160)
    starts = list(range(0, max(1, frames - window + hop + 1), hop))
    if (samples - 160 * starts[-1]) / (160 * window) < 0.75 and len(starts) > 1:
        starts.pop()
    return starts


def test_windows_are_those_of_resemblyzer():
    for samples in (1, 100, 25599, 25600, 25601, *range(30000, 90000, 37), *range(80 * 160, 700 * 160, 160)):
        count = dvectors.covered_frames(samples // 160, 160, 77, 0.75)
        assert dvectors.window_starts(count, 160, 77) == partials(samples), samples


def test_a_recording_is_embedded_as_resemblyzer_does(tmp_path):
    """Level, then pauses, then centred frames of the padded speech, windows, mean: with plain code."""
    net = make(Linear)
    save_state(net, tmp_path / "weights.pt")
    model = SpeakerEncoder.from_hparams(convert("resemblyzer", tmp_path / "weights.pt", tmp_path / "out", vad="energy"))
    wav = torch.from_numpy(0.01 * voice(4.0))
    wav -= wav.mean()
    wav *= 10 ** (-30 / 20) / wav.square().mean().sqrt()
    speech = wav[model.vad(wav[None])[0].repeat_interleave(160)[: len(wav)]]
    starts = partials(len(speech))
    padded = nn.functional.pad(speech, (0, max(0, 160 * (starts[-1] + 160) - len(speech))))
    spectrum = torch.stft(padded, 400, 160, window=torch.hann_window(400), pad_mode="constant", return_complex=True)
    mels = spectrum.abs().square().T @ model.features.filters
    with torch.no_grad():
        mean = net(torch.stack([mels[start : start + 160] for start in starts])).mean(dim=0)
    assert len(starts) > 2 and torch.allclose(model.encode_file(0.01 * voice(4.0)), mean, atol=1e-5)
    assert len(model.encode_windows(0.01 * voice(4.0)).times) == len(starts)
    short = model.encode_windows(voice(4.0)[: RATE // 2])
    assert len(short.times) == 1 and short.times.max() <= 0.5


def test_a_model_without_threshold_asks_for_one(tmp_path):
    save_state(make(Linear), tmp_path / "weights.pt")
    folder = convert("resemblyzer", tmp_path / "weights.pt", tmp_path / "out", vad="energy")
    verifier = SpeakerVerification.from_hparams(folder)
    assert verifier.threshold is None and "no threshold" in verifier.card
    verifier.enroll("anna", [voice(3.0)])
    for decide in (
        lambda **how: verifier.verify("anna", voice(2.0), **how),
        lambda **how: verifier.verify_files(voice(3.0), voice(2.0), **how),
        lambda **how: verifier.identify(voice(2.0), **how)[0],
    ):
        with pytest.raises(ConfigError, match=r"has no threshold.*--threshold"):
            decide()
        assert decide(threshold=0.3).accepted
    convert("resemblyzer", tmp_path / "weights.pt", folder, vad="energy", threshold=0.25, overwrite=True)
    assert SpeakerVerification.from_hparams(folder).threshold == 0.25
    saved = verifier.save(tmp_path / "saved")
    assert SpeakerVerification.from_hparams(saved).threshold is None


@pytest.mark.parametrize("project, network, expected", [("resemblyzer", Linear, 0.98), ("dvector", Last, 0.88)])
def test_diarization_knows_how_alike_speakers_are(tmp_path, project, network, expected):
    save_state(make(network), tmp_path / "weights.pt")
    folder = convert(project, tmp_path / "weights.pt", tmp_path / "out", vad="energy")
    saved = SpeakerVerification.from_hparams(folder).save(tmp_path / "saved")
    for model in (folder, saved):
        assert SpeakerDiarization.from_hparams(model).same_speaker == expected


# ------------------------------------------------------------------------------------------------------------- refusals


def without(key):
    state = make(Linear).state_dict()
    del state[key]
    return state


def with_nan():
    state = make(Linear).state_dict()
    state["linear.bias"][2] = math.nan
    return state


class Evil:
    def __reduce__(self):
        return print, ("run",)


@pytest.mark.parametrize(
    "project, content, message",
    [
        ("resemblyzer", {"conv.weight": torch.zeros(3, 2)}, r"1 tensors, conv.weight 3×2\. Known are: LSTM.*Resembly"),
        ("resemblyzer", without("lstm.weight_hh_l1"), "unknown network: 15 tensors, .*yistLin/dvector"),
        ("resemblyzer", make(Linear).state_dict() | {"extra": torch.ones(2)}, "unknown network: 17 tensors"),
        ("resemblyzer", make(Last).state_dict(), "not a checkpoint of Resemblyzer.*`speechtools convert dvector"),
        ("dvector", {"state_dict": make(Linear).state_dict()}, "not a checkpoint of yistLin.*convert resemblyzer"),
        ("resemblyzer", {"epoch": 3, "lr": 0.1}, "contains no weights of a network, but epoch, lr"),
        ("resemblyzer", [1, 2], "no weights of a network, but a list"),
        ("resemblyzer", with_nan(), "linear.bias in .* contain NaN"),
        ("resemblyzer", {"model_state": Evil()}, "contains more than tensors"),
        ("resembliser", {}, "Unknown project 'resembliser'.*'resemblyzer'"),
    ],
)
def test_other_checkpoints_are_refused(project, content, message, tmp_path, capsys):
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match=message):
        convert(project, tmp_path / "weights.pt", tmp_path / "out", vad="energy")
    assert not (tmp_path / "out").exists() and not capsys.readouterr().out


def cut(path):
    path.write_bytes(path.read_bytes()[:-3000])


def flip(path):
    """Change the length of a member in the directory of the archive."""
    content = bytearray(path.read_bytes())
    place = content.rfind(b"data.pkl") - 22
    content[place : place + 4] = b"\xff\xff\xff\x7f"
    path.write_bytes(content)


@pytest.mark.parametrize("save", [save_state, save_script])
@pytest.mark.parametrize(
    "damage",
    [
        cut,
        flip,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
        lambda path: path.write_bytes(b"RIFF" + bytes(5000)),
    ],
)
def test_damaged_files_and_those_of_another_kind_are_refused(save, damage, tmp_path):
    save(make(Linear) if save is save_state else make(Last), tmp_path / "weights.pt")
    damage(tmp_path / "weights.pt")
    with pytest.raises(ConfigError, match=r"weights.pt \(\d+ bytes\) cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "weights.pt")


def test_an_archive_builds_nothing_but_tensors(tmp_path):
    with zipfile.ZipFile(tmp_path / "weights.pt", "w") as archive:
        archive.writestr("a/constants.pkl", b"")
        archive.writestr("a/data.pkl", pickle.dumps(Evil(), 2))
    with pytest.raises(ConfigError, match="cannot be read as a checkpoint"):
        read_checkpoint(tmp_path / "weights.pt")


def test_paths_that_cannot_be(tmp_path):
    save_state(make(Linear), tmp_path / "weights.pt")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    for source, target, message in (
        ("gone.pt", "out", r"gone.pt does not exist"),
        ("full", "out", r"full is a folder"),
        ("weights.pt", "full", r"full contains other files: thesis.txt"),
        ("weights.pt", "weights.pt", r"weights.pt is a file"),
    ):
        for overwrite in (False, True):
            with pytest.raises(ConfigError, match=message):
                convert("resemblyzer", tmp_path / source, tmp_path / target, vad="energy", overwrite=overwrite)
    convert("resemblyzer", tmp_path / "weights.pt", tmp_path / "out", vad="energy")
    with pytest.raises(ConfigError, match=r"contains a model. Pass --overwrite"):
        convert("resemblyzer", tmp_path / "weights.pt", tmp_path / "out", vad="energy")
    with pytest.raises(ConfigError, match="threshold: 2"):
        convert("resemblyzer", tmp_path / "weights.pt", tmp_path / "new", vad="energy", threshold=2)


def test_a_detector_whose_package_is_missing(tmp_path, monkeypatch):
    save_state(make(Linear), tmp_path / "weights.pt")
    monkeypatch.setitem(__import__("sys").modules, "webrtcvad", None)
    with pytest.raises(ConfigError, match=r"pip install speechtools\[vad\].*--vad energy"):
        convert("resemblyzer", tmp_path / "weights.pt", tmp_path / "out")


# ------------------------------------------------------------------------------------------------------------- training


def test_training_starts_from_the_same_function_only(tmp_path):
    save_state(make(Linear), tmp_path / "weights.pt")
    folder = convert("resemblyzer", tmp_path / "weights.pt", tmp_path / "out", vad="energy")
    trained = SpeakerEncoder.from_hparams(folder).mods.encoder.state_dict()
    sizes = {"input_size": 40, "hidden_size": 8, "num_layers": 3, "embedding_size": 6}

    def start(features="centred-mel", encoder="lstm", rate=RATE, feature_options=None, **options):
        net = speechtools.build(f"encoder/{encoder}", options=sizes | options)
        start_from(folder, speechtools.build(f"features/{features}", **(feature_options or {})), net, rate)
        return net.state_dict()

    state = start(relu=True)
    assert all(torch.equal(state[key], trained[key]) for key in trained)
    for options, message in (
        ({}, "relu=True in its encoder, and this run has False"),
        ({"relu": True, "hidden_size": 9}, "hidden_size=8 in its encoder, and this run has 9"),
        ({"encoder": "lstm-attention"}, "has encoder/lstm, and this run has encoder/lstm-attention"),
        ({"features": "log-mel", "relu": True}, "has features/centred-mel, and this run has features/log-mel"),
        ({"relu": True, "feature_options": {"hop_ms": 20.0}}, "hop_ms=10.0 in its features"),
        ({"relu": True, "rate": 8000}, "trained at 16000 Hz"),
    ):
        with pytest.raises(ConfigError, match=message):
            start(**options)


# ---------------------------------------------------------------------------------------------- the package itself


def test_d_vectors_are_those_of_the_package(tmp_path):
    """From the samples on, with the weights of the package."""
    pytest.importorskip("librosa")  # which some installations of the package lack
    resemblyzer = pytest.importorskip("resemblyzer")
    upstream = resemblyzer.VoiceEncoder("cpu", verbose=False)
    weights = Path(resemblyzer.__file__).with_name("pretrained.pt")
    model = SpeakerEncoder.from_hparams(convert("resemblyzer", weights, tmp_path / "out"), run_opts={"device": "cpu"})
    files = [(name, speechtools.audio.read(name)) for name in sorted(DATA.rglob("*.flac"))[::16]]
    files += [
        ("sample", speechtools.audio.read(speechtools.SAMPLE)),
        ("buzz", voice(5.0)),
        ("faint", 0.003 * voice(1.7)),
    ]
    for name, wav in files:
        wav = wav - wav.mean()
        expected = upstream.embed_utterance(resemblyzer.preprocess_wav(wav))
        found = dvectors.unit(model.encode_file(wav)).numpy()
        assert np.abs(found - expected).max() < 1e-4, name
