"""The mean of the weights of several models."""

import json

import pytest
import torch

import speechtools
from speechtools.core.averaging import average
from speechtools.core.errors import ConfigError
from speechtools.core.model_folder import write_model as write
from speechtools.inference import QualityNet, SpeakerEncoder, SpeakerVerification, SpeechEnhancer
from tests.speaker.test_inference import voice, write_model


def quality_net(folder, seed, trained_on="a", log1p=True, **options):
    torch.manual_seed(seed)
    net = speechtools.build("quality/blstm", hidden_size=6, linear_size=5, options=options)
    entries = {"sample_rate": 16000, "scale": "raw_nb", "quality": net}
    entries["features"] = speechtools.build("features/magnitude", log1p=log1p)
    facts = {"trained_on": trained_on, "reached": {"mse": float(seed)}, "kept": True}
    return write(folder, entries, {"quality": net}, facts, "", "QualityNet")


def enhancer(folder, seed, heard):
    torch.manual_seed(seed)
    net = speechtools.build("enhancer/blstm", hidden_size=4, num_layers=1, input_size=257)
    entries = {"sample_rate": 16000, "n_fft": 512, "hop_length": 256, "enhancer": net}
    return write(folder, entries, {"enhancer": net}, {"heard": {"speakers": heard}}, "", "SpeechEnhancer")


def weights_of(model, name):
    return model.mods[name].state_dict()


def test_a_mean_of_quality_nets(tmp_path):
    one, two = quality_net(tmp_path / "one", 1), quality_net(tmp_path / "two", 2, "b", forget_gate_bias=2.0)
    mean, dropped = average(QualityNet, [one, two], [1, 3])  # the initial bias of a gate is no difference
    mean = QualityNet.from_hparams(mean.save(tmp_path / "mean"))
    first, second = (weights_of(QualityNet.from_hparams(folder), "quality") for folder in (one, two))
    for key, value in weights_of(mean, "quality").items():
        assert torch.allclose(value, 0.25 * first[key] + 0.75 * second[key], atol=1e-6), key
    assert dropped == [] and mean.facts["trained_on"] == "a; b" and mean.facts["kept"]
    assert "reached" not in mean.facts and str(one) in mean.card and "0.75" in mean.card
    assert [entry["weight"] for entry in mean.facts["averaged"]] == [0.25, 0.75]
    assert mean.facts["averaged"][1]["facts"]["reached"] == {"mse": 2.0}


def test_a_mean_of_enhancers_names_all_that_they_were_trained_on(tmp_path):
    folders = [enhancer(tmp_path / "one", 1, ["anna"]), enhancer(tmp_path / "two", 2, ["ben", "anna"])]
    mean, _ = average(SpeechEnhancer, folders)
    assert mean.facts["heard"] == {"speakers": ["anna", "ben"]}
    assert torch.isfinite(mean.enhance_batch(torch.randn(1, 4000))).all()


@pytest.mark.parametrize("encoder", ["lstm", "lstmp"])
def test_a_mean_of_one_model_and_itself_is_that_model_without_what_was_fitted(tmp_path, encoder):
    folder = write_model(tmp_path / "one", encoder, probe=None, same_speaker=0.9)
    model = SpeakerVerification.from_hparams(folder)
    mean, dropped = average(SpeakerVerification, [folder, folder])
    again = SpeakerVerification.from_hparams(mean.save(tmp_path / "mean"))
    wavs = torch.from_numpy(voice(2.0))[None]
    for other in (mean, again):
        assert torch.allclose(other.encode_batch(wavs), model.encode_batch(wavs), atol=1e-6)
        assert other.threshold is None
    assert dropped == ["threshold"] and again.hparams.same_speaker == 0.9 and len(again.hparams.probe) == 6


def test_the_bundled_encoder_loses_cohort_and_calibration():
    mean, dropped = average(SpeakerVerification, ["speaker", "speaker"])
    assert set(dropped) == {"threshold", "calibration", "cohort"}
    assert mean.calibration is None and mean.normalization is None and "calibration" not in mean.facts
    assert mean.half_weights


@pytest.mark.parametrize("encoder", ["lstm", "lstmp"])
def test_a_mean_embeds_with_its_own_weights(tmp_path, encoder):
    folders = [write_model(tmp_path / str(seed), encoder, seed) for seed in (1, 2)]
    mean, _ = average(SpeakerEncoder, folders)
    again = SpeakerEncoder.from_hparams(mean.save(tmp_path / "mean"))
    one, wavs = SpeakerEncoder.from_hparams(folders[0]), torch.from_numpy(voice(2.0))[None]
    assert torch.allclose(mean.encode_batch(wavs), again.encode_batch(wavs), atol=1e-6)
    assert not torch.allclose(mean.encode_batch(wavs), one.encode_batch(wavs), atol=1e-3)


@pytest.mark.parametrize(
    "change, token",
    [
        ({"encoder": "lstmp"}, "plugin='encoder/lstmp' in its encoder, and the other has 'encoder/lstm'"),
        ({"features": {"mean_norm": True}}, "mean_norm=True in its features, and the other has False"),
        ({"window_frames": 80}, "window_frames=80, and the other has window_frames=160"),
        ({"min_coverage": 0.5}, "min_coverage=0.5, and the other has no min_coverage"),
    ],
)
def test_models_that_differ_have_no_mean(tmp_path, change, token):
    folders = [write_model(tmp_path / "one"), write_model(tmp_path / "two", **change)]
    with pytest.raises(ConfigError, match=f"two cannot be averaged with .*one: it has {token}"):
        average(SpeakerVerification, folders)


def test_another_activation_is_another_architecture(tmp_path):
    folders = [write_model(tmp_path / "one"), write_model(tmp_path / "two")]
    path = folders[1] / "config.json"
    config = json.loads(path.read_text())
    config["components"]["encoder"]["relu"] = True
    del config["config_sha256"]
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="relu=True in its encoder, and the other has False"):
        average(SpeakerVerification, folders)


@pytest.mark.parametrize(
    "count, weights, token", [(1, None, "at least 2 models"), (2, [1], "1 weights for 2"), (2, [1, 0], "weights: 0")]
)
def test_what_has_no_mean(tmp_path, count, weights, token):
    folder = quality_net(tmp_path / "one", 1)
    with pytest.raises(ConfigError, match=token):
        average(QualityNet, [folder] * count, weights)
