"""`speechtools enhance`, with the bundled model."""

import numpy as np
import pytest
import soundfile
import torch

from speechtools.inference import SpeechEnhancer
from speechtools.quality.selective import SelectiveEnhancer


def write(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, 16000)
    return path


@pytest.mark.parametrize(("target", "output"), [("new/clean.flac", "new/clean.flac"), (".", "noisy.wav")])
def test_a_file(call, tone, tmp_path, target, output):
    path = write(tmp_path / "noisy.flac", tone(1.0))
    status, printed, _ = call("enhance", path, tmp_path / target)
    assert status == 0 and f"1 recording enhanced: {tmp_path / target}" in printed
    written, rate = soundfile.read(tmp_path / output)
    assert rate == 16000 and soundfile.info(tmp_path / output).subtype == "PCM_16"
    np.testing.assert_allclose(written, SpeechEnhancer.from_hparams().enhance_file(path), atol=1 / 32768)


def test_a_folder_with_a_bad_file(call, tone, tmp_path):
    for name in ("a.wav", "deep/er/c.ogg"):
        write(tmp_path / "in" / name, tone(0.5))
    write(tmp_path / "in" / "deep" / "silent.wav", np.zeros(8000))
    status, printed, errors = call("enhance", tmp_path / "in", tmp_path / "out")
    assert status == 1 and "2 recordings enhanced" in printed
    assert "speechtools: not enhanced: " in errors and "silent.wav is silent" in errors and "Traceback" not in errors
    outputs = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.*"))
    assert outputs == ["a.wav", "deep/er/c.wav"]


def test_an_existing_file_is_replaced_or_skipped_on_request_only(call, refused, tone, tmp_path):
    first, second = write(tmp_path / "in" / "a.wav", tone(0.5)), write(tmp_path / "in" / "b.wav", tone(0.5, seed=1))
    reference = write(tmp_path / "clean" / "a.wav", tone(0.5, seed=2))
    before = {path: path.read_bytes() for path in (first, second, reference)}
    for source, target in ((first, second), (tmp_path / "in", tmp_path / "clean"), (first, tmp_path / "clean")):
        assert "--overwrite" in refused("enhance", source, target)
    assert {path: path.read_bytes() for path in before} == before
    status, output, _ = call("enhance", tmp_path / "in", tmp_path / "clean", "--resume")
    assert status == 0 and "1 recording enhanced, 1 before" in output and reference.read_bytes() == before[reference]
    status, output, _ = call("enhance", tmp_path / "in", tmp_path / "clean", "--overwrite")
    assert status == 0 and "2 recordings enhanced" in output and reference.read_bytes() != before[reference]
    assert "is one of the recordings" in refused("enhance", tmp_path / "in", tmp_path / "in", "--overwrite")


@pytest.fixture(scope="module")
def other_enhancer(tmp_path_factory):
    """The folder of the bundled model with slightly other weights."""
    enhancer = SpeechEnhancer.from_hparams()
    with torch.no_grad():
        next(enhancer.mods.enhancer.parameters()).mul_(1.01)
    return enhancer.save(tmp_path_factory.mktemp("other"))


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_run_is_resumed_with_the_same_options_only(call, refused, tone, tmp_path, other_enhancer, suffix):
    """Whatever changes the samples: otherwise files of two models would be mixed."""
    source, target = write(tmp_path / "a.wav", tone(0.5)), tmp_path / f"b.{suffix}"
    options = {"--where": "below=2.5", "--channel": 0, "--model": other_enhancer}
    command = ["enhance", source, target, "--resume"]
    words = [word for pair in options.items() for word in pair]
    for earlier in ([], words):
        assert call("enhance", source, target, *earlier, "--overwrite")[0] == 0
        before = target.read_bytes()
        assert "1 before" in call(*command, *earlier)[1]
        for option, value in options.items():
            others = [word for name, other in options.items() if name != option for word in (name, other)]
            message = refused(*command, *(others if earlier else [option, value]))
            assert f"another {option}" in message and target.name in message
        assert target.read_bytes() == before
    write(target, tone(0.5))  # what another program wrote is skipped, whatever the options
    assert "1 before" in call(*command)[1]


