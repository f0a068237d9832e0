"""Models in ONNX form: what they compute is what torch computes, and files that cannot be used are explained."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import speechtools
from speechtools.core import onnx_export
from speechtools.core.errors import AudioError, ConfigError, ModelKindError, SpeechtoolsError
from speechtools.core.model_folder import write_model
from speechtools.inference import (
    KeywordDetector,
    PretrainedModel,
    QualityNet,
    SpeakerEncoder,
    SpeakerVerification,
    SpeechEnhancer,
)

onnx = pytest.importorskip("onnx", reason="pip install '.[onnx]'")
pytest.importorskip("onnxruntime", reason="pip install '.[onnx]'")

#: Loads a model and scores it in a new process, and prints which of the slow packages were imported.
WITHOUT_TORCH = """
import sys
from speechtools.inference import QualityNet
report = QualityNet.from_onnx(sys.argv[1]).assess_file(sys.argv[2])
print(report.score, [name for name in ("torch", "speechbrain", "torchaudio", "onnx") if name in sys.modules])
"""
CPU = {"device": "cpu"}


def write_quality_net(folder, features, **options):
    torch.manual_seed(0)
    size = features.size
    net = speechtools.build("quality/conv-blstm", input_size=size, channels=8, hidden_size=6, linear_size=5, **options)
    entries = {"sample_rate": 16000, "scale": "raw_nb", "features": features, "quality": net}
    return write_model(folder, entries, {"quality": net}, {"note": "small"}, "# A test\n", "QualityNet")


@pytest.fixture(scope="module")
def quality(tmp_path_factory):
    """A small Quality-Net with causes and further scores, and its file."""
    folder = tmp_path_factory.mktemp("quality")
    features = speechtools.build("features/mel", n_mels=20, parts=4, level="robust-peak")
    net = QualityNet.from_hparams(write_quality_net(folder / "model", features, measures=["mos"]), run_opts=CPU)
    return net, net.to_onnx(folder / "q.onnx").path


@pytest.fixture(scope="module")
def enhancer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("enhancer")
    torch.manual_seed(0)
    net = speechtools.build("enhancer/blstm", input_size=129, hidden_size=6)
    entries = {"sample_rate": 16000, "n_fft": 256, "hop_length": 64, "enhancer": net}
    write_model(folder / "model", entries, {"enhancer": net}, {}, "# A test\n", "SpeechEnhancer")
    model = SpeechEnhancer.from_hparams(folder / "model", run_opts=CPU)
    return model, model.to_onnx(folder / "e.onnx").path


@pytest.fixture(scope="module")
def speaker(tmp_path_factory):
    model = SpeakerVerification.from_hparams(run_opts=CPU)
    return model, model.to_onnx(tmp_path_factory.mktemp("speaker") / "s.onnx").path


# -------------------------------------------------------------------------------------------------------------- results


def test_reports_are_those_of_torch(quality, tone, tmp_path):
    net, path = quality
    exported = QualityNet.from_onnx(path, threads=1)
    soundfile.write(tmp_path / "a.wav", np.stack([tone(1.3, 44100), 0.1 + tone(1.3, 44100, 1)], axis=1), 44100)
    paused = np.concatenate([tone(1.0), np.zeros(16000, np.float32), tone(1.0)])
    recordings = [tmp_path / "a.wav", 0.001 * tone(0.3), paused, tmp_path / "gone.wav", tone(2.0)]
    pairs = zip(net.assess_files(recordings, 2), exported.assess_files(recordings, 2), strict=True)
    for (_, expected), (_, report) in pairs:
        if isinstance(expected, AudioError):
            assert str(report) == str(expected)
            continue
        assert report.score == pytest.approx(expected.score, abs=1e-4) and report.scale == "raw_nb"
        np.testing.assert_allclose(report.frame_scores, expected.frame_scores, atol=1e-4)
        np.testing.assert_allclose(report.causes, expected.causes, atol=1e-4)
        np.testing.assert_array_equal(report.times, expected.times)
        assert report.measures["mos"] == pytest.approx(expected.measures["mos"], abs=1e-4)
        assert (report.silent is None) == (expected.silent is None) and report.best == expected.best
    assert exported.facts == {"note": "small"} and exported.model_id == net.model_id


def test_a_long_recording_is_scored_in_chunks(quality, tone, monkeypatch):
    net, path = quality
    exported = QualityNet.from_onnx(path)
    for model in (net, exported):
        monkeypatch.setattr(model, "CHUNK_SECONDS", 2.0)
        monkeypatch.setattr(model, "CONTEXT_SECONDS", 0.5)
    samples = 0.2 + 0.1 * tone(7.7)
    expected, report = net.assess_samples(samples), exported.assess_samples(samples)
    np.testing.assert_allclose(report.frame_scores, expected.frame_scores, atol=1e-4)
    assert report.measures == pytest.approx(expected.measures, abs=1e-4)


def test_padding_of_a_batch_changes_nothing(quality, tone):
    exported = QualityNet.from_onnx(quality[1])
    wavs, counts = np.zeros((2, 40000), np.float32), np.array([40000, 16500])
    for row, count in zip(wavs, counts, strict=True):
        row[:count] = tone(count / 16000)
    together = exported.score_arrays(wavs, counts)
    alone = exported.score_arrays(wavs[1:, :16500], counts[1:])
    time = alone[1].shape[1]
    assert together[0][1] == pytest.approx(alone[0][0], abs=1e-5)
    np.testing.assert_allclose(together[1][1, :time], alone[1][0], atol=1e-5)
    assert not together[1][1, time:].any()


def test_another_net_and_features_are_exported(pretrained, tmp_path, tone):
    net = QualityNet.from_hparams(pretrained, run_opts=CPU)
    exported = QualityNet.from_onnx(net.to_onnx(tmp_path / "q.onnx").path)
    expected, report = net.assess_samples(tone(1.1)), exported.assess_samples(tone(1.1))
    np.testing.assert_allclose(report.frame_scores, expected.frame_scores, atol=1e-4)
    assert report.causes is None and report.measures == {}


def test_the_model_for_streams_is_exported(tmp_path, tone):
    net = QualityNet.from_hparams("quality-net-live", run_opts=CPU)
    exported = QualityNet.from_onnx(net.to_onnx(tmp_path / "live.onnx").path)
    recordings = [tone(3.0), 0.01 * tone(1.3, seed=1), np.concatenate([0.1 * tone(2.0), tone(1.0)]).astype(np.float32)]
    for recording in recordings:
        expected, report = net.assess_samples(recording), exported.assess_samples(recording)
        np.testing.assert_allclose(report.frame_scores, expected.frame_scores, atol=1e-3)
        assert report.score == pytest.approx(expected.score, abs=1e-4)


def test_enhanced_samples_are_those_of_torch(enhancer, tone, tmp_path, monkeypatch):
    model, path = enhancer
    exported = SpeechEnhancer.from_onnx(path)
    noisy = 0.1 + tone(1.7) + 0.05 * np.random.default_rng(0).standard_normal(27200).astype(np.float32)
    np.testing.assert_allclose(exported.enhance_file(noisy), model.enhance_file(noisy), atol=1e-5)
    ((_, error),) = exported.enhance_files([(noisy, tmp_path / "out.wav")])
    assert error is None and soundfile.info(tmp_path / "out.wav").frames == 27200
    for net in (model, exported):
        monkeypatch.setattr(net, "CHUNK_SECONDS", 0.5)
        monkeypatch.setattr(net, "CONTEXT_SECONDS", 0.1)
    np.testing.assert_allclose(exported.enhance_file(noisy), model.enhance_file(noisy), atol=1e-5)


def test_dvectors_and_verdicts_are_those_of_torch(speaker, tmp_path, monkeypatch):
    model, path = speaker
    exported = SpeakerVerification.from_onnx(path)
    samples, rate = soundfile.read(speechtools.SAMPLE, dtype="float32")
    other = np.concatenate([np.zeros(rate, np.float32), 0.1 * samples[: 2 * rate + 99]])
    for recording in (samples, other):
        np.testing.assert_allclose(exported.encode_samples(recording), model.encode_file(recording), atol=1e-5)
    batch = dict(enumerate(vector for _, vector in exported.encode_files([samples, other, np.zeros(100)])))
    np.testing.assert_allclose(batch[1], exported.encode_file(other), atol=1e-5)
    assert isinstance(batch[2], AudioError)
    model.assess_quality(None)
    expected, verdict = model.verify_files(samples, other), exported.verify_files(samples, other)
    assert verdict.score == pytest.approx(expected.score, abs=1e-5) and verdict.accepted == expected.accepted
    assert verdict.threshold == pytest.approx(expected.threshold, abs=1e-4)
    assert verdict.llr == pytest.approx(expected.llr, abs=1e-3)
    assert not exported.verify_files(samples, other, threshold=1.0).accepted
    for net in (model, exported):
        monkeypatch.setattr(net, "CHUNK_SECONDS", 1.6)
    np.testing.assert_allclose(exported.encode_file(samples), model.encode_file(samples), atol=1e-5)


def test_what_is_no_speech_is_refused_as_by_torch(speaker):
    _, path = speaker
    noise = np.random.default_rng(0).standard_normal(48000).astype(np.float32) / 10
    for recording, form in ((noise, SpeakerVerification), (noise[:900], SpeakerEncoder)):
        with pytest.raises(AudioError) as expected:
            form.from_hparams(run_opts=CPU).encode_file(recording)
        with pytest.raises(AudioError) as reason:
            form.from_onnx(path).encode_file(recording)
        assert str(reason.value) == str(expected.value)
    assert np.isfinite(SpeakerEncoder.from_onnx(path).encode_file(noise)).all()


def test_8_bits_change_little(quality, tmp_path, tone):
    net, _ = quality
    export = net.to_onnx(tmp_path / "q.onnx", int8=True)
    exported = QualityNet.from_onnx(export.path)
    assert 0 < export.change < 0.2 and exported.precision == "int8" and "scores move" in export.change_text
    assert exported.assess_samples(tone(1.0)).score == pytest.approx(net.assess_samples(tone(1.0)).score, abs=0.2)


def test_8_bits_that_change_much_are_refused(quality, tmp_path, monkeypatch):
    net, _ = quality
    monkeypatch.setattr(QualityNet, "INT8_LIMIT", 0.0)
    with pytest.raises(ConfigError, match="without int8"):
        net.to_onnx(tmp_path / "q.onnx", int8=True)
    assert not list(tmp_path.iterdir())


def test_results_that_differ_are_refused(quality, tmp_path, monkeypatch):
    net, _ = quality
    monkeypatch.setattr(onnx_export, "TOLERANCE", 1e-12)
    with pytest.raises(ConfigError, match="differ by"):
        net.to_onnx(tmp_path / "q.onnx")
    assert not list(tmp_path.iterdir())


def test_scores_without_torch(quality):
    net, path = quality
    command = [sys.executable, "-c", WITHOUT_TORCH, str(path), str(speechtools.SAMPLE)]
    root = Path(speechtools.__file__).parents[1]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=root)
    assert result.returncode == 0, result.stderr
    score, imported = result.stdout.split(maxsplit=1)
    assert imported.strip() == "[]"
    assert float(score) == pytest.approx(net.assess_file(speechtools.SAMPLE).score, abs=1e-4)


# ----------------------------------------------------------------------------------------------------- what cannot be


def test_models_of_other_kinds_are_refused(quality, enhancer):
    with pytest.raises(ModelKindError, match="SpeechEnhancer") as reason:
        QualityNet.from_onnx(enhancer[1])
    assert reason.value.interface == "SpeechEnhancer"
    with pytest.raises(ModelKindError, match="export of QualityNet"):
        SpeakerEncoder.from_onnx(quality[1])
    with pytest.raises(ConfigError, match="no form in ONNX"):
        PretrainedModel.from_onnx(quality[1])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1000], "cannot be read as an ONNX model|checksum"),
        (lambda content: content[:5000] + b"\0" + content[5001:], "checksum"),
        (lambda content: b"no model", "cannot be read as an ONNX model"),
        (lambda content: b"", "cannot be read as an ONNX model|of another program"),
    ],
)
def test_damaged_files_are_refused(damage, message, quality, tmp_path):
    content = quality[1].read_bytes()
    (tmp_path / "q.onnx").write_bytes(damage(content))
    with pytest.raises(ConfigError, match=message):
        QualityNet.from_onnx(tmp_path / "q.onnx")


def edited(path, target, edit):
    """Write a model with other metadata."""
    model = onnx.load(path)
    entries = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, edit(entries))
    target.write_bytes(model.SerializeToString())
    return target


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda entries: {}, "of another program"),
        (lambda entries: {"speechtools": "{"}, "metadata .* are damaged"),
        (lambda entries: {"speechtools": entries["speechtools"].replace('"format": 1', '"format": 9')}, "Upgrade"),
        (lambda entries: {"speechtools": entries["speechtools"].replace('"hop_length"', '"hop"')}, "hop_length"),
        (lambda entries: {"speechtools": entries["speechtools"].replace('"facts": {', '"facts": 3, "x": {')}, "facts"),
    ],
)
def test_wrong_metadata_are_explained(edit, message, quality, tmp_path):
    path = edited(quality[1], tmp_path / "q.onnx", edit)
    with pytest.raises(ConfigError, match=message):
        QualityNet.from_onnx(path)


def test_an_edited_file_loads_without_its_checksum(quality, tmp_path):
    kept = edited(quality[1], tmp_path / "q.onnx", lambda entries: {"speechtools": entries["speechtools"]})
    assert QualityNet.from_onnx(kept).scale == "raw_nb"


def test_missing_files_and_packages_are_explained(quality, tmp_path, monkeypatch):
    net, path = quality
    with pytest.raises(ConfigError, match="does not exist"):
        QualityNet.from_onnx(tmp_path / "gone.onnx")
    with pytest.raises(ConfigError, match="is a folder"):
        QualityNet.from_onnx(tmp_path)
    with pytest.raises(ConfigError, match="threads"):
        QualityNet.from_onnx(path, threads=0)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(SpeechtoolsError, match=r"speechtools\[onnx\]"):
        net.to_onnx(tmp_path / "q.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(SpeechtoolsError, match=r"speechtools\[onnx\]"):
        QualityNet.from_onnx(path)


@pytest.mark.parametrize(
    ("name", "message"), [("q.bin", r"\.onnx"), ("gone/q.onnx", "gone does not exist"), ("q.onnx", "--overwrite")]
)
def test_targets_are_checked(name, message, quality, tmp_path):
    (tmp_path / "q.onnx").write_text("mine")
    with pytest.raises(ConfigError, match=message):
        quality[0].to_onnx(tmp_path / name)
    assert (tmp_path / "q.onnx").read_text() == "mine"


def test_components_without_a_form_are_named(tmp_path, speaker, monkeypatch):
    model, _ = speaker
    monkeypatch.setattr(model, "vad", torch.nn.Identity())
    with pytest.raises(ConfigError, match="speech detector is Identity"):
        model.to_onnx(tmp_path / "s.onnx")
    monkeypatch.setattr(model, "segment", object())
    with pytest.raises(ConfigError, match="keyword"):
        model.to_onnx(tmp_path / "s.onnx")


def test_half_precision_is_refused(pretrained, tmp_path):
    with pytest.raises(ConfigError, match="float32"):
        QualityNet.from_hparams(pretrained, run_opts=CPU).half().to_onnx(tmp_path / "q.onnx")


def test_an_operation_without_a_form_is_explained(pretrained, tmp_path, monkeypatch):
    net = QualityNet.from_hparams(pretrained, run_opts=CPU)
    monkeypatch.setattr(
        net.mods.quality, "forward", lambda feats, lens: (torch.fft.rfft(feats).real.mean((1, 2)), feats[:, :, 0])
    )
    with pytest.raises(ConfigError, match="cannot be exported to ONNX"):
        net.to_onnx(tmp_path / "q.onnx")


# ------------------------------------------------------------------------------------------------------------- keywords


@pytest.mark.parametrize("kind", ["tones", "lstm"])
def test_hits_are_those_of_torch(kind, tmp_path):
    from speechtools.keyword.confusions import count_confusions, heard_events
    from tests.keyword import tones

    values = {}
    if kind == "lstm":
        torch.manual_seed(0)
        options = {"num_tokens": len(tones.tokens()), "channels": 8, "hidden_size": 6}
        values = {"detector": speechtools.build("detector/lstm", **options)}
    model = KeywordDetector.from_hparams(tones.write_detector(tmp_path / "model", **values), run_opts=CPU)
    samples = np.concatenate([tones.silence(0.4), tones.spoken("hey computer"), tones.silence(0.51)])
    if kind == "tones":
        events = heard_events(model.all_log_probs(samples))
        counted, _ = count_confusions([(events, model.tokens.encode("hey computer"))] * 50, len(model.tokens))
        model.set_confusions(counted)
    exported = KeywordDetector.from_onnx(model.to_onnx(tmp_path / "k.onnx").path)
    assert (exported.confusions is None) == (model.confusions is None) == (kind == "lstm")
    expected, results = model.log_probs(samples).numpy(), exported.all_log_probs(samples)
    np.testing.assert_allclose(results, expected[: len(results)], atol=1e-3)
    assert len(expected) == len(results)
    hits = exported.spot_file(samples, ["hey computer"])
    expected_hits = model.spot_file(samples, ["hey computer"])
    assert [hit[2:] for hit in hits] == [hit[2:] for hit in expected_hits] and (hits or kind == "lstm")
    stream = exported.stream(["hey computer"])
    parts = [hit for first in range(0, len(samples), 777) for hit in stream.feed(samples[first : first + 777])]
    assert [hit[2:] for hit in parts + stream.finish()] == [hit[2:] for hit in hits]
    assert exported.transcribe(samples) == model.transcribe(samples)
