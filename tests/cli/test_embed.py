"""`speechtools embed`, with the bundled model."""

import os
import threading
import zipfile

import numpy as np
import pytest
import soundfile

import speechtools.cli.embed as embed
from speechtools.core.errors import ConfigError
from speechtools.inference import SpeakerEncoder


@pytest.fixture
def recordings(tone, tmp_path):
    paths = [str(tmp_path / f"{number}.wav") for number in range(3)]
    for number, path in enumerate(paths):
        soundfile.write(path, tone(1.0, seed=number), 16000)
    return paths


def load(path):
    with np.load(path) as content:
        return content["files"].tolist(), content["dvectors"]


def test_it_writes_the_dvectors_and_reports_bad_files(recordings, tmp_path, call, refused):
    out, gone = tmp_path / "dvectors.npz", tmp_path / "gone.wav"
    status, output, _ = call("embed", gone, "--out", out)
    assert status == 1 and not out.exists() and "was not written" in output
    status, output, errors = call("embed", *recordings, gone, "--out", out)
    assert status == 1 and "gone.wav does not exist" in errors and "3 d-vectors of size 256" in output
    files, dvectors = load(out)
    assert files == recordings and dvectors.shape == (3, 256)
    assert "is a folder" in refused("embed", gone, "--out", tmp_path)


def test_a_foreign_file_is_replaced_with_overwrite_only(recordings, tmp_path, call, refused):
    out = tmp_path / "thesis.npz"
    np.savez(out, results=np.ones(3))
    before = out.read_bytes()
    assert "--overwrite" in refused("embed", *recordings, "--out", out)
    assert "--out" in refused("embed", *recordings, "--out", out, "--resume") and out.read_bytes() == before
    assert call("embed", *recordings, "--out", out, "--overwrite")[0] == 0 and load(out)[0] == recordings
    assert call("embed", *recordings[:1], "--out", out)[0] == 0 and load(out)[0] == recordings[:1]  # its own


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_device_and_a_pipe_are_written(recordings, tmp_path, call):
    assert call("embed", recordings[0], "--out", os.devnull)[0] == 0
    pipe, copy = tmp_path / "pipe", tmp_path / "copy.npz"
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: copy.write_bytes(pipe.read_bytes()), daemon=True)
    reader.start()
    assert call("embed", recordings[0], "--out", pipe)[0] == 0
    reader.join(30)
    assert load(copy)[0] == recordings[:1]


def test_an_interrupt_keeps_the_dvectors_so_far_and_resume_adds_the_others(recordings, tmp_path, call, monkeypatch):
    whole, out = tmp_path / "whole.npz", tmp_path / "out.npz"
    call("embed", *recordings, "--out", whole)
    original = SpeakerEncoder.encode_files

    def interrupted(self, paths, batch_size=32, **options):
        yield from list(original(self, paths[:2], batch_size))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SpeakerEncoder, "encode_files", interrupted)
        assert call("embed", *recordings, "--out", out)[0] == 130 and load(out)[0] == recordings[:2]
    status, output, _ = call("embed", *recordings, "--out", out, "--resume")
    assert status == 0 and "2 of them embedded before" in output and load(out)[0] == recordings
    np.testing.assert_allclose(load(out)[1], load(whole)[1], atol=1e-5)


def test_the_file_is_written_while_the_command_runs(recordings, tmp_path, call, monkeypatch):
    monkeypatch.setattr(embed, "SECONDS_BETWEEN_WRITES", 0.0)
    sizes = []
    write = embed.write_dvectors

    def record(path, dvectors, *arguments):
        sizes.append(len(dvectors))
        write(path, dvectors, *arguments)

    monkeypatch.setattr(embed, "write_dvectors", record)
    assert call("embed", *recordings, "--out", tmp_path / "out.npz")[0] == 0 and sizes == [1, 2, 3, 3]


def test_dvectors_of_another_model_are_not_continued(recordings, tmp_path, refused):
    out = tmp_path / "out.npz"
    embed.write_dvectors(out, {recordings[0]: np.ones(128, np.float32)}, "another")
    assert "another model" in refused("embed", *recordings, "--out", out, "--resume")


def test_dvectors_of_another_channel_are_not_continued(recordings, tmp_path, call, refused):
    out = tmp_path / "out.npz"
    assert call("embed", recordings[0], "--out", out, "--channel", 0)[0] == 0
    before = out.read_bytes()
    assert "--channel=0" in refused("embed", *recordings, "--out", out, "--resume")
    assert out.read_bytes() == before
    assert call("embed", *recordings, "--out", out, "--resume", "--channel", 0)[0] == 0 and load(out)[0] == recordings
    with np.load(out) as content:  # of an earlier version
        arrays = {name: content[name] for name in content if name != "channel"}
    np.savez(out, **arrays)
    assert call("embed", *recordings, "--out", out, "--resume")[0] == 0


def test_dvectors_of_another_weighing_are_not_continued(recordings, tmp_path, call, refused):
    out, weighed = tmp_path / "out.npz", tmp_path / "weighed.npz"
    assert call("embed", *recordings, "--out", out)[0] == 0
    assert call("embed", recordings[0], "--out", weighed, "--weigh-by-quality")[0] == 0
    assert "--weigh-by-quality" in refused("embed", *recordings, "--out", out, "--resume", "--weigh-by-quality")
    assert "weighed by quality" in refused("embed", *recordings, "--out", weighed, "--resume")
    assert call("embed", *recordings, "--out", weighed, "--resume", "--weigh-by-quality")[0] == 0
    assert load(weighed)[0] == recordings and not np.array_equal(load(weighed)[1], load(out)[1])


DAMAGED = {
    "nan": {"dvectors": np.array([[0.6, np.nan]], np.float32)},
    "type": {"dvectors": np.array([[0.6, 0.8]])},
    "shape": {"dvectors": np.array([0.6], np.float32)},
    "twice": {"files": np.array(["a.wav", "a.wav"]), "dvectors": np.ones((2, 2), np.float32)},
    "names": {"files": np.array([1.0])},
    "channel": {"channel": np.array(0)},
}


@pytest.mark.parametrize("arrays", DAMAGED.values(), ids=DAMAGED)
def test_dvectors_that_no_encoder_returns_are_not_continued(tmp_path, arrays):
    whole = {"files": np.array(["a.wav"]), "dvectors": np.array([[0.6, 0.8]], np.float32), "model": np.array("m")}
    np.savez(tmp_path / "whole.npz", **whole)
    dvectors, model_id, channel, _ = embed.read_dvectors(tmp_path / "whole.npz")
    assert (model_id, channel) == ("m", "") and dvectors["a.wav"].tolist() == pytest.approx([0.6, 0.8])
    np.savez(tmp_path / "damaged.npz", **{**whole, **arrays})
    with pytest.raises(ConfigError, match="not a file of d-vectors"):
        embed.read_dvectors(tmp_path / "damaged.npz")


def test_a_damaged_header_of_an_array_is_reported(tmp_path):
    # NumPy raises errors of Python's tokenizer for some
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in ("files", "dvectors", "model"):
            header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), ["
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(ConfigError, match="not a file of d-vectors"):
        embed.read_dvectors(tmp_path / "a.npz")
