"""What all interfaces have in common: the recordings that they take, their offset, their lengths and their memory."""

import io
import os
import tracemalloc
import warnings

import numpy as np
import pytest
import soundfile
import soxr
import torch

import speechtools
from speechtools import audio
from speechtools.core.errors import AudioError, ConfigError
from speechtools.inference import QualityNet, SpeakerVerification, SpeechEnhancer


@pytest.fixture(scope="module")
def models():
    """The bundled models, by what they do with a recording."""
    net, verifier, enhancer = (
        interface.from_hparams(run_opts={"device": "cpu"})
        for interface in (QualityNet, SpeakerVerification, SpeechEnhancer)
    )
    return {"score": net, "embed": verifier, "enhance": enhancer}


@pytest.fixture(scope="module")
def speech():
    """Three seconds of speech with a peak of 0.5."""
    samples = audio.read(speechtools.SAMPLE)
    return samples / np.abs(samples).max() / 2


METHODS = {
    "assess_file": lambda models, *a, **k: models["score"].assess_file(*a, **k).frame_scores,
    "assess_samples": lambda models, *a, **k: models["score"].assess_samples(*a, **k).frame_scores,
    "assess_files": lambda models, *a, **k: only(models["score"].assess_files(*a, **k)).frame_scores,
    "encode_file": lambda models, *a, **k: models["embed"].encode_file(*a, **k).numpy(),
    "encode_files": lambda models, *a, **k: only(models["embed"].encode_files(*a, **k)).numpy(),
    "encode_windows": lambda models, *a, **k: models["embed"].encode_windows(*a, **k).dvectors.numpy(),
    "encode_file_windows": lambda models, *a, **k: models["embed"].encode_file_windows(*a, **k).dvectors.numpy(),
    "enroll": lambda models, *a, **k: models["embed"].enroll("anna", *a, **k).numpy(),
    "verify": lambda models, *a, **k: np.array(models["embed"].verify("anna", *a, **k).score),
    "verify_files": lambda models, a, **k: np.array(models["embed"].verify_files(a, a, **k).score),
    "identify": lambda models, *a, **k: np.array(models["embed"].identify(*a, **k)[0].score),
    "enhance_file": lambda models, *a, **k: models["enhance"].enhance_file(*a, **k),
}


def only(results):
    ((_, result),) = results
    if isinstance(result, Exception):
        raise result
    return result


@pytest.fixture(params=METHODS)
def method(request, models, speech):
    models["embed"].enroll("anna", [speech])
    return lambda *arguments, **options: METHODS[request.param](models, *arguments, **options)


def test_every_method_takes_every_recording(method, speech, tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, speech, 16000, subtype="FLOAT")
    expected = method(path)
    content = path.read_bytes()
    kinds = [str(path), os.fsencode(path), content, io.BytesIO(content), speech, torch.from_numpy(speech), speech[None]]
    for recording in kinds:
        np.testing.assert_allclose(method(recording), expected, atol=1e-5)
    with open(path, "rb") as file:
        np.testing.assert_allclose(method(file), expected, atol=1e-5)
    integers = np.round(speech * 32767).astype(np.int16)
    np.testing.assert_allclose(method(integers), expected, atol=2e-2)
    fast = soxr.resample(speech, 16000, 44100)
    resampled = audio.read(io.BytesIO(_wav(fast, 44100)))
    np.testing.assert_allclose(method(fast, sample_rate=44100), method(resampled), atol=1e-3)
    stereo = np.stack([speech, np.roll(speech, 4000)])
    np.testing.assert_allclose(method(stereo, channel=0), expected, atol=1e-5)
    for options, message in (({"channel": 2}, "2 channels.*channel=2"), ({"channel": -1}, "channel=-1")):
        with pytest.raises((AudioError, ConfigError), match=message):
            method(stereo, **options)
    for samples, message in ((stereo.T, "Transpose"), (speech > 0, "bool"), (np.zeros(0), "at least one sample")):
        with pytest.raises(AudioError, match=message):
            method(samples)
    with pytest.raises((AudioError, ConfigError), match="sample_rate=0"):
        method(speech, sample_rate=0)


def _wav(samples, rate):
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def test_nothing_gives_nothing(models):
    assert list(models["score"].assess_files([])) == list(models["embed"].encode_files([])) == []
    assert list(models["enhance"].enhance_files([])) == []
    with pytest.raises(ConfigError, match="No recordings to enroll"):
        models["embed"].enroll("anna", [])


# --------------------------------------------------------------------------------------------------------------- offset


@pytest.mark.parametrize("offset", [0.05, -0.1, 0.3])
def test_an_offset_changes_nothing(models, speech, tmp_path, offset, monkeypatch):
    speech = np.tile(speech, 2)
    path = tmp_path / "offset.wav"
    soundfile.write(path, speech + offset, 16000)

    def results():
        yield models["score"].assess_file(speech).score, models["score"].assess_file(path).score
        yield models["embed"].encode_file(speech), models["embed"].encode_file(path)
        yield models["enhance"].enhance_file(speech), models["enhance"].enhance_file(path)

    for chunk_seconds in (1000.0, 2.0):  # at once, and in chunks
        for model in models.values():
            monkeypatch.setattr(model, "CHUNK_SECONDS", chunk_seconds)
        scores, dvectors, enhanced = results()
        assert scores[0] == pytest.approx(scores[1], abs=0.05)
        assert torch.nn.functional.cosine_similarity(*dvectors, dim=0) > 0.99
        assert abs(enhanced[1].mean()) < 1e-3
        np.testing.assert_allclose(*enhanced, atol=2e-3)


