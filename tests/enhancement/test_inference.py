"""Laws of SpeechEnhancer: any file, any length, gradients to the waveform."""

import itertools

import numpy as np
import pytest
import soundfile
import torch

import speechtools
from speechtools import audio
from speechtools.audio.noises import make_noise
from speechtools.audio.spectrum import Spectrum
from speechtools.audio.waveforms import pad
from speechtools.core import model_folder
from speechtools.core.errors import AudioError, ConfigError
from speechtools.degradations.noise import cut_noise, mix_at_snr
from speechtools.inference import SpeechEnhancer
from speechtools.measures.pesq import pesq_score


def write_model(folder, rate=16000, n_fft=512, hop_length=256):
    """Write the `pretrained` folder of a tiny enhancer with random weights."""
    torch.manual_seed(0)
    net = speechtools.build("enhancer/blstm", hidden_size=6, num_layers=1)
    with torch.no_grad():
        net.output.weight.mul_(5)  # masks that differ from bin to bin
    entries = {"sample_rate": rate, "n_fft": n_fft, "hop_length": hop_length, "enhancer": net}
    return model_folder.write_model(folder, entries, {"enhancer": net}, {}, "")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("enhancer") / "pretrained")


@pytest.fixture(scope="module")
def enhancer(model):
    return load(model)


