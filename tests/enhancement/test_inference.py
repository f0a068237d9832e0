"""The interface to a trained enhancer and its command: any file, any length, gradients to the waveform, refusals."""

import itertools
import shutil

import numpy as np
import pytest
import soundfile
import torch

import speechtools
from speechtools import audio, cli
from speechtools.audio.noises import make_noise
from speechtools.audio.spectrum import Spectrum
from speechtools.core.errors import AudioError, ConfigError
from speechtools.degradations import mixing
from speechtools.inference import SpeechEnhancer
from speechtools.measures.pesq import pesq_score

YAML = """
sample_rate: {rate}
spectrum: !new:speechtools.audio.spectrum.Spectrum {{n_fft: {n_fft}, hop_length: {hop_length}}}
enhancer: !apply:speechtools.build {{plugin: enhancer/blstm, hidden_size: 6, num_layers: 1}}
modules:
    enhancer: !ref <enhancer>
"""


def write_model(folder, rate=16000, n_fft=512, hop_length=256):
    """A `pretrained` folder of a tiny enhancer with random weights, as the recipe writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hyperparams.yaml").write_text(YAML.format(rate=rate, n_fft=n_fft, hop_length=hop_length))
    torch.manual_seed(0)
    part = speechtools.build("enhancer/blstm", hidden_size=6, num_layers=1)
    with torch.no_grad():
        part.output.weight.mul_(5)  # masks that differ from bin to bin
    torch.save(part.state_dict(), folder / "enhancer.ckpt")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("enhancer") / "pretrained")


@pytest.fixture(scope="module")
def enhancer(model):
    return SpeechEnhancer.from_hparams(model, run_opts={"device": "cpu"})


def write(path, samples, rate=16000, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)
    return path


def batch_of(tone, *seconds):
    waveforms = [tone(each, seed=number) for number, each in enumerate(seconds)]
    wavs = torch.zeros(len(waveforms), max(map(len, waveforms)))
    for row, samples in zip(wavs, waveforms, strict=True):
        row[: len(samples)] = torch.from_numpy(samples)
    return waveforms, wavs, torch.tensor([len(samples) / wavs.shape[1] for samples in waveforms])


# ------------------------------------------------------------------------------------------------------------ batches


def test_the_way_from_noisy_to_enhanced(enhancer, tone):
    """Spectrum, mask, inverse: each step by itself gives the same."""
    wavs = torch.from_numpy(tone(1.0))[None]
    noisy = enhancer.spectrum(wavs)
    masks = enhancer.mods.enhancer(noisy.abs())
    enhanced = enhancer.enhance_batch(wavs)
    torch.testing.assert_close(enhanced, enhancer.spectrum.inverse(masks * noisy, wavs.shape[1]))
    assert masks.min() < 0.3 and masks.max() > 0.7 and enhanced.norm() < wavs.norm()


def test_batch_equals_one_by_one_and_padding_changes_nothing(enhancer, tone):
    waveforms, wavs, lens = batch_of(tone, 2.0, 1.3, 0.01)
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
    for ours, row in zip(enhancer.enhance_waveforms(waveforms), together, strict=True):
        np.testing.assert_allclose(ours, row[: len(ours)].detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("samples", [1, 255, 511, 512])
def test_very_short_waveforms_keep_their_length(enhancer, samples):
    (enhanced,) = enhancer.enhance_waveforms([np.full(samples, 0.1, np.float32)])
    assert enhanced.shape == (samples,) and np.isfinite(enhanced).all()


def test_lengths_of_long_recordings_are_kept_to_the_sample(enhancer):
    counts = [61 * 16000, 61 * 16000 - 1, 7]
    made = enhancer.enhance_waveforms([np.full(count, 0.1, np.float32) for count in counts])
    assert [len(each) for each in made] == counts
    assert all(abs(each[-1]) > 0 for each in made), "nothing is cut off"


@pytest.mark.parametrize("factor", [0.01, 3.0])
def test_what_is_louder_comes_out_louder_and_nothing_else_changes(enhancer, tone, factor):
    wavs = torch.from_numpy(tone(1.0))[None]
    torch.testing.assert_close(
        enhancer.enhance_batch(factor * wavs), factor * enhancer.enhance_batch(wavs), atol=1e-5 * factor, rtol=1e-4
    )


def test_silence_stays_silent(enhancer):
    assert (enhancer.enhance_batch(torch.zeros(2, 4000)) == 0).all()


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
    _, wavs, lens = batch_of(tone, 2.0, 1.3)
    on_gpu = SpeechEnhancer.from_hparams(model, run_opts={"device": "cuda"})
    given = wavs.cuda().requires_grad_()
    enhanced = on_gpu.enhance_batch(given, lens)
    torch.testing.assert_close(enhanced.cpu(), enhancer.enhance_batch(wavs, lens), atol=1e-3, rtol=0)
    enhanced.square().sum().backward()
    assert torch.isfinite(given.grad).all() and given.grad.abs().max() > 0


@pytest.mark.parametrize(
    "wavs, message",
    [
        (torch.zeros(2, 3, 4), r"shape \(2, 3, 4\)"),
        (torch.zeros(100), r"shape \(100,\)"),
        (torch.zeros(1, 0), "at least one sample"),
        (torch.zeros(1, 100, dtype=torch.int16), "torch.int16 cannot be enhanced"),
        (torch.full((1, 100), float("nan")), "NaN or infinite samples"),
    ],
)
def test_impossible_batches(enhancer, wavs, message):
    with pytest.raises(AudioError, match=message):
        enhancer.enhance_batch(wavs)


# -------------------------------------------------------------------------------------------------------------- files


def test_a_file_is_enhanced_as_its_samples_are(enhancer, tone, tmp_path):
    path = write(tmp_path / "a.wav", tone(1.5), subtype="FLOAT")
    np.testing.assert_allclose(enhancer.enhance_file(str(path)), enhancer.enhance_waveforms([tone(1.5)])[0], atol=1e-6)


def test_any_rate_and_channels(enhancer, tone, tmp_path):
    stereo = np.repeat(tone(1.5, 48000)[:, None], 2, axis=1)
    enhanced = enhancer.enhance_file(write(tmp_path / "studio.flac", stereo, 48000))
    assert enhanced.shape == (24000,)
    mono = enhancer.enhance_file(write(tmp_path / "mono.wav", tone(1.5, 48000), 48000, subtype="FLOAT"))
    np.testing.assert_allclose(enhanced, mono, atol=1e-3)


@pytest.mark.parametrize("periods, chunks", [(6, 1), (8, 1), (9, 2), (18, 4)])
def test_long_files_are_enhanced_in_chunks_like_a_whole(enhancer, model, tmp_path, periods, chunks):
    """Of a sound that repeats itself: each chunk is measured by its own average, which is then that of the whole."""
    period = np.random.default_rng(0).uniform(-0.5, 0.5, 8192).astype(np.float32)
    samples = np.tile(period, periods)
    path = write(tmp_path / "long.wav", samples, subtype="FLOAT")
    whole = enhancer.enhance_file(path)
    chunked = SpeechEnhancer.from_hparams(model, run_opts={"device": "cpu"})
    chunked.CHUNK_SECONDS, chunked.CONTEXT_SECONDS = 4 * 8192 / 16000, 2 * 8192 / 16000
    lengths, enhance = [], chunked.enhance_waveforms
    chunked.enhance_waveforms = lambda waveforms: lengths.append(len(waveforms[0])) or enhance(waveforms)
    made = chunked.enhance_file(path)
    assert len(lengths) == chunks and max(lengths) <= 10 * 8192
    assert made.shape == whole.shape
    np.testing.assert_allclose(made, whole, atol=0.02 * np.abs(whole).max())


def test_bad_files_say_what_is_wrong(enhancer, bad_file, tmp_path):
    path, message = bad_file
    with pytest.raises(AudioError, match=f"{path.name}.*{message}"):
        enhancer.enhance_file(path)
    ((told, error),) = enhancer.enhance_files([(path, tmp_path / "out.wav")])
    assert told == path and path.name in str(error) and not (tmp_path / "out.wav").exists()


def test_what_would_clip_is_scaled(enhancer, tone, tmp_path, monkeypatch):
    path = write(tmp_path / "a.wav", tone(1.0))
    loud = 5 * tone(1.0)
    monkeypatch.setattr(enhancer, "enhance_file", lambda path: loud)
    assert list(enhancer.enhance_files([(path, tmp_path / "out.flac")])) == [(path, None)]
    written, rate = soundfile.read(tmp_path / "out.flac")
    assert rate == 16000
    np.testing.assert_allclose(written, loud / np.abs(loud).max(), atol=1e-4)


# ------------------------------------------------------------------------------------------------------------ loading


def test_an_enhancer_of_another_stft_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not take spectra of 129 bins, which n_fft=256 gives.*another STFT"):
        SpeechEnhancer.from_hparams(write_model(tmp_path, n_fft=256, hop_length=128))


def test_an_stft_that_cannot_be(tmp_path):
    with pytest.raises(ConfigError, match="hop_length=500 must divide n_fft=512"):
        SpeechEnhancer.from_hparams(write_model(tmp_path, hop_length=500))


def test_a_recipe_of_another_rate_or_stft_is_refused(enhancer):
    enhancer.check_rate(16000)
    enhancer.check_matches(16000, Spectrum(512, 256))
    with pytest.raises(ConfigError, match="This SpeechEnhancer was trained at 16000 Hz, and the recipe has .*=8000"):
        enhancer.check_rate(8000)
    with pytest.raises(ConfigError, match="trained at 16000 Hz"):
        enhancer.check_matches(8000, Spectrum(512, 256))
    with pytest.raises(
        ConfigError, match="n_fft=512 and hop_length=256, and the recipe has n_fft=512 and hop_len.*128"
    ):
        enhancer.check_matches(16000, Spectrum(512, 128))


def test_models_of_other_kinds(model, pretrained):
    with pytest.raises(ConfigError, match="lacks spectrum, modules: enhancer, which SpeechEnhancer needs"):
        SpeechEnhancer.from_hparams(pretrained)
    with pytest.raises(ConfigError, match="lacks features, scale, modules: quality, which QualityNet needs"):
        speechtools.inference.QualityNet.from_hparams(model)


def test_the_model_that_comes_with_the_package_takes_noise_out():
    """White noise alone; its first frames are heard before anything is known of it."""
    bundled = SpeechEnhancer.from_hparams(run_opts={"device": "cpu"})
    noise = np.random.default_rng(0).normal(0, 0.05, 3 * bundled.sample_rate).astype(np.float32)
    (enhanced,) = bundled.enhance_waveforms([noise])
    assert np.square(enhanced).mean() < 0.25 * np.square(noise).mean()


def pesq_gain(enhancer, waveforms, noises, snr_db=5.0):
    """How much higher the raw PESQ of noisy waveforms is once they are enhanced: the mean over all pairs."""
    gains = []
    for clean, noise in itertools.product(waveforms, noises):
        noisy = mixing.mix_at_snr(clean, mixing.cut_noise(noise, len(clean), seed=0), snr_db).astype(np.float32)
        before, after = (pesq_score(clean, each, 16000) for each in (noisy, *enhancer.enhance_waveforms([noisy])))
        gains.append(after - before)
    return np.mean(gains)


def test_the_model_that_comes_with_the_package_raises_pesq_with_noises_that_it_has_not_heard(builtin_cache):
    pytest.importorskip("espeakng_loader")
    bundled = SpeechEnhancer.from_hparams(run_opts={"device": "cpu"})
    utterances = speechtools.build("corpus/builtin", num_train_speakers=2, num_test_speakers=1)
    waveforms = [audio.read(each.path) for each in utterances if each.split == "test"][:2]
    assert pesq_gain(bundled, waveforms, [make_noise("engine"), make_noise("white")]) > 0.2


def test_a_checkpoint_cut_short_or_missing(model, tmp_path):
    copy = shutil.copytree(model, tmp_path / "model")
    (copy / "enhancer.ckpt").write_bytes((model / "enhancer.ckpt").read_bytes()[:1000])
    with pytest.raises(ConfigError, match=r"enhancer.ckpt \(1000 bytes\) cannot be read: it was cut short"):
        SpeechEnhancer.from_hparams(copy)
    (copy / "enhancer.ckpt").unlink()
    with pytest.raises(ConfigError, match="weights .*enhancer.ckpt are missing"):
        SpeechEnhancer.from_hparams(copy)


# -------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def enhance(model, capsys):
    """``speechtools enhance``: the exit status, and what it printed on either stream."""

    def run(*arguments):
        status = cli.main(["enhance", *map(str, arguments), f"--model={model}"])
        return status, *capsys.readouterr()

    return run


def test_a_file_to_a_file(enhance, enhancer, tone, tmp_path):
    path = write(tmp_path / "noisy.flac", tone(1.0))
    for target, made in (("new/clean.wav", "new/clean.wav"), ("clean.flac", "clean.flac"), ("new", "new/noisy.wav")):
        status, printed, _ = enhance(path, tmp_path / target)
        assert status == 0 and f"1 recording enhanced: {tmp_path / target}" in printed
        written, rate = soundfile.read(tmp_path / made)
        assert rate == 16000 and soundfile.info(tmp_path / made).subtype == "PCM_16"
        np.testing.assert_allclose(written, enhancer.enhance_file(path), atol=1 / 32768)


def test_a_folder_and_a_bad_file_among_good_ones(enhance, tone, tmp_path):
    for name in ("a.wav", "deep/b.flac", "deep/er/c.ogg"):
        write(tmp_path / "in" / name, tone(0.5))
    write(tmp_path / "in" / "deep" / "silent.wav", np.zeros(8000))
    (tmp_path / "in" / "notes.txt").write_text("no audio, and not taken for it")
    status, printed, errors = enhance(tmp_path / "in", tmp_path / "out")
    assert status == 1 and "3 recordings enhanced" in printed
    assert "speechtools: not enhanced: " in errors and "silent.wav is silent" in errors and "Traceback" not in errors
    made = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert made == ["a.wav", "deep/b.wav", "deep/er/c.wav"]


def test_none_could_be_enhanced(enhance, tmp_path):
    status, printed, errors = enhance(tmp_path / "gone.wav", tmp_path / "out.wav")
    assert status == 1 and not printed and "gone.wav does not exist" in errors
    assert not (tmp_path / "out.wav").exists()


def one_message(result, *words):
    status, printed, errors = result
    lines = [line for line in errors.splitlines() if line.startswith("speechtools: ")]
    assert status == 1 and not printed and len(lines) == 1 and "Traceback" not in errors
    assert all(word in lines[0] for word in words), lines[0]


def test_places_that_cannot_be(enhance, tone, tmp_path):
    path = write(tmp_path / "in" / "a.wav", tone(0.5))
    one_message(enhance(tmp_path / "in", tmp_path / "out.wav"), "is a folder and", "out.wav a file. Give a folder")
    one_message(enhance(path, path), "a.wav would be replaced by its enhanced version")
    one_message(enhance(path, tmp_path / "in" / ".." / "in" / "a.wav"), "a.wav would be replaced")
    one_message(enhance(path, tmp_path / "in"), "a.wav would be replaced by its enhanced version")
    one_message(enhance(tmp_path / "in", tmp_path / "in"), "a.wav would be replaced")
    before = path.read_bytes()
    write(tmp_path / "in" / "a.flac", tone(0.5, seed=1))
    one_message(enhance(tmp_path / "in", tmp_path / "out"), "a.flac and", "would both become", "Rename one")
    assert path.read_bytes() == before and not (tmp_path / "out").exists()
    (tmp_path / "none").mkdir()
    one_message(enhance(tmp_path / "none", tmp_path / "out"), "none holds no audio file")
    status, printed, errors = enhance(path, tmp_path / "out.mp3")
    assert status == 1 and ".mp3" in errors and "Traceback" not in errors


def test_a_model_that_is_not_there(tone, tmp_path, capsys):
    path = write(tmp_path / "a.wav", tone(0.5))
    status = cli.main(["enhance", str(path), str(tmp_path / "out.wav"), "--model=/nowhere/pretrained"])
    one_message((status, *capsys.readouterr()), "There is no folder /nowhere/pretrained")


def test_chunks_pass_into_each_other_without_a_jump(enhancer, model, tmp_path):
    """Where every chunk gets a gain of its own, the gains of neighbours are mixed in turn, and add up to 1."""
    path = tmp_path / "long.wav"
    soundfile.write(path, np.full(16000 * 9, 0.25), 16000)
    chunked = SpeechEnhancer.from_hparams(model, run_opts={"device": "cpu"})
    chunked.CHUNK_SECONDS, chunked.CONTEXT_SECONDS = 2.0, 0.5
    gains = iter(range(1, 100))
    chunked.enhance_waveforms = lambda waveforms: [next(gains) * samples for samples in waveforms]
    made = chunked.enhance_file(path) / 0.25
    assert made[0] == pytest.approx(1) and made[-1] > 3
    assert np.abs(np.diff(made)).max() < 1e-3 and np.diff(made).min() > -1e-5