def test_batches_ignore_offset_and_padding(models, speech):
    wavs, lens = torch.zeros(2, 40000), torch.tensor([1.0, 0.5])
    wavs[0], wavs[1, :20000] = torch.from_numpy(speech[:40000]), torch.from_numpy(speech[-20000:])
    spoiled = wavs + torch.tensor([[0.1], [-0.2]])
    spoiled[1, 20000:] = 5
    for method, tolerance in (
        (lambda wavs: models["score"].assess_batch(wavs, lens)[0], 0.01),
        (lambda wavs: models["embed"].encode_batch(wavs, lens), 0.01),
        (lambda wavs: models["enhance"].enhance_batch(wavs, lens), 1e-3),
    ):
        torch.testing.assert_close(method(spoiled), method(wavs), atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    "lens", [[40000, 20000], [1.0], [1.0, 1.0, 1.0], [1.0, float("nan")], [1.0, -1.0], [0.0, 1.0], [1.5, 1.0]]
)
def test_lengths_are_relative(models, lens):
    batches = models["score"].assess_batch, models["embed"].encode_batch, models["enhance"].enhance_batch
    for method in batches:
        with pytest.raises(AudioError, match=r"2 relative lengths in \(0, 1\]"):
            method(torch.randn(2, 40000), torch.tensor(lens))


# ------------------------------------------------------------------------------------------------------- short and long


def test_short_sound_is_refused_or_gives_one_warning(models, speech):
    net, _, enhancer = models.values()
    for method in (net.assess_file, enhancer.enhance_file):
        for samples in (1, 400):
            with pytest.raises(AudioError, match="too short"):
                method(speech[8000 : 8000 + samples])
        with pytest.warns(UserWarning, match=r"only 0\.12 s") as caught:
            method(speech[8000:10000])
        assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.assess_file(speech[8000:12000])


def test_dvectors_can_be_trained_on(models, speech):
    encoder = models["embed"]
    dvectors = (
        encoder.encode_file(speech),
        only(encoder.encode_files(speech)),
        encoder.encode_batch(torch.tensor(speech)),
    )
    for dvector in (*dvectors, encoder.encode_windows(speech).dvectors, encoder.enroll("anna", speech)):
        layer = torch.nn.Linear(256, 2)
        layer(dvector).sum().backward()
        assert layer.weight.grad.abs().sum() > 0


def test_long_recordings_are_enhanced_into_a_file(models, speech, tmp_path, monkeypatch):
    enhancer = models["enhance"]
    monkeypatch.setattr(enhancer, "CHUNK_SECONDS", 2.0)
    monkeypatch.setattr(enhancer, "CONTEXT_SECONDS", 0.5)
    long = np.tile(speech, 3)
    for suffix in ("wav", "flac"):
        output = tmp_path / f"out.{suffix}"
        assert only(enhancer.enhance_files([(long, output)])) is None
        np.testing.assert_allclose(audio.read(output), enhancer.enhance_file(long), atol=1e-4)
    enhance = enhancer._enhance_chunk
    monkeypatch.setattr(enhancer, "_enhance_chunk", lambda samples: 20 * enhance(samples))
    assert only(enhancer.enhance_files([(long, output)])) is None
    loud = enhancer.enhance_file(long)
    np.testing.assert_allclose(audio.read(output), loud / np.abs(loud).max(), atol=1e-4)


def test_a_long_recording_that_fails_replaces_nothing(models, speech, tmp_path, monkeypatch):
    enhancer = models["enhance"]
    monkeypatch.setattr(enhancer, "CHUNK_SECONDS", 2.0)
    soundfile.write(tmp_path / "long.flac", np.tile(speech, 5), 16000)
    content = (tmp_path / "long.flac").read_bytes()
    (tmp_path / "long.flac").write_bytes(content[: len(content) * 3 // 4])
    output = tmp_path / "out" / "a.wav"
    audio.write(output, speech)
    before = output.read_bytes()
    with pytest.raises(AudioError, match="damaged"):
        only(enhancer.enhance_files([(tmp_path / "long.flac", output)]))
    assert output.read_bytes() == before and list(output.parent.iterdir()) == [output]


def test_whatever_fails_in_a_long_recording_ends_no_batch(models, speech, tmp_path, monkeypatch):
    def fail(samples):
        raise RuntimeError("out of memory")

    enhancer = models["enhance"]
    monkeypatch.setattr(enhancer, "CHUNK_SECONDS", 2.0)
    monkeypatch.setattr(enhancer, "_enhance_chunk", fail)
    files = [(speech, tmp_path / "long.wav"), (speech[:16000], tmp_path / "short.wav")]
    errors = [error for _, error in enhancer.enhance_files(files)]
    assert "RuntimeError: out of memory" in str(errors[0]) and errors[1] is None
    assert [path.name for path in tmp_path.iterdir()] == ["short.wav"]


def test_the_writer_is_bounded_and_names_a_full_disk(tmp_path, monkeypatch):
    block = 0.1 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    tracemalloc.start()
    with audio.writer(tmp_path / "a.wav") as writer:
        for _ in range(200):
            writer.write(block)
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav"), np.tile(block, 200), atol=1 / 32768)
    with pytest.raises(AudioError, match="peak is 2"), audio.writer(tmp_path / "a.wav") as writer:
        writer.write(np.array([2.0]))
    assert len(audio.read(tmp_path / "a.wav")) == 200 * 16000 and len(list(tmp_path.iterdir())) == 1