def write(path, samples, rate=16000, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path


def load(source=None):
    return SpeechEnhancer.from_hparams(source, run_opts={"device": "cpu"})


# ------------------------------------------------------------------------------------------------------------ batches


def test_steps_from_noisy_to_enhanced(enhancer, tone):
    """Spectrum, mask, inverse."""
    wavs = torch.from_numpy(tone(1.0))[None]
    wavs -= wavs.mean()
    noisy = enhancer.spectrum(wavs)
    masks = enhancer.mods.enhancer(noisy.abs())
    enhanced = enhancer.enhance_batch(wavs)
    torch.testing.assert_close(enhanced, enhancer.spectrum.inverse(masks * noisy, wavs.shape[1]))
    assert masks.min() < 0.3 and masks.max() > 0.7 and enhanced.norm() < wavs.norm()


def test_batch_equals_one_by_one_and_padding_changes_nothing(enhancer, tone):
    waveforms = [tone(2.0), tone(1.3), tone(0.01)]
    wavs, lens = pad(waveforms)
    together = enhancer.enhance_batch(wavs, lens)
    assert together.shape == wavs.shape
    spoiled = wavs.clone()
    for row, samples in zip(spoiled, waveforms, strict=True):
        row[len(samples) :] = 9.0
    torch.testing.assert_close(enhancer.enhance_batch(spoiled, lens), together)
    for row, samples in zip(together, waveforms, strict=True):
        alone = enhancer.enhance_batch(torch.from_numpy(samples)[None])[0]
        torch.testing.assert_close(row[: len(samples)], alone, atol=1e-5, rtol=0)
        assert (row[len(samples) :] == 0).all()
    for enhanced, row in zip(enhancer.enhance_waveforms(waveforms), together, strict=True):
        np.testing.assert_allclose(enhanced, row[: len(enhanced)].detach().numpy(), atol=1e-6)


def test_very_short_waveforms_keep_their_length(enhancer):
    (enhanced,) = enhancer.enhance_waveforms([np.full(1, 0.1, np.float32)])
    assert enhanced.shape == (1,) and np.isfinite(enhanced).all()


def test_the_level_passes_through(enhancer, tone):
    wavs = torch.from_numpy(tone(1.0))
    for factor in (0.0, 3.0):
        scaled = factor * enhancer.enhance_batch(wavs)
        torch.testing.assert_close(enhancer.enhance_batch(factor * wavs), scaled, atol=1e-5 * factor, rtol=1e-4)


def test_gradients_reach_the_waveform_and_not_the_frozen_parameters(enhancer, tone):
    wavs = torch.from_numpy(np.stack([tone(0.3, seed=1), tone(0.3, seed=2)])).requires_grad_()
    lens = torch.tensor([1.0, 0.5])
    (enhancer.enhance_batch(wavs, lens) ** 2).sum().backward()
    assert torch.isfinite(wavs.grad).all() and (wavs.grad[0] != 0).any() and (wavs.grad[1, 2400:] == 0).all()
    assert all(parameter.grad is None for parameter in enhancer.mods.parameters())
    step = 1e-2 * wavs.grad / wavs.grad.abs().max()
    power = [enhancer.enhance_batch((wavs + sign * step).detach(), lens).square().sum() for sign in (-1, 0, 1)]
    assert power[0] < power[1] < power[2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_makes_the_same(model, enhancer, tone):
    wavs, lens = pad([tone(2.0), tone(1.3)])
    on_gpu = SpeechEnhancer.from_hparams(model, run_opts={"device": "cuda"})
    leaf = wavs.cuda().requires_grad_()
    enhanced = on_gpu.enhance_batch(leaf, lens)
    torch.testing.assert_close(enhanced.cpu(), enhancer.enhance_batch(wavs, lens), atol=1e-3, rtol=0)
    enhanced.square().sum().backward()
    assert torch.isfinite(leaf.grad).all() and leaf.grad.abs().max() > 0


# -------------------------------------------------------------------------------------------------------------- files


def test_a_file_is_enhanced_as_its_samples_are(enhancer, tone, tmp_path):
    """At any sample rate, with any channels."""
    path = write(tmp_path / "a.wav", tone(1.5), subtype="FLOAT")
    np.testing.assert_allclose(enhancer.enhance_file(str(path)), enhancer.enhance_waveforms([tone(1.5)])[0], atol=1e-6)
    stereo = np.repeat(tone(1.5, 48000)[:, None], 2, axis=1)
    assert enhancer.enhance_file(write(tmp_path / "studio.flac", stereo, 48000)).shape == (24000,)


@pytest.mark.parametrize("periods, chunks", [(8, 1), (18, 4)])
def test_long_files_are_enhanced_in_chunks_like_a_whole(enhancer, model, tmp_path, periods, chunks):
    """A periodic sound, so that every chunk has the average of the whole."""
    period = np.random.default_rng(0).uniform(-0.5, 0.5, 8192).astype(np.float32)
    samples = np.tile(period, periods)
    path = write(tmp_path / "long.wav", samples, subtype="FLOAT")
    whole = enhancer.enhance_file(path)
    chunked = load(model)
    chunked.CHUNK_SECONDS, chunked.CONTEXT_SECONDS = 4 * 8192 / 16000, 2 * 8192 / 16000
    lengths, enhance = [], chunked._enhance_chunk
    chunked._enhance_chunk = lambda samples: lengths.append(len(samples)) or enhance(samples)
    enhanced = chunked.enhance_file(path)
    assert len(lengths) == chunks and max(lengths) <= 10 * 8192
    assert enhanced.shape == whole.shape
    np.testing.assert_allclose(enhanced, whole, atol=0.02 * np.abs(whole).max())


def test_a_bad_file_among_good_ones(enhancer, bad_file, tone, tmp_path):
    path, message = bad_file
    with pytest.raises(AudioError, match=f"{path.name}.*{message}"):
        enhancer.enhance_file(path)
    good = write(tmp_path / "good.wav", tone(0.5))
    files = [(path, tmp_path / "out.wav"), (good, tmp_path / "good.flac"), (good, tmp_path / "good.mp3")]
    (_, error), (_, none), (_, format_error) = enhancer.enhance_files(files)
    assert path.name in str(error) and not (tmp_path / "out.wav").exists()
    assert none is None and (tmp_path / "good.flac").exists()
    assert ".mp3" in str(format_error)


def test_what_would_clip_is_scaled(enhancer, tone, tmp_path, monkeypatch):
    path, loud = write(tmp_path / "a.wav", tone(1.0)), 5 * tone(1.0)
    monkeypatch.setattr(enhancer, "enhance_waveforms", lambda waveforms: [loud])
    assert list(enhancer.enhance_files([(path, tmp_path / "out.flac")])) == [(path, None)]
    np.testing.assert_allclose(audio.read(tmp_path / "out.flac"), loud / np.abs(loud).max(), atol=1e-4)


def test_chunks_are_cross_faded(model, tmp_path):
    """Each chunk is scaled by another gain; the gains are cross-faded."""
    path = write(tmp_path / "long.wav", np.tile([0.25, -0.25], 8000 * 9))
    chunked = load(model)
    chunked.CHUNK_SECONDS, chunked.CONTEXT_SECONDS = 2.0, 0.5
    gains = iter(range(1, 100))
    chunked._enhance_chunk = lambda samples: next(gains) * samples
    enhanced = chunked.enhance_file(path)[::2] / 0.25
    assert enhanced[0] == pytest.approx(1) and enhanced[-1] > 3
    assert np.abs(np.diff(enhanced)).max() < 1e-3 and np.diff(enhanced).min() > -1e-5


# ---------------------------------------------------------------------------------------------------------- stretches


@pytest.mark.parametrize("chunk_seconds", [60.0, 1.0])
def test_outside_the_stretches_nothing_changes_and_inside_they_are_enhanced(model, tone, tmp_path, chunk_seconds):
    """In one block, or in chunks of which some are not enhanced; with a DC offset."""
    rng = np.random.default_rng(0)
    samples = 0.1 + 0.5 * tone(9.0) + 0.02 * rng.standard_normal(9 * 16000)
    path = write(tmp_path / "a.wav", samples.astype(np.float32))
    enhancer, original = load(model), audio.read(path)
    enhancer.CHUNK_SECONDS, enhancer.CONTEXT_SECONDS = chunk_seconds, 0.5
    whole = enhancer.enhance_file(path)
    lengths, enhance = [], enhancer._enhance_chunk
    enhancer._enhance_chunk = lambda samples: lengths.append(len(samples)) or enhance(samples)
    stretches = [(0.0, 0.7), (3.9, 4.2), (4.25, 5.3)]
    enhanced = enhancer.enhance_stretches(path, stretches, fade=0.03)
    assert enhanced.dtype == np.float32 and len(lengths) == (0 if chunk_seconds == 60 else 4)
    inside = np.zeros(len(samples), dtype=bool)
    mean = np.float32(audio.io.offset(path, 16000))
    for start, end in stretches:
        inside[round(16000 * start) : round(16000 * end)] = True
        full = slice(round(16000 * (start + 0.03 * (start > 0))), round(16000 * (end - 0.03)))
        gain = min(max(1.0, fit(original[full] - mean, whole[full])), 4.0)
        assert is_close(enhanced[full] - mean, gain * whole[full])
    assert np.array_equal(enhanced[~inside], original[~inside])
    everywhere = enhancer.enhance_stretches(path, [(0.0, np.inf)]) - mean
    gain = min(max(1.0, fit(original - mean, whole)), 4.0)
    assert is_close(everywhere, gain * whole)
    assert np.array_equal(enhancer.enhance_stretches(path, []), original)


def is_close(samples, others):
    """Whether the difference is 20 dB weaker: gains differ a little by block."""
    return np.square(samples - others).sum() < 0.01 * np.square(others).sum()


def fit(samples, enhanced):
    """The gain with which ``enhanced`` is closest to ``samples``."""
    return float((samples * enhanced).sum() / np.square(enhanced).sum())


def test_a_file_with_an_enhanced_stretch_is_a_copy_elsewhere(enhancer, tone, tmp_path):
    path = write(tmp_path / "a.wav", 3.2 * tone(2.0).clip(-0.3, 0.3))  # close to full scale
    enhancer.write_stretches(path, tmp_path / "b.flac", [(0.5, 1.0)])
    before, after = (soundfile.read(name, dtype="int16")[0] for name in (path, tmp_path / "b.flac"))
    assert np.array_equal(before[:8000], after[:8000]) and np.array_equal(before[16000:], after[16000:])
    assert not np.array_equal(before, after)
    with pytest.raises(ConfigError, match="stretch from 1 s to 0 s"):
        enhancer.enhance_stretches(path, [(1, 0)])


# ------------------------------------------------------------------------------------------------------------ loading


def test_an_enhancer_of_another_stft_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not take spectra of 129 bins, which n_fft=256 gives.*another STFT"):
        load(write_model(tmp_path, n_fft=256, hop_length=128))


def test_a_recipe_of_another_rate_or_stft_is_refused(enhancer):
    enhancer.check_matches(16000, Spectrum(512, 256))
    with pytest.raises(ConfigError, match="trained at 16000 Hz, but the recipe has sample_rate=8000"):
        enhancer.check_matches(8000, Spectrum(512, 256))
    with pytest.raises(ConfigError, match="hop_length=256, but the recipe has n_fft=512 and hop_length=128"):
        enhancer.check_matches(16000, Spectrum(512, 128))


def test_the_bundled_model_raises_pesq_with_unseen_noises(builtin_cache):
    pytest.importorskip("espeakng_loader")
    utterances = speechtools.build("corpus/builtin", num_train_speakers=2, num_test_speakers=1)
    waveforms = [audio.read(utterance.path) for utterance in utterances if utterance.split == "test"][:2]
    enhancer, gains = load(), []
    for clean, noise in itertools.product(waveforms, [make_noise("engine"), make_noise("white")]):
        noisy = mix_at_snr(clean, cut_noise(noise, len(clean), seed=0), 5.0).astype(np.float32)
        (enhanced,) = enhancer.enhance_waveforms([noisy])
        gains.append(pesq_score(clean, enhanced, 16000) - pesq_score(clean, noisy, 16000))
    assert np.mean(gains) > 0.2
