"""The interface to a trained Quality-Net: any file, any length, gradients to the waveform, clear refusals."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from speechtools.core.errors import AudioError, ConfigError
from speechtools.inference import PretrainedModel, QualityNet, QualityReport, Region


@pytest.fixture(scope="module")
def net(pretrained):
    return QualityNet.from_hparams(pretrained)


def write(path, samples, rate=16000, **options):
    soundfile.write(path, samples, rate, **options)
    return path


# ------------------------------------------------------------------------------------------------------------ batches


def test_batch_shapes_and_padding(net, tone):
    wavs = torch.tensor(np.stack([tone(2.0, seed=1), tone(2.0, seed=2)]))
    scores, frame_scores = net.assess_batch(wavs, torch.tensor([1.0, 0.5]))
    assert scores.shape == (2,) and frame_scores.shape == (2, net.features.num_frames(32000))
    alone, frames_alone = net.assess_batch(wavs[1, :16000])
    torch.testing.assert_close(scores[1:], alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(frame_scores[1, : frames_alone.shape[1]], frames_alone[0], atol=1e-5, rtol=0)


def test_gradients_reach_the_waveform_and_not_the_frozen_parameters(net, tone):
    """So that the score can serve as a perceptual loss: a step along the gradient raises it."""
    wav = torch.tensor(tone(1.0))[None].requires_grad_()
    score, _ = net.assess_batch(wav)
    score.sum().backward()
    assert torch.isfinite(wav.grad).all() and wav.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in net.mods.parameters())
    with torch.no_grad():
        better, _ = net.assess_batch(wav + 1e-3 * wav.grad / wav.grad.abs().max())
    assert better > score


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_the_same_scores_and_gradients(pretrained, net, tone):
    wavs = torch.tensor(np.stack([tone(2.0, seed=1), tone(2.0, seed=2)]))
    on_gpu = QualityNet.from_hparams(pretrained, run_opts={"device": "cuda"})
    torch.testing.assert_close(on_gpu.assess_batch(wavs)[0].cpu(), net.assess_batch(wavs)[0], atol=1e-3, rtol=0)
    wav = wavs.cuda().requires_grad_()
    on_gpu.assess_batch(wav)[0].sum().backward()
    assert torch.isfinite(wav.grad).all() and wav.grad.abs().max() > 0


@pytest.mark.parametrize(
    "wavs, message",
    [
        (torch.zeros(2, 3, 4), r"shape \(2, 3, 4\)"),
        (torch.zeros(1, 0), "at least one sample"),
        (torch.zeros(1, 100, dtype=torch.int16), "torch.int16 cannot be scored"),
        (torch.full((1, 100), float("nan")), "NaN or infinite samples"),
    ],
)
def test_impossible_batches(net, wavs, message):
    with pytest.raises(AudioError, match=message):
        net.assess_batch(wavs)


# -------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    "name, rate, channels, options",
    [
        ("a.wav", 16000, 1, {"subtype": "PCM_16"}),
        ("eight_bit.wav", 16000, 1, {"subtype": "PCM_U8"}),
        ("six_channels.wav", 16000, 6, {"subtype": "PCM_24"}),
        ("studio.flac", 96000, 2, {}),
        ("phone.wav", 8000, 1, {"subtype": "ULAW"}),
        ("music.ogg", 44100, 2, {}),
    ],
)
def test_any_rate_channels_and_format(net, tone, tmp_path, name, rate, channels, options):
    samples = np.repeat(tone(1.5, rate)[:, None], channels, axis=1)
    report = net.assess_file(write(tmp_path / name, samples, rate, **options))
    expected = float(net.assess_batch(torch.tensor(soxr.resample(tone(1.5, rate), rate, 16000)))[0])
    assert report.score == pytest.approx(expected, abs=0.1 if "eight" in name or "phone" in name else 0.02)
    assert report.duration == pytest.approx(1.5, abs=1e-3)


@pytest.mark.parametrize("samples", [1, 100, 511, 512])
def test_very_short_files(net, tmp_path, samples):
    report = net.assess_file(write(tmp_path / "short.wav", np.full(samples, 0.1)))
    assert np.isfinite(report.score) and report.frame_scores.shape == report.times.shape == (1,)
    assert 0 <= report.times[0] <= report.duration


def test_a_report_agrees_with_the_batch(net, tone, tmp_path):
    path = write(tmp_path / "a.wav", tone(2.0), subtype="FLOAT")
    report = net.assess_file(str(path))
    score, frame_scores = net.assess_batch(torch.tensor(tone(2.0)))
    assert report.score == pytest.approx(float(score), abs=1e-5)
    np.testing.assert_allclose(report.frame_scores, frame_scores[0].numpy(), atol=1e-5)
    assert report.score == pytest.approx(report.frame_scores.mean(), abs=1e-5)
    np.testing.assert_allclose(np.diff(report.times)[:-1], 0.016, atol=1e-9)
    assert report.scale == "raw_nb"


@pytest.mark.parametrize("level", ["peak", "loud", "none"])
def test_long_files_are_scored_in_chunks_like_a_whole(net, tone, tmp_path, monkeypatch, level):
    monkeypatch.setattr(net.features, "level", level)
    path = write(tmp_path / "long.wav", tone(9.37), subtype="FLOAT")
    whole = net.assess_file(path)
    monkeypatch.setattr(QualityNet, "CHUNK_SECONDS", 2.0)
    monkeypatch.setattr(QualityNet, "CONTEXT_SECONDS", 1.0)
    chunked = net.assess_file(path)
    assert chunked.frame_scores.shape == whole.frame_scores.shape and chunked.duration == whole.duration
    np.testing.assert_allclose(chunked.frame_scores, whole.frame_scores, atol=1e-3)
    assert chunked.score == pytest.approx(whole.score, abs=1e-4)


def test_memory_of_a_long_file_does_not_grow_with_it(net, tone, tmp_path):
    """Two sizes: what is held at once (the longest waveform handed to the network) stays the same."""
    held = []
    for minutes in (3, 6):
        path = write(tmp_path / f"{minutes}.flac", np.tile(tone(10.0), 6 * minutes))
        lengths = [len(chunk) for chunk, _, _ in net._chunks(path, minutes * 60 * 16000)]
        held.append(max(lengths))
    assert held[0] == held[1] <= (net.CHUNK_SECONDS + 2 * net.CONTEXT_SECONDS) * 16000 + 1024


def test_many_files_keep_their_order_and_one_bad_file_spoils_nothing(net, tone, tmp_path):
    paths = [write(tmp_path / f"{n}.wav", tone(0.4 + 0.3 * ((7 * n) % 5), seed=n)) for n in range(11)]
    paths.insert(4, tmp_path / "gone.wav")
    write(tmp_path / "silent.wav", np.zeros(8000))
    paths.insert(8, tmp_path / "silent.wav")
    results = list(net.assess_files(paths, batch_size=2))
    assert [path for path, _ in results] == paths
    for path, result in results:
        if path.stem in ("gone", "silent"):
            assert isinstance(result, AudioError) and path.name in str(result)
        else:
            assert result.score == pytest.approx(net.assess_file(path).score, abs=1e-5)


def test_bad_files_say_what_is_wrong(net, bad_file):
    path, message = bad_file
    with pytest.raises(AudioError, match=f"{path.name}.*{message}"):
        net.assess_file(path)


def test_a_long_silence_is_refused_as_a_short_one(net, tmp_path):
    with pytest.raises(AudioError, match="is silent"):
        net.assess_file(write(tmp_path / "silent.wav", np.zeros(61 * 16000)))


# ------------------------------------------------------------------------------------------------------------ regions


def report_of(frame_scores, hop=0.016):
    scores = np.asarray(frame_scores, dtype=float)
    times = np.arange(len(scores)) * hop + 0.016
    return QualityReport(scores.mean(), scores, times, len(scores) * hop + 0.016, hop, "raw_nb")


def test_regions_are_the_runs_below_the_threshold():
    report = report_of([4, 1, 1, 4, 4, 2, 4])
    regions = report.degraded_regions(below=2.5)
    assert [region.score for region in regions] == [1.0, 2.0]
    assert regions[0].start == pytest.approx(0.024) and regions[0].end == pytest.approx(0.056)
    assert report.degraded_regions(below=2.5, min_duration=0.02) == regions[:1]
    assert report.degraded_regions(below=0.5) == []


def test_a_recording_bad_throughout_is_one_region():
    report = report_of([1, 1, 1])
    assert report.degraded_regions(below=2) == [Region(0.0, report.duration, 1.0)]


# ------------------------------------------------------------------------------------------------------------ loading


def test_source_may_be_text_or_path(pretrained, net):
    wav = torch.randn(1, 4000)
    assert torch.equal(QualityNet.from_hparams(str(pretrained)).assess_batch(wav)[0], net.assess_batch(wav)[0])


@pytest.mark.parametrize("source", ["/nowhere/pretrained", "./results/qnet/pretrained", "missing", "a/b/c"])
def test_a_source_that_does_not_exist_is_no_hub_error(source):
    with pytest.raises(ConfigError, match="There is no folder .* nearest one that exists"):
        QualityNet.from_hparams(source)


def test_models_of_the_package_go_by_their_names(tone):
    """The one for enhanced speech is another than the default."""
    wav = torch.from_numpy(tone(1.0))[None]
    default, same, other = (
        float(QualityNet.from_hparams(name, run_opts={"device": "cpu"}).assess_batch(wav)[0])
        for name in (None, "quality-net", Path("quality-net-enhanced"))
    )
    assert default == same and abs(default - other) > 0.01
    with pytest.raises(ConfigError, match="package: enhancer, quality-net, .* Did you mean 'quality-net-enhanced'\\?"):
        QualityNet.from_hparams("quality-net-enhansed")
    with pytest.raises(ConfigError, match="The model's name is empty. Give a folder"):
        QualityNet.from_hparams("")
    with pytest.raises(ConfigError, match="a model of another kind"):
        QualityNet.from_hparams("speaker")


def test_a_hub_id_that_cannot_be_fetched(monkeypatch):
    import huggingface_hub

    def refuse(*arguments, **options):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(ConfigError, match="'owner/name' is no folder here, and as the id of a model .* no network"):
        QualityNet.from_hparams("owner/name")


def test_a_hub_id_is_fetched_and_loaded(pretrained, monkeypatch):
    import huggingface_hub

    asked = []
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **options: asked.append(name) or str(pretrained)
    )
    assert QualityNet.from_hparams("owner/name").scale == "raw_nb"
    assert asked == ["owner/name"]


@pytest.fixture
def damaged(pretrained, tmp_path):
    return shutil.copytree(pretrained, tmp_path / "model")


def test_a_file_for_a_source(damaged):
    with pytest.raises(ConfigError, match="quality.ckpt is a file. Give the folder"):
        QualityNet.from_hparams(damaged / "quality.ckpt")


def test_an_interface_without_a_model_in_the_package():
    class Other(PretrainedModel):
        """An interface of somebody else."""

    with pytest.raises(ConfigError, match="No model of Other comes with the package. Give source="):
        Other.from_hparams()


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ConfigError, match="holds no hyperparams.yaml, so it is no trained model"):
        QualityNet.from_hparams(tmp_path)


@pytest.mark.parametrize("size", [0, 100, 3000])
def test_a_checkpoint_cut_short(damaged, size):
    path = damaged / "quality.ckpt"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ConfigError, match=rf"quality.ckpt \({size} bytes\) cannot be read: it was cut short"):
        QualityNet.from_hparams(damaged)


def test_a_checkpoint_missing(damaged):
    (damaged / "quality.ckpt").unlink()
    with pytest.raises(ConfigError, match="weights .*quality.ckpt are missing"):
        QualityNet.from_hparams(damaged)


def test_a_checkpoint_of_another_size(damaged):
    yaml = damaged / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace("hidden_size: 6", "hidden_size: 7"))
    with pytest.raises(ConfigError, match="does not fit the model that the yaml beside it describes"):
        QualityNet.from_hparams(damaged)


def test_a_model_of_another_kind(damaged):
    yaml = damaged / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace("scale: raw_nb", "dimension: 3"))
    with pytest.raises(ConfigError, match="lacks scale, which QualityNet needs"):
        QualityNet.from_hparams(damaged)


def test_a_misspelt_plugin_in_the_yaml(damaged):
    yaml = damaged / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace("quality/blstm", "quality/blstn"))
    with pytest.raises(ValueError, match="Did you mean 'quality/blstm'"):
        QualityNet.from_hparams(damaged)
