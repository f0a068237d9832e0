"""Laws of QualityNet: any file, any length, gradients to the waveform."""

import numpy as np
import pytest
import soundfile
import torch

from speechtools.core.errors import AudioError
from speechtools.inference import QualityNet, QualityReport, Region


@pytest.fixture(scope="module")
def net(pretrained):
    return QualityNet.from_hparams(pretrained)


def write(path, samples, rate=16000, **options):
    soundfile.write(path, samples, rate, **options)
    return path


# ------------------------------------------------------------------------------------------------------------ batches


def test_padding_changes_no_score(net, tone):
    wavs = torch.tensor(np.stack([tone(2.0, seed=1), tone(2.0, seed=2)]))
    scores, frame_scores = net.assess_batch(wavs, torch.tensor([1.0, 0.5]))
    score, frames_of_one = net.assess_batch(wavs[1, :16000])
    torch.testing.assert_close(scores[1:], score, atol=1e-5, rtol=0)
    torch.testing.assert_close(frame_scores[1, : frames_of_one.shape[1]], frames_of_one[0], atol=1e-5, rtol=0)


def test_gradients_reach_the_waveform_and_not_the_frozen_parameters(net, tone):
    """A step along the gradient raises the score."""
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


# -------------------------------------------------------------------------------------------------------------- files


def test_very_short_recordings(net, tone):
    with pytest.warns(UserWarning, match="only 0.03 s of sound"):
        report = net.assess_samples(tone(1.0)[:512])
    assert np.isfinite(report.score) and report.frame_scores.shape == (1,)
    assert 0 <= report.times[0] <= report.duration
    for samples in (1, 511):
        with pytest.raises(AudioError, match="one window of 32 ms"):
            net.assess_samples(tone(1.0)[:samples])


def test_a_report_agrees_with_the_batch(net, tone, tmp_path):
    path = write(tmp_path / "a.wav", tone(2.0), subtype="FLOAT")
    report = net.assess_file(str(path))
    score, frame_scores = net.assess_batch(torch.tensor(tone(2.0)))
    assert report.score == pytest.approx(float(score), abs=1e-5)
    np.testing.assert_allclose(report.frame_scores, frame_scores[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(np.diff(report.times)[:-1], 0.016, atol=1e-9)


@pytest.mark.parametrize("level", ["peak", "loud"])
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


def test_many_files_have_the_scores_of_single_files(net, tone, tmp_path):
    paths = [write(tmp_path / f"{n}.wav", tone(0.4 + 0.3 * ((7 * n) % 5), seed=n)) for n in range(5)]
    results = list(net.assess_files([*paths, tmp_path / "gone.wav"], batch_size=2))
    assert isinstance(results.pop()[1], AudioError)
    for path, report in results:
        assert report.score == pytest.approx(net.assess_file(path).score, abs=1e-5)


def test_bad_files_say_what_is_wrong(net, bad_file):
    path, message = bad_file
    with pytest.raises(AudioError, match=f"{path.name}.*{message}"):
        net.assess_file(path)
    with pytest.raises(AudioError, match=r"shape \(100, 2\).*Transpose"):
        net.assess_samples(np.ones((100, 2)))


# ------------------------------------------------------------------------------------------------------------ regions


def test_regions_are_the_runs_below_the_threshold():
    scores = np.array([4.0, 1.0, 1.0, 4.0, 4.0, 2.0, 4.0])
    report = QualityReport(scores.mean(), scores, 0.016 * np.arange(1, 8), 0.128, 0.016, "raw_nb")
    regions = report.degraded_regions(below=2.5)
    assert [region.score for region in regions] == [1.0, 2.0]
    assert (regions[0].start, regions[0].end) == pytest.approx((0.024, 0.056))
    assert report.degraded_regions(below=2.5, min_duration=0.02) == regions[:1]
    assert report.degraded_regions(below=5) == [Region(0.0, report.duration, scores.mean())]