def test_long_recordings_are_resumed_with_the_same_options_only(call, refused, tone, tmp_path, monkeypatch):
    monkeypatch.setattr(SpeechEnhancer, "CHUNK_SECONDS", 0.4)
    monkeypatch.setattr(SpeechEnhancer, "CONTEXT_SECONDS", 0.1)
    source = write(tmp_path / "a.wav", tone(1.0))
    assert call("enhance", source, tmp_path / "b.wav")[0] == 0
    assert "another --channel" in refused("enhance", source, tmp_path / "b.wav", "--resume", "--channel", 0)


def test_enhanced_files_are_not_enhanced_again(call, tone, tmp_path):
    write(tmp_path / "in" / "a.wav", tone(0.5))
    for _ in range(2):
        status, output, _ = call("enhance", tmp_path / "in", tmp_path / "in" / "out", "--overwrite")
        assert status == 0 and "1 recording enhanced" in output
    assert sorted(path.name for path in (tmp_path / "in").rglob("*")) == ["a.wav", "a.wav", "out"]


def test_a_link_to_itself_does_not_end_the_batch(call, tone, tmp_path):
    write(tmp_path / "in" / "a.wav", tone(0.5))
    (tmp_path / "in" / "self.wav").symlink_to("self.wav")
    status, output, errors = call("enhance", tmp_path / "in", tmp_path / "out")
    assert status == 1 and "1 recording enhanced" in output and "self.wav is a link" in errors


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("in", "out.wav", "is a folder and"),
        ("in/a.wav", "in/../in/a.wav", "is one of the recordings"),
        ("in", "in", "is one of the recordings"),
        ("twins", "out", "would both become"),
        ("in/a.wav", "out", "does not exist"),
        ("in/a.wav", "out.mp3", ".mp3"),
    ],
)
def test_a_wrong_source_or_target_writes_nothing(refused, tone, tmp_path, source, target, message):
    for name in ("in/a.wav", "twins/a.wav", "twins/a.flac"):
        write(tmp_path / name, tone(0.5))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert message in refused("enhance", tmp_path / source, tmp_path / target)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


def test_an_empty_output_is_not_a_finished_one(call, tone, tmp_path):
    write(tmp_path / "in" / "a.wav", tone(0.5))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.wav").touch()
    status, output, _ = call("enhance", tmp_path / "in", tmp_path / "out", "--resume")
    assert status == 0 and "1 recording enhanced" in output and (tmp_path / "out" / "a.wav").stat().st_size


def test_only_bad_stretches_are_enhanced(call, tone, tmp_path):
    samples = tone(3.0)
    samples[24000:] += 0.1 * np.random.default_rng(0).standard_normal(24000).astype(np.float32)
    source = write(tmp_path / "in" / "a.wav", samples)
    write(tmp_path / "in" / "silent.wav", np.zeros(8000))
    status, output, errors = call("enhance", tmp_path / "in", tmp_path / "out", "--where", "below=2.5")
    assert status == 1 and "silent.wav is silent" in errors and "1 recording enhanced" in output
    result = SelectiveEnhancer("below=2.5").enhance_file(source)
    assert output.splitlines()[0] == f"{result.seconds:.1f} of 3.0 s\t{source}" and result.seconds > 0.5
    before, after = (soundfile.read(path, dtype="int16")[0] for path in (source, tmp_path / "out" / "a.wav"))
    np.testing.assert_allclose(after / 32768, result.samples, atol=1 / 32768)
    first = round(16000 * result.stretches[0][0])
    assert np.array_equal(before[:first], after[:first]) and not np.array_equal(before, after)


@pytest.mark.parametrize(
    "options, message",
    [
        (["--where", "under=2"], "Write below=2.5"),
        (["--where", "below=9"], "outside the scale raw_nb, -0.5 to 4.5"),
        (["--where", "below=2", "--quality_model", "speaker"], "--quality_model=speaker is a model for"),
        (["--quality_model", "quality-net"], "the model of --where"),
    ],
)
def test_a_wrong_condition_is_one_message(refused, tone, tmp_path, options, message):
    path = write(tmp_path / "a.wav", tone(1.0))
    assert message in refused("enhance", path, tmp_path / "b.wav", *options) and not (tmp_path / "b.wav").exists()
